"""The seeds of scenes: each phase has a range of its own, so that no start is both trained and tested on."""

SEED_LIMIT = 2**31
"""Every seed that a person gives is below this."""
PHASE_SPAN = 1_000_000
PHASES = ("demonstrations", "session", "evaluation")


def scene_seed(seed: int, phase: str, episode: int) -> int:
    """Return the seed of an episode's scene. Raises ValueError beyond a million episodes a phase."""
    if not 0 <= episode < PHASE_SPAN:
        raise ValueError(f"episode {episode} is outside 0 to {PHASE_SPAN - 1}")
    return (seed * len(PHASES) + PHASES.index(phase)) * PHASE_SPAN + episode
