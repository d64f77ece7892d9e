"""The comparison with plain Ray Tune, once and small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "overhead.py"
TRIALS, REPORTS = 3, 3
CURVES = 11  # train and valid loss, accuracy, over_baseline, norm, speed; five of the matrix
TESTED = 2  # loss and accuracy


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="processor times come from /proc")
def test_every_variant_delivers_the_same_trials(tmp_path):
    command = [sys.executable, str(PROGRAM), "--rounds", "1", "--small", "--results", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "overhead.md").read_text(encoding="utf-8") == done.stdout
    figures = json.loads((tmp_path / "overhead.json").read_text(encoding="utf-8"))["small"]
    expected = TRIALS * (REPORTS * CURVES + TESTED)
    delivered = {variant: runs[0]["curve_points"] for variant, runs in figures.items()}
    # Longhaul adds each trial's best loss as a metric of its own.
    assert delivered == {
        "longhaul": expected + TRIALS,
        "plain": expected,
        "plain-fast": expected,
    }
    for variant, (run,) in figures.items():
        assert (run["runs"], run["running"]) == (TRIALS, 0)
        assert 0 < run["search_s"] < run["wall_s"]
        assert 0 < run["driver_search_s"] < run["driver_s"]
        assert run["workers_s"] > 0
        assert (run["tracking_s"] > 0) == (variant == "longhaul")
