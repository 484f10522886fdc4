"""The exceptions of this package."""


class CalibrationError(Exception):
    """A calibration, or what it needs, is not usable; the text is one sentence that says which and what to do."""


class NotGoodEnoughError(CalibrationError):
    """What was measured does not suffice for a calibration; nothing was written."""
