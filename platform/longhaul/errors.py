"""The errors that the command line turns into one message and an exit status."""

from typing import ClassVar


class LonghaulError(Exception):
    """The work failed: one message that says what, where and what to do.

    The command line prints the message alone (with the traceback only under ``--debug``) and
    leaves with ``exit_status``.
    """

    exit_status: ClassVar[int] = 1


class RequestError(LonghaulError):
    """The request was wrong: a file, an option or a value that cannot be used as it is."""

    exit_status: ClassVar[int] = 2
