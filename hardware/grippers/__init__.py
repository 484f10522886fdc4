"""Grippers: drivers and the simulated gripper."""
