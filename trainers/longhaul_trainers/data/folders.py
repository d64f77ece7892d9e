"""Where data files are looked for, and where converted ones may be kept."""

import os
from pathlib import Path
from typing import Final

VARIABLE: Final = "LONGHAUL_DATA"
CONVERTED: Final = ".longhaul"
"""The folder for converted files inside that of the data."""


def data_folder() -> Path | None:
    """The folder that ``LONGHAUL_DATA`` names, absolute; None where it is unset or empty."""
    given = os.environ.get(VARIABLE, "").strip()
    return Path(os.path.abspath(os.path.expanduser(given))) if given else None


def cache_folder() -> Path:
    """The user's own folder for converted files: ``XDG_CACHE_HOME`` or ``~/.cache``."""
    given = os.environ.get("XDG_CACHE_HOME", "").strip()
    root = Path(given) if given and os.path.isabs(given) else Path("~/.cache").expanduser()
    return Path(os.path.abspath(root / "longhaul" / "data"))


def converted_folders() -> list[Path]:
    """Where converted files may be, in the order of preference."""
    folder = data_folder()
    return [*([folder / CONVERTED] if folder else []), cache_folder()]


def is_writable(folder: Path) -> bool:
    """Whether files may be put into a folder, or, where it is missing, into its parents.

    A folder without any permission to write is read-only for root too: someone meant it so.
    """
    while not folder.exists():
        if folder == folder.parent:
            return False
        folder = folder.parent
    mode = folder.stat().st_mode
    return folder.is_dir() and bool(mode & 0o222) and os.access(folder, os.W_OK | os.X_OK)
