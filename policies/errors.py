"""The exceptions of this package: their text is one sentence that a user can act on."""


class PolicyError(Exception):
    """A policy, its configuration or its checkpoint is not as it should be."""


class UnusableHereError(PolicyError):
    """Nothing is known to be wrong with a policy, but this machine cannot read or compile it now."""
