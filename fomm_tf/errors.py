"""The one exception that means "the user can put this right"."""


class UserError(ValueError):
    """A mistake of the user or of the user's files: one line that says what, got and cure.

    The command line prints it and ends with exit code 2; every other exception is a bug and keeps its traceback.
    """
