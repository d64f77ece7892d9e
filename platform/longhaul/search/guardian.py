"""A small process beside one that trains, which ends it when it hangs.

It is a process because a thread would hang with the others: in a system call, in C code that holds
the interpreter's lock, or stopped by a signal.
"""

import base64
import os
import pickle
import select
import signal
import subprocess
import sys
from typing import Self

from longhaul.ledger import Ledger

TICKS = 20
"""Into so many parts the deadline is divided; one that was slept through counts as one."""


class Guardian:
    """Ends this process, with SIGKILL, once it has given no sign of life for too long.

    Args:
        ledger: keeps why, as the error of the trial that was being trained.
        deadline_s: how long is too long, in seconds.
    """

    def __init__(self, ledger: Ledger, deadline_s: float) -> None:
        # The search path as it is here: Ray adds to it after the start.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "longhaul.search.guardian"],
            stdin=subprocess.PIPE,
            bufsize=0,
            env=environment,
            start_new_session=True,
        )
        if self._process.stdin is not None:
            # A pipe is full where the guardian was stopped; that must not stop this process too.
            os.set_blocking(self._process.stdin.fileno(), False)
        self._say(base64.b64encode(pickle.dumps((os.getpid(), ledger, deadline_s))) + b"\n")

    def alive(self, number: int) -> None:
        """A sign of life of a trial; from now on another one is expected in time."""
        self._say(b"%d\n" % number)

    def rest(self) -> None:
        """Expects nothing until the next sign of life."""
        self._say(b"-\n")

    def close(self) -> None:
        """Ends the guardian."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _say(self, words: bytes) -> None:
        stream = self._process.stdin
        if stream is None or stream.closed:
            return
        try:
            stream.write(words)
        except OSError:
            # Without its guardian a trial is as well off as without a deadline.
            stream.close()


def main() -> None:
    """The guardian's own life, which ends with its parent's."""
    pipe = sys.stdin.fileno()
    first, _, heard = _read_to_line(pipe).partition(b"\n")
    # From our own parent, over a pipe that nobody else can write to.
    parent, ledger, deadline_s = pickle.loads(base64.b64decode(first))  # noqa: S301
    number, left = _last(heard, None), TICKS
    while os.getppid() == parent:
        if select.select([pipe], [], [], deadline_s / TICKS)[0]:
            heard = os.read(pipe, 65536)
            if not heard:
                return  # the parent has ended, or closed the pipe
            number, left = _last(heard, number), TICKS
        elif number is not None:
            left -= 1
            if left == 0:
                _end(parent, ledger, number, deadline_s)
                return


def _read_to_line(pipe: int) -> bytes:
    found = b""
    while b"\n" not in found:
        more = os.read(pipe, 65536)
        if not more:
            sys.exit()
        found += more
    return found


def _last(heard: bytes, before: int | None) -> int | None:
    """The trial that the last line names; what was before where there is no line."""
    lines = heard.split(b"\n")[:-1]  # a line is written whole, being short
    if not lines:
        return before
    return None if lines[-1] == b"-" else int(lines[-1])


def _end(parent: int, ledger: Ledger, number: int, deadline_s: float) -> None:
    try:
        ledger.trial(number).write_error(stalled(deadline_s))
    finally:
        os.kill(parent, signal.SIGKILL)


def stalled(deadline_s: float) -> str:
    """Why a trial that hung was ended."""
    return (
        f"no point of its curve for {deadline_s:g} s (search.report_deadline_s): "
        "it hung, and its process was ended"
    )


if __name__ == "__main__":
    main()
