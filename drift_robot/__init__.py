"""Interactive teaching of a robot arm with DRIFT-DAgger. Imports nothing, so that the set-up script runs anywhere."""

__version__ = "0.1.0"
