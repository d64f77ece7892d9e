"""What a job does on a cluster's head: ``python -m longhaul.cluster.on_head TASK WORDS...``.

``run`` is ``longhaul WORDS...``, for a machine whose versions are in the variable `VERSIONS`;
``answer`` tells what that would print in one line, for another program.
"""

import contextlib
import io
import json
import os
import shlex
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from longhaul.errors import LonghaulError, RequestError

MODULE = "longhaul.cluster.on_head"
ANSWER = "longhaul-answer "
VERSIONS = "LONGHAUL_SUBMITTED_FROM"


@dataclass(frozen=True)
class Answer:
    """What a command said on the head.

    Attributes:
        status: its exit status.
        out, err: what it printed.
    """

    status: int
    out: str
    err: str

    def as_line(self) -> str:
        """One line that `find` understands."""
        return f"{ANSWER}{json.dumps(asdict(self), ensure_ascii=True)}"

    @classmethod
    def find(cls, log: str) -> "Answer | None":
        """The answer in what a job has said."""
        for line in log.splitlines():
            if line.startswith(ANSWER):
                return cls(**json.loads(line.removeprefix(ANSWER)))
        return None

    def value(self) -> dict[str, Any]:
        """What the command told as JSON.

        Raises:
            RequestError, LonghaulError: the command's own error.
        """
        if self.status == 0:
            return dict(json.loads(self.out))
        words = (self.err.strip() or self.out.strip() or "no word").removeprefix("error: ")
        kind = RequestError if self.status == RequestError.exit_status else LonghaulError
        raise kind(words)


def command_line(task: Literal["run", "answer"], words: Iterable[str]) -> str:
    """The shell line with which a job does one of the tasks."""
    # exec: otherwise the shell gets the signals. `python`: nodes have Longhaul's first on the PATH.
    return f"exec python -m {shlex.join([MODULE, task, *words])}"


def variables() -> dict[str, str]:
    """The environment that the tasks expect."""
    from longhaul.cluster.versions import versions_here

    # What runs on the cluster must not submit itself to one.
    return {VERSIONS: json.dumps(versions_here()), "LONGHAUL_CLUSTER": ""}


def main(arguments: list[str]) -> int:
    """Does a task; the exit status of ``run`` is that of the command."""
    task, *words = arguments
    if task == "answer":
        print(_answer(words).as_line(), flush=True)
        return 0
    try:
        _check(json.loads(os.environ[VERSIONS]), words)
    except RequestError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return _longhaul(words)


def _check(theirs: dict[str, str], words: list[str]) -> None:
    from longhaul.cluster.versions import refuse_differences, versions_here

    here = "the head of the cluster"
    refuse_differences(theirs, versions_here(), "the machine that submitted this", here)
    if "--storage" not in words and not os.environ.get("LONGHAUL_STORAGE"):
        raise RequestError(
            "this cluster has no storage of its own: start its head with LONGHAUL_STORAGE, a "
            "folder or an address that all nodes see, or name one with --storage"
        )


def _longhaul(words: list[str]) -> int:
    # imported here: after the check, which must not depend on it
    from longhaul.cli.main import main as longhaul

    sys.argv = ["longhaul", *words]  # as the ledger tells who runs the search
    try:
        longhaul(words, prog_name="longhaul")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def _answer(words: list[str]) -> Answer:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = _longhaul(words)
    return Answer(status, out.getvalue(), err.getvalue())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
