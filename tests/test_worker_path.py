"""What a Ray worker imports, where the driver's folder holds modules named like ours."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = """
import json
import ray

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)


@ray.remote
def where():
    import longhaul.errors, longhaul_trainers.seeds, platform, trainers
    modules = longhaul.errors, longhaul_trainers.seeds, platform, trainers
    return {module.__name__: module.__file__ for module in modules}


print(json.dumps(ray.get(where.remote())))
"""


@pytest.mark.ray
def test_a_worker_imports_ours_beside_a_folder_called_trainers(tmp_path: Path):
    (tmp_path / "trainers").mkdir()
    for name in ("trainers/__init__.py", "trainers/copying.py", "seeds.py", "errors.py"):
        (tmp_path / name).write_text("decoy = True\n", encoding="utf-8")
    (tmp_path / "driver.py").write_text(DRIVER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "driver.py"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {name: Path(file) for name, file in json.loads(done.stdout.splitlines()[-1]).items()}
    # The decoy is found: the driver's folder really is on the worker's path.
    assert found["trainers"].is_relative_to(tmp_path)
    for name in ("longhaul.errors", "longhaul_trainers.seeds", "platform"):
        assert not found[name].is_relative_to(tmp_path)
    assert found["longhaul.errors"].parent.name == "longhaul"
