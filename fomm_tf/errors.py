"""Exceptions for errors that the user can fix."""

import errno

# Full disk, exhausted quota, file size limit.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class UserError(ValueError):
    """An error in the user's input or files; the message is one line that names the problem, the value and a fix.

    The command line prints it and ends with exit code 2; every other exception is a bug and keeps its traceback.
    """


class UnreadableError(UserError):
    """An image or video is missing, damaged or of another format; callers may skip it and report it."""
