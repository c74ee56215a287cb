"""The exceptions that mean "the user can put this right"."""

import errno

# What the system says of a disk or a quota that is used up, or of a file that may not grow further.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class UserError(ValueError):
    """A mistake of the user or of the user's files: one line that says what, got and cure.

    The command line prints it and ends with exit code 2; every other exception is a bug and keeps its traceback.
    """


class UnreadableError(UserError):
    """An image or video is missing, damaged or not what it should be; one of many can be left out and told of."""
