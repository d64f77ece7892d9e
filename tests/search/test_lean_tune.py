"""What Tune leaves out at the start of a search."""

import subprocess
import sys

PROGRAM = """\
import os, sys
os.environ["AWS_SECRET_ACCESS_KEY"] = "canary"
from ray import tune
from ray.air._internal import usage
from ray.tune.execution.class_cache import _ActorClassCache
from longhaul.search.lean_tune import trim_tune

class Trial(tune.Trainable):
    pass

def described():
    return _ActorClassCache().get(Trial)._default_options["runtime_env"]

print(described())
trim_tune()
print(described())
usage.tag_callbacks([tune.Callback()])
print("mlflow" in sys.modules)
"""


def test_trials_need_no_environment_and_tune_no_mlflow():
    asked = [sys.executable, "-P", "-c", PROGRAM]
    told = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.splitlines()
    assert "canary" in told[0]  # else Tune describes none by itself
    assert told[1:] == ["{}", "False"]
