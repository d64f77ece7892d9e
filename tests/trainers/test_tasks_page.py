"""The page about all tasks."""

from pathlib import Path

import pytest

from longhaul_trainers.catalogue import TASKS
from longhaul_trainers.tasks.page import tasks_page

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"


@pytest.fixture(autouse=True)
def without_data(monkeypatch, tmp_path):
    # what this machine happens to have must not show on the page
    monkeypatch.delenv("LONGHAUL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_the_page_is_what_make_docs_writes():
    assert PAGE.read_text(encoding="utf-8") == tasks_page(), "run: make docs"


def test_the_page_has_every_protocol_with_its_source_and_scores():
    text = tasks_page()
    lines = text.splitlines()
    for name in TASKS.names():
        if TASKS.package(name):
            continue
        assert lines.count(f"## {name}") == 1
        section = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
        for protocol in TASKS.get(name).protocols.values():
            assert f"**{protocol.name}**: {protocol.summary}" in section
            assert f"Source: {protocol.source}." in section
            assert protocol.defects in section
            for score in protocol.published:
                assert f"| {score.model} | {score.metric} {score.value:g} |" in section
    assert "| arjovsky-2016 | 20 | 20,000 | 120 | 0.1733 |" in text
    assert all(line == line.rstrip() for line in lines)
