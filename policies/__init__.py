"""The diffusion policy, rank modulation and its schedules, samplers and checkpoints."""
