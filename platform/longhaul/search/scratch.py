"""The temporary folders of drivers, and those whose drivers are gone."""

import os
import re
import tempfile
import time
from pathlib import Path

from longhaul.ledger.owner import process_state

_PREFIX = "longhaul-tune-"
_NAME = re.compile(_PREFIX + r"(?P<pid>\d+)-(?P<start>\d+)-\w+")
_UNNAMED_S = 86400.0


def scratch_prefix() -> str:
    """What the name of a temporary folder of this process begins with; tells whose it is."""
    state = process_state(os.getpid())
    return f"{_PREFIX}{os.getpid()}-{state[1] if state else 0}-"


def abandoned_scratch(folder: Path | None = None) -> list[Path]:
    """The temporary folders of this user whose drivers are gone.

    Args:
        folder: where they lie; None for this machine's folder of temporary files.
    """
    root = folder or Path(tempfile.gettempdir())
    return sorted(one for one in root.glob(f"{_PREFIX}*") if _is_abandoned(one))


def _is_abandoned(folder: Path) -> bool:
    try:
        facts = folder.lstat()
    except OSError:
        return False
    if folder.is_symlink() or not folder.is_dir() or facts.st_uid != os.getuid():
        return False
    named = _NAME.fullmatch(folder.name)
    if named is None:  # of an older version, or a system that does not tell of processes
        return time.time() - facts.st_mtime > _UNNAMED_S
    state = process_state(int(named["pid"]))
    return state is None or str(state[1]) != named["start"]
