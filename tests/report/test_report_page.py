"""The report: complete, self-contained, harmless, the same every time."""

import re
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main
from longhaul.report import render


class Page(HTMLParser):
    """What a page refers to, and its tables' texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self._cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "data", "poster"):
                self.addresses.append(value or "")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data


@pytest.fixture
def page(whole_search) -> tuple[str, Page]:
    html = render(whole_search.ledger, whole_search.ledger.record())
    return html, Page(html)


def test_tells_the_result(page, whole_search):
    html, parsed = page
    assert "0.03867" in html
    assert "times the trivial baseline" in html
    assert "1,650" in html
    assert f"longhaul reproduce toy --storage {whole_search.storage}" in html
    cells = [row for row in parsed.rows if row[0] in ("exprnn", "lstm")]
    assert cells[0][:6] == ["exprnn", "4", "2", "0", "0.03867", "0.2231"]
    assert cells[0][7] == "5,000"
    trials = [row for row in parsed.rows if len(row) > 1 and row[1] in ("completed", "failed")]
    assert [row[0] for row in trials] == ["0", "1", "4", "6"]
    assert parsed.tags.count("svg") == 1 + 4  # curves, and one for each hyperparameter


def test_needs_nothing_else(page):
    html, parsed = page
    assert all(address.startswith("#") for address in parsed.addresses)
    assert re.findall(r"url\((?!#)", html) == []
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_is_the_same_every_time(page, whole_search):
    assert render(whole_search.ledger, whole_search.ledger.record()) == page[0]


def test_hostile_texts_stay_texts(new_search):
    attack = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    search = new_search()
    search.suggest(0, cell={"name": attack})
    search.start(0)
    search.train(0, 600)
    search.finish(0)
    search.suggest(1)
    search.start(1)
    search.train(1, 100)
    search.fail(1, f"{attack} http://ada:canary@host")
    search.give_up()
    html = render(search.ledger, search.ledger.record())
    assert "<script>alert" not in html
    assert "img" not in Page(html).tags
    assert "canary" not in html


@pytest.mark.parametrize("ending", [None, "stop", "diverge", "fail"])
def test_searches_without_a_winner(new_search, ending):
    search = new_search()
    if ending:
        search.suggest(0)
        search.start(0)
        search.train(0, 50)
        getattr(search, ending)(0)
    html = render(search.ledger, search.ledger.record())
    assert "no trial has run all its steps yet" in html


def test_only_trials_that_ran_all_steps_are_compared(whole_search):
    from longhaul.report.hyperparameters import split

    record = whole_search.ledger.record()
    stopped, compared = split(record, "training.optimizer.learning_rate")
    assert [one.number for one in stopped] == [2, 3, 7]  # the others have no value
    assert [one.number for one in compared] == [0, 1, 4]
    assert [one.number for one in split(record, "cell.lstm.forget_bias")[1]] == [1]


def test_command_writes_where_it_is_told(whole_search, tmp_path):
    words = ["report", "toy", "--storage", str(whole_search.storage)]
    result = CliRunner().invoke(main, words)
    assert result.stdout.strip() == str(whole_search.storage / "toy" / "report.html")
    result = CliRunner().invoke(main, [*words, "-o", str(tmp_path / "r.html")])
    assert result.exit_code == 0
    assert (tmp_path / "r.html").read_text() == (
        whole_search.storage / "toy" / "report.html"
    ).read_text()
    result = CliRunner().invoke(main, [*words, "-o", str(tmp_path / "no" / "r.html")])
    assert result.exit_code == 1


def test_picture_of_one_trial(whole_search, tmp_path):
    from longhaul.report.curves import trial_picture

    record = whole_search.ledger.record()
    path = tmp_path / "curves.png"
    trial_picture(whole_search.ledger.trial(0).history(), record.trials[0], 0.17, path)
    assert path.read_bytes().startswith(b"\x89PNG")
