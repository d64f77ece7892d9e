"""What goes to the cluster with a search: its resolved space, and the wheels that it needs."""

import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from longhaul.errors import RequestError

SPEC_FILE = "spec.yaml"
_OWN = "longhaul"


def check_wheels(wheel: str | None, packages: Iterable[str]) -> list[Path]:
    """The wheels to upload, Longhaul's own first.

    Args:
        wheel: Longhaul's wheel, where the nodes have none or another.
        packages: wheels with cells and tasks of the user's own.

    Raises:
        RequestError: a file is not there, is no wheel, or is another package's.
    """
    found = [_checked(one, "--package") for one in packages]
    if wheel is not None:
        own = _checked(wheel, "--wheel")
        if _distribution(own) != _OWN:
            raise RequestError(
                f"--wheel: {wheel} is a wheel of {_distribution(own)!r}; expected one of longhaul "
                "(pip wheel --no-deps . makes it); a package of your own goes with --package"
            )
        found.insert(0, own)
    return found


@contextmanager
def laid_out(spec: str | None, wheels: Iterable[Path]) -> Iterator[Path | None]:
    """A temporary folder with what the job needs, and nothing of the user's; None for nothing.

    Wheels are unpacked here and not by pip on the nodes: Ray would have pip fetch all that they
    depend on once more, from a network that a cluster need not have. A job's working directory is
    the first place that Python looks at on every node, so they win over what is installed there.
    """
    wheels = list(wheels)
    if spec is None and not wheels:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="longhaul-submit-") as name:
        folder = Path(name)
        if spec is not None:
            (folder / SPEC_FILE).write_text(spec, encoding="utf-8")
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
        yield folder


def _checked(given: str, option: str) -> Path:
    file = Path(given).expanduser()
    expected = "expected a wheel (pip wheel --no-deps FOLDER makes one)"
    if not file.is_file():
        raise RequestError(f"{option}: there is no file {given}; {expected}")
    if file.suffix != ".whl" or not zipfile.is_zipfile(file):
        raise RequestError(f"{option}: {given} is no wheel; {expected}")
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or name == SPEC_FILE:
            raise RequestError(f"{option}: {given} holds {name!r}, which no wheel should")
    if not any(name.endswith(".dist-info/METADATA") for name in names):
        raise RequestError(f"{option}: {given} is no wheel: it has no METADATA; {expected}")
    return file


def _distribution(wheel: Path) -> str:
    return wheel.name.partition("-")[0].lower()
