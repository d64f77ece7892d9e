"""Checks of every script, program and text."""

import ast
import json
import os
import re
import subprocess
from pathlib import Path

import yaml

from check import Rule
from tools import problems, run

_PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+(\s+#.*)?")
YAMLLINT = """
extends: default
rules:
  braces: {max-spaces-inside: 1}
  comments-indentation: disable
  document-start: disable
  line-length: disable
"""


def shellcheck(root: Path, path: Path) -> list[str]:
    """shellcheck, with its hints."""
    return problems(run("shellcheck", root / path))


def shell(root: Path, path: Path) -> list[str]:
    """Bash reads it; it can be executed, and stops at the first failure."""
    done = subprocess.run(
        ["bash", "-n", root / path], capture_output=True, encoding="utf-8", check=False
    )
    text = (root / path).read_text(encoding="utf-8")
    said = problems(done)
    said += [] if text.startswith("#!/usr/bin/env bash\n") else ["the first line names no bash"]
    said += (
        [] if "\nset -euo pipefail\n" in text else ["goes on after a failure: set -euo pipefail"]
    )
    if path.suffix == ".sh" and not os.access(root / path, os.X_OK):
        said.append("is not executable")
    return said


def python(root: Path, path: Path) -> list[str]:
    """Python reads it, and it says what it is for."""
    try:
        tree = ast.parse((root / path).read_text(encoding="utf-8"))
    except SyntaxError as error:
        return [f"line {error.lineno}: {error.msg}"]
    return [] if ast.get_docstring(tree) else ["has no docstring"]


def yaml_reads(root: Path, path: Path) -> list[str]:
    """A safe loader reads it."""
    try:
        list(yaml.safe_load_all((root / path).read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        return [str(error)]
    return []


def yamllint(root: Path, path: Path) -> list[str]:
    """yamllint: keys given twice, ambiguous words, indentation."""
    return problems(run("yamllint", "--strict", "-d", YAMLLINT, root / path))


def json_reads(root: Path, path: Path) -> list[str]:
    """It is JSON."""
    try:
        json.loads((root / path).read_text(encoding="utf-8"))
    except ValueError as error:
        return [str(error)]
    return []


def pins(root: Path, path: Path) -> list[str]:
    """Every line is one exact version, and no package has two of them."""
    known: dict[str, str] = {}
    said = []
    folder = root / "infra/constraints"
    for file in sorted({*folder.glob("*.txt"), root / path}):
        for line in file.read_text(encoding="utf-8").splitlines():
            if not line or line.startswith("#"):
                continue
            if not _PIN.fullmatch(line):
                said.append(f"{file.name}: {line!r} is no exact version")
            name = re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower()
            if name in known:
                said.append(f"{file.name}: {name} is in {known[name]} already")
            known[name] = file.name
    return said


def decision(root: Path, path: Path) -> list[str]:
    """A record of a decision has its parts."""
    text = (root / path).read_text(encoding="utf-8")
    return [f"no part {one}" for one in ("Context", "Decision", "Consequences") if one not in text]


def links(root: Path, path: Path) -> list[str]:
    """Relative links lead somewhere."""
    file = root / path
    found = re.findall(r"\]\(([^)\s#]+)[^)]*\)", file.read_text(encoding="utf-8"))
    said = [
        f"{one} does not exist"
        for one in found
        if "://" not in one and not (file.parent / one).exists()
    ]
    return said if found else [*said, "a page of infra without a link"]


_SHELL = ("infra/*.sh", "infra/*.sbatch")
_YAML = ("infra/*.yaml", "infra/*.yml")
RULES = [
    Rule("bash -n", _SHELL, shell),
    Rule("shellcheck", _SHELL, shellcheck, ("shellcheck",)),
    Rule("Python", ("infra/*.py",), python),
    Rule("YAML", _YAML, yaml_reads),
    Rule("yamllint", _YAML, yamllint, ("yamllint",)),
    Rule("JSON", ("infra/*.json",), json_reads),
    Rule("exact versions", ("infra/constraints/*.txt", "infra/checks/tools.txt"), pins),
    Rule("decision", ("infra/decisions/*.md",), decision),
    Rule("links", ("infra/README.md",), links),
]
