"""Finds the compiled scans, compiling them where nobody has yet."""

import ctypes
import fcntl
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

_log = logging.getLogger(__name__)

VARIABLE = "LONGHAUL_COMPILED_SCANS"
"""Environment variable: 0 for the scans written with torch."""

SOURCE = Path(__file__).with_name("elman.cpp")
COMPILERS = ("c++", "g++", "clang++")
FLAGS = (
    "-std=c++17",
    "-O3",
    # the machine's own vectors; so what is compiled here is not for another processor
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-pthread",
    "-shared",
    "-fPIC",
)
TIMEOUT_S = 120


@cache
def library() -> ctypes.CDLL | None:
    """The compiled scans, or None where they cannot be had; says why once."""
    if os.environ.get(VARIABLE) == "0":
        return None
    try:
        return ctypes.CDLL(str(_compiled()))
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        _log.warning(
            "compiled scans are not available, training will be several times slower; a C++ "
            "compiler (g++ or clang++) would make them, %s=0 asks for none: %s",
            VARIABLE,
            str(reason).strip(),
        )
        return None


@cache
def identity() -> str:
    """What decides the bits of the scans in use; ``torch`` for those written with torch."""
    return "torch" if library() is None else _key(_compiler())


def _compiled() -> Path:
    compiler = _compiler()
    folder = _cache_folder()
    target = folder / f"scans-{_key(compiler)}.so"
    if target.exists():
        return target
    with (folder / "lock").open("w") as lock:
        # all workers of a machine start at once: one compiles, the others wait for it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _compile(compiler, target)
    return target


def _compile(compiler: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        built = Path(folder) / target.name
        subprocess.run(  # noqa: S603 - the user's own compiler
            [compiler, *FLAGS, "-o", str(built), str(SOURCE)],
            check=True,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
        )
        built.replace(target)


def _compiler() -> str:
    for name in (os.environ.get("CXX", ""), *COMPILERS):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise FileNotFoundError("no C++ compiler on the path")


@cache
def _key(compiler: str) -> str:
    """Sixteen hexadecimal digits over source, flags, compiler and processor."""
    told = subprocess.run(  # noqa: S603 - as above
        [compiler, "--version"], check=True, capture_output=True, timeout=TIMEOUT_S
    ).stdout
    facts = [SOURCE.read_bytes(), " ".join(FLAGS).encode(), told, _processor()]
    return hashlib.sha256(b"\0".join(facts)).hexdigest()[:16]


def _processor() -> bytes:
    """What ``-march=native`` looks at, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return platform.machine().encode()
    wanted = (b"model name", b"flags", b"Features")
    return b"\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def _cache_folder() -> Path:
    """A folder of this user alone: what lies in it is loaded as a program."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "longhaul"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = folder.stat()
    if facts.st_uid != os.getuid() or facts.st_mode & 0o022:
        raise PermissionError(f"{folder} may be written by others, so nothing is loaded from it")
    return folder
