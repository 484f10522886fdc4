"""What the project claims, measured: each benchmark is a command."""
