"""The Slurm job on a real Slurm: warned, taken away, and each time started again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REHEARSAL = Path(__file__).parents[2] / "infra/slurm/rehearsal.sh"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_a_search_survives_its_time_limit_and_preemption():
    missing = [one for one in ("slurmctld", "slurmd", "munged") if shutil.which(one) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root, and slurmctld, slurmd, slurm-client and munge: {missing}")
    done = subprocess.run(
        [REHEARSAL],
        env={**os.environ, "LONGHAUL_VENV": str(Path(sys.executable).parents[1])},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rehearsed: 4 trials, each once, in 3 runs of one job" in done.stdout
