"""docs/security.md promises nothing that no test attacks."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/security.md"
NAMED = re.findall(r"\]\(\.\./(tests/[\w/]+\.py)\)|`(test_\w+)`", PAGE.read_text(encoding="utf-8"))


def names_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = (one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef))
    return {one.name for one in found if one.name.startswith("test_")}


def attacks() -> set[tuple[int, str]]:
    """Row and test of every attack, read off the markers."""
    found = set()
    for file in (ROOT / "tests/security").glob("test_*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        shared = [one for one in tree.body if isinstance(one, ast.Assign) and "attack" in dump(one)]
        for one in tree.body:
            if isinstance(one, ast.FunctionDef) and one.name.startswith("test_"):
                own = [mark for mark in one.decorator_list if "attack" in dump(mark)]
                found |= {(row, one.name) for row in rows(own or shared)}
    return found


def dump(node: ast.AST) -> str:
    return ast.unparse(node)


def rows(nodes: list[ast.AST]) -> list[int]:
    return [int(row) for one in nodes for row in re.findall(r"attack\((\d+),", dump(one))]


def test_every_test_that_the_page_names_exists():
    files = {file for file, _ in NAMED if file}
    names = {name for _, name in NAMED if name}
    assert len(names) >= 10
    there = set()
    for file in files:
        assert (ROOT / file).is_file(), file
        there |= names_in(ROOT / file)
    assert names - there == set()


def test_every_row_names_a_test_that_attacks_it():
    made = attacks()
    lines = re.findall(r"^\| (\d+) \|.*$", PAGE.read_text(encoding="utf-8"), re.M)
    assert lines == [str(row) for row in range(1, 11)]
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"\| (\d+) \|", line):
            named = re.findall(r"`(test_\w+)`", line)
            assert {(int(match[1]), name) for name in named} & made, line


@pytest.mark.parametrize(
    "file", sorted((ROOT / "tests/security").glob("test_*.py")), ids=lambda f: f.name
)
def test_every_test_of_security_is_an_attack(file):
    names = {name for _, name in attacks()}
    controls = {name for name in names_in(file) if "would_have" in name}
    assert names_in(file) - names - controls == set()
