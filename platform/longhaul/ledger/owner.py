"""Who runs a search: a process, told apart from all others."""

import getpass
import os
import shlex
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from longhaul.redaction import redact

OwnerState = Literal["alive", "stopped", "gone"]


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that runs a search.

    Args:
        user: login name.
        host: host name.
        pid: process number.
        machine: boot and process namespace in which `pid` means something; empty if unknown.
        process_start: start of the process in clock ticks since boot; None if unknown. With it, a
            process number that was given out again is not mistaken for the owner.
        command: its command line, without credentials.
    """

    user: str
    host: str
    pid: int
    machine: str = ""
    process_start: int | None = None
    command: str = ""

    @classmethod
    def here(cls, command: str | None = None) -> "Owner":
        """The running process."""
        process = process_state(os.getpid())
        return cls(
            user=_user(),
            host=socket.gethostname(),
            pid=os.getpid(),
            machine=this_machine(),
            process_start=process[1] if process else None,
            command=redact(command or shlex.join(sys.argv)),
        )

    def __str__(self) -> str:
        command = f": {self.command}" if self.command else ""
        return f"{self.user} on {self.host} (process {self.pid}{command})"

    def examine(self) -> OwnerState | None:
        """What became of the process; None if it is not of this machine, or that is unknown."""
        if not self.machine or self.machine != this_machine():
            return None
        if self.host != socket.gethostname():
            return None
        process = process_state(self.pid)
        if process is None or process[0] in "ZX" or process[1] != self.process_start:
            return "gone"
        # A stopped process may stay so for ever, and fencing makes taking over from it safe.
        return "stopped" if process[0] in "Tt" else "alive"


def process_state(pid: int) -> tuple[str, int] | None:
    """State letter and start time of a process of this machine; None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the command in brackets and may itself hold brackets and spaces.
    rest = text[text.rindex(")") + 1 :].split()
    return rest[0], int(rest[19])


def this_machine() -> str:
    """What must be equal for a process number to mean the same process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return str(os.getuid())
