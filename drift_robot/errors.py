"""The application's own error: a mistake of the user's, said in one sentence."""


class UserError(Exception):
    """Bad input (configuration, file, device). The text names it, says what was expected and what to do."""
