"""Checks every file of infra/ with the programs that will read it.

    python infra/checks [--available] [--root FOLDER] [FILE...]

Status 0: all is well; 1: something is not, or a file is checked by nothing; 3: a program that
checks is missing. With ``--available`` a missing program is told, and what needs it is left out.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import cluster
import compose
import images
import machines
import monitoring
import texts
from check import Rule
from tools import MissingToolError, find

ROOT = Path(__file__).resolve().parents[2]
MODULES = (images, compose, cluster, monitoring, machines, texts)
RULES = [rule for module in MODULES for rule in module.RULES]
# Not ours to check: what a user made, and what Python leaves.
LEFT_OUT = (
    "infra/compose/secrets/*",
    "infra/compose/.env",
    "*/__pycache__/*",
    "infra/ray-up/ray-token",
)


def files(root: Path) -> list[Path]:
    """Every file below infra/, relative to the root."""
    found = (one.relative_to(root) for one in (root / "infra").rglob("*") if one.is_file())
    return sorted(one for one in found if not any(one.match(pattern) for pattern in LEFT_OUT))


def missing_tools() -> dict[str, str]:
    """The programs that are not here, each with how to get it."""
    missing = {}
    for tool in sorted({tool for rule in RULES for tool in rule.tools}):
        try:
            find(tool)
        except MissingToolError as error:
            missing[tool] = str(error)
    return missing


def problems(root: Path, path: Path, without: Iterable[str] = ()) -> list[str]:
    """What is wrong with one file.

    Args:
        root: the repository, or a copy of it.
        path: the file, relative to the root.
        without: programs that are not here; what needs them is left out.
    """
    rules = [rule for rule in RULES if rule.concerns(path)]
    if not rules:
        return [f"{path}: no check is for it"]
    left_out = set(without)
    said = []
    for rule in rules:
        if left_out.isdisjoint(rule.tools):
            said += [f"{path}: {rule.name}: {one}" for one in _checked(rule, root, path)]
    return said


def _checked(rule: Rule, root: Path, path: Path) -> list[str]:
    try:
        return rule.check(root, path)
    except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        # A file that is so wrong that its check stumbles.
        return [f"{type(error).__name__}: {error}"]


def main() -> int:
    """The program; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, prog="infra/checks")
    parser.add_argument("--available", action="store_true")
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("files", nargs="*", type=Path)
    given = parser.parse_args()
    missing = missing_tools()
    for line in missing.values():
        print(f"missing: {line}", file=sys.stderr)
    if missing and not given.available:
        return 3
    paths = given.files or files(given.root)
    said = [one for path in paths for one in problems(given.root, path, missing)]
    for one in said:
        print(one)
    left = f"; not checked with {', '.join(missing)}" if missing else ""
    print(f"{len(paths)} files, {len(said)} problems{left}")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
