"""A trainer on another machine: session and trainer meet in a store, and nothing of ours runs in between."""
