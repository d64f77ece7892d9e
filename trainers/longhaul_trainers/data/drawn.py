"""Keeping what takes long to draw, so that each machine draws it once.

Nothing is lost where nothing can be kept: what is drawn from a stream is the same every time.
"""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from longhaul_trainers.data.arrow_files import read_parts, write_parts
from longhaul_trainers.data.columns import Parts
from longhaul_trainers.data.folders import converted_folders, is_writable


def drawn_once(name: str, draw: Callable[[], Parts]) -> Parts:
    """The tables called ``name``, mapped into memory if they were kept, else drawn and kept.

    Args:
        name: of a folder; it must change whenever ``draw`` gives something else.
        draw: makes the tables.
    """
    places = converted_folders()
    for place in places:
        kept = _read(place / name)
        if kept is not None:
            return kept
    parts = draw()
    for place in places:
        if is_writable(place) and _keep(place, name, parts):
            return _read(place / name) or parts
    return parts


def _read(folder: Path) -> Parts | None:
    try:
        return read_parts(folder) or None
    except (ImportError, OSError, ValueError, KeyError):
        return None


def _keep(place: Path, name: str, parts: Parts) -> bool:
    temporary = place / f"tmp-{secrets.token_hex(8)}"
    try:
        temporary.mkdir(parents=True)
        write_parts(temporary, parts)
        if _read(place / name) is None:
            # What another process has kept meanwhile stays; what is torn makes room.
            shutil.rmtree(place / name, ignore_errors=True)
            os.rename(temporary, place / name)
    except (ImportError, OSError):
        return False
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True
