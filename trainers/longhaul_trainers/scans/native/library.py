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
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from longhaul_trainers.threads import threads_for_scans

_log = logging.getLogger(__name__)

VARIABLE = "LONGHAUL_COMPILED_SCANS"
"""Environment variable: 0 for the scans written with torch."""

FOLDER = Path(__file__).parent
COMPILERS = ("c++", "g++", "clang++")
FLAGS = (
    "-std=c++17",
    "-O3",
    # the machine's own vectors; so what is compiled here is not for another processor
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-pthread",
    "-fPIC",
)
TIMEOUT_S = 600
"""Seconds for one file: it takes ten, but machines may be busy."""


@cache
def library() -> ctypes.CDLL | None:
    """The compiled scans, or None where they cannot be had; says why once."""
    if os.environ.get(VARIABLE) == "0":
        return None
    try:
        return ctypes.CDLL(str(compiled()))
    # Path.home() raises RuntimeError where the user has none
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        _log.warning(
            "compiled scans are not available, training will be several times slower; they need a "
            "C++ compiler (g++ or clang++) and a folder to keep them in (XDG_CACHE_HOME, else "
            "~/.cache), %s=0 asks for none: %s",
            VARIABLE,
            str(reason).strip(),
        )
        return None


@cache
def identity() -> str:
    """What decides the bits of the scans in use; ``torch`` for those written with torch."""
    if library() is None:
        return "torch"
    return f"{_key(_compiler())}-tiles" if has_tiles() else _key(_compiler())


@cache
def has_tiles() -> bool:
    """Whether the compiled scans multiply bfloat16 numbers in the processor's tile registers.

    The system may refuse them to a program, whose sums then have another order.
    """
    loaded = library()
    return loaded is not None and bool(loaded.longhaul_has_tiles())


def compiled() -> Path:
    """The file of the compiled scans, compiled now where nobody has yet.

    Raises:
        OSError: no compiler, or no folder of this user alone.
        RuntimeError: the user has no home.
        subprocess.SubprocessError: the compiler failed; its words are in ``stderr``.
    """
    compiler = _compiler()
    folder = _cache_folder()
    target = folder / f"scans-{_key(compiler)}.so"
    if target.exists():
        return target
    with (folder / "lock").open("w", encoding="utf-8") as lock:
        # all workers of a machine start at once: one compiles, the others wait for it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _log.warning("compiling the scans for this processor: once, and for about a minute")
            _compile(compiler, target)
    return target


def _compile(compiler: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        built = Path(folder) / target.name
        sources = sorted(FOLDER.glob("*.cpp"))
        parts = [built.with_name(f"{source.stem}.o") for source in sources]
        commands = [
            [compiler, *FLAGS, "-c", "-o", str(part), str(source)]
            for source, part in zip(sources, parts, strict=True)
        ]
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(_run, commands))
        _run([compiler, *FLAGS, "-shared", "-o", str(built), *map(str, parts)])
        built.replace(target)


def _run(command: list[str]) -> None:
    subprocess.run(  # noqa: S603 - the user's own compiler
        command, check=True, capture_output=True, encoding="utf-8", timeout=TIMEOUT_S
    )


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
        [compiler, "--version"],
        check=True,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
    ).stdout.encode()
    sources = [path.read_bytes() for path in sorted(FOLDER.glob("*.?pp"))]
    facts = [*sources, " ".join(FLAGS).encode(), told, _processor()]
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


TYPES = {torch.float32: "float32", torch.float64: "float64"}


def call(name: str, states: Tensor, *arguments: Tensor | int | None) -> None:
    """Calls one scan of the library, which must be there.

    Args:
        name: without its type, for example ``elman_forward``.
        states: shape (P, T + 1, B, H); tells type and sizes.
        arguments: what follows sizes and threads in its declaration; tensors on the CPU,
            contiguous, of the same type, or None for an array that is not there.
    """
    for one in arguments:
        if isinstance(one, Tensor) and one.dtype != states.dtype:
            raise ValueError(f"{name} takes tensors of one type")
    pack, steps, batch, size = states.shape
    numbers = (pack, steps - 1, batch, size, threads_for_scans())
    run(f"{name}_{TYPES[states.dtype]}", *numbers, *arguments)


def run(name: str, *arguments: Tensor | int | None) -> int:
    """Calls one function of the library, which must be there.

    Args:
        name: as it is declared.
        arguments: in the order of its declaration; tensors on the CPU, contiguous, of the type that
            it names, or None for an array that is not there.

    Returns:
        What it returns, where that is a whole number.
    """
    loaded = library()
    if loaded is None:
        raise RuntimeError("there are no compiled scans")
    function = getattr(loaded, name)
    if function.argtypes is None:
        function.argtypes = [_kind(one) for one in arguments]
        function.restype = ctypes.c_int64
    values: list[int | None] = []
    for one in arguments:
        if isinstance(one, Tensor):
            if not one.is_contiguous():
                raise ValueError(f"{name} takes contiguous tensors")
            values.append(one.data_ptr())
        else:
            values.append(one)
    return int(function(*values))


def _kind(argument: Tensor | int | None) -> type[ctypes.c_int64] | type[ctypes.c_void_p]:
    """What stands there in the declaration."""
    return ctypes.c_int64 if isinstance(argument, int) else ctypes.c_void_p


def serves(states: Tensor) -> bool:
    """Whether the compiled scans take such tensors and are there."""
    return states.device.type == "cpu" and states.dtype in TYPES and library() is not None
