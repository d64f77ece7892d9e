"""The metrics that alerts and panels name are those of the Ray that is installed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "infra/monitoring"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_every_metric_that_is_used_is_reported_by_a_real_head(tmp_path):
    done = subprocess.run(
        [sys.executable, FOLDER / "ray_metrics.py"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reported = set(done.stdout.splitlines())
    texts = [(FOLDER / one).read_text("utf-8") for one in ("rules.yml", "grafana/dashboard.json")]
    used = {one for text in texts for one in re.findall(r"\b(?:ray|autoscaler)_[a-z_]+\b", text)}
    assert len(used) > 10
    assert used - reported == set()
