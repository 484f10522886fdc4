"""The exceptions of this package."""


class DataError(Exception):
    """Recorded data or a request about it is not usable; the text says which file, what was expected, what to do."""


class MissingDataError(DataError):
    """A file that has to be there is not."""


class DiskError(DataError):
    """The disk takes nothing: full, gone, or write-protected; what was committed before is safe."""
