"""The data sets that tasks read from files."""

from collections.abc import Iterator

from longhaul.doctor.finding import Finding, ok, warning
from longhaul_trainers.data.folders import VARIABLE, data_folder

PART = "data"


def check_data() -> Iterator[Finding]:
    """What is there of the known data sets; nothing is converted."""
    # imported here: numpy takes a tenth of a second
    from longhaul_trainers.data.known import DATA_SETS
    from longhaul_trainers.data.store import status

    folder = data_folder()
    if folder is not None and not folder.is_dir():
        message = f"{VARIABLE} names {folder}, which is no folder"
        yield warning(PART, message, f"make it, or set {VARIABLE} to where the files are")
    found = {name: status(DATA_SETS.get(name)) for name in DATA_SETS.names()}
    for name, one in found.items():
        if one.damaged:
            fix = f"longhaul data {name} says what is expected"
            yield warning(PART, f"{name} is damaged: {one.problem.splitlines()[0]}", fix)
    there = [name for name, one in found.items() if one.state != "missing" and not one.damaged]
    missing = [name for name, one in found.items() if one.state == "missing"]
    where = f"in {folder}" if folder else f"({VARIABLE} is not set)"
    message = f"there: {', '.join(there) or 'none'} {where}"
    if missing:
        message += f"; not there: {', '.join(missing)}: longhaul data NAME says where to get one"
    yield ok(PART, message)
