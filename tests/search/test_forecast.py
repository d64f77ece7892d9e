"""What a search will take is told before it begins."""

import json

import pytest
from click.testing import CliRunner

from longhaul.cli.main import main
from longhaul.ledger import open_storage
from longhaul.search.forecast import Speed, forecast, measured_speed
from longhaul.spec.search_spec import SearchSpec

SPACE = """
task: {{name: copying, delay: 5}}
cell: {{name: lstm, hidden_size: 8, forget_bias: {{uniform: [0, 3]}}}}
training: {{steps: 90, optimizer: {{name: adam, learning_rate: {{loguniform: [1e-4, 1e-1]}}}}}}
search: {{trials: 9, scheduler: {{name: asha, grace_steps: 10}}, {limits}}}
resources: {{gpus: {gpus}}}
"""
# nine trials to step 10, three to 30, one to 90
EXPECTED = 9 * 10 + 3 * 20 + 1 * 60


def expected(limits="", speed=10.0, places=3, gpus=0, trained=0):
    spec = SearchSpec.from_text(SPACE.format(limits=limits, gpus=gpus), "space.yaml", name="s")
    known = None if speed is None else Speed(speed, "earlier")
    return forecast(spec, spec.search, places=places, speed=known, trained=trained)


def test_steps_and_time():
    found = expected()
    assert (found.most_steps, found.expected_steps, found.ends_by) == (810, EXPECTED, "trials")
    assert found.seconds == EXPECTED / 30
    assert expected(trained=110).seconds == (EXPECTED - 110) / 30
    assert expected("parallel: 1").seconds == EXPECTED / 10
    assert found.lines()[0] == "at most 9 trials × 90 steps = 810 steps, about 210 to be expected"
    assert "search earlier (10 steps/s)" in found.lines()[1]


@pytest.mark.parametrize(
    ("limits", "ends_by", "steps"),
    [
        ("steps: 100", "steps", 100),
        ("steps: 100, seconds: 2", "seconds", 60),
        ("seconds: 60", "trials", EXPECTED),
        ("gpu_hours: 0.0005", "gpu_hours", 36),  # 1.8 seconds of one GPU, at 20 steps a second
        ("gpu_hours: 1, steps: 100", "steps", 100),
    ],
)
def test_the_limit_that_is_reached_first_is_named(limits, ends_by, steps):
    found = expected(f"parallel: 2, {limits}", gpus=0.5)
    found = found if ends_by != "seconds" else expected(limits)
    assert (found.ends_by, found.expected_steps) == (ends_by, steps)
    assert any(ends_by in line for line in found.lines()[1:])


def test_without_a_known_speed_nothing_is_made_up():
    found = expected("seconds: 5", speed=None)
    assert (found.seconds, found.ends_by) == (None, None)
    assert found.lines()[1:] == ["ends with its trials, or by search.seconds: 5"]
    assert expected("steps: 100", speed=None).ends_by == "steps"
    assert expected(places=None).seconds is None


def test_the_speed_is_that_of_searches_of_the_same_shape(whole_search):
    root = open_storage(whole_search.storage)
    text = whole_search.ledger.spec_text()
    same = SearchSpec.from_text(text, "spec.yaml", name="new")
    whole_search.ledger.storage.write("spec.yaml", same.to_yaml().encode())
    speed = measured_speed(root, same)
    assert speed is not None
    assert (speed.search, speed.steps_per_second > 0) == ("toy", True)
    larger = SearchSpec.from_text(text.replace("hidden_size: 64", "hidden_size: 65"), "s.yaml")
    assert measured_speed(root, larger) is None


def test_the_check_tells_it(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(SPACE.format(limits="seconds: 5, steps: 50", gpus=0))
    words = ["check", str(file), "--storage", str(tmp_path / "none")]
    shown = CliRunner().invoke(main, words)
    assert "ends with its trials, or by search.steps: 50, search.seconds: 5" in shown.stdout
    told = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert told["forecast"]["limits"] == {"steps": 50, "seconds": 5}
    assert not (tmp_path / "none").exists()
