"""The error of the device packages."""


class DeviceError(Exception):
    """A device or its double cannot do what was asked; the text is one sentence that names it and says what to do."""
