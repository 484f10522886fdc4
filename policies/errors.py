"""The exception of this package: its text is one sentence that a user can act on."""


class PolicyError(Exception):
    """A policy, its configuration or its checkpoint is not as it should be."""
