"""The fresh seeds of a search's best configuration, kept in the search's folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from longhaul.ledger.exact_json import dumps, loads

if TYPE_CHECKING:
    from longhaul.ledger import Ledger
    from longhaul.reproduce import Recording

FORMAT = 1


@dataclass(frozen=True)
class SeedRun:
    """One training of a configuration from a fresh seed.

    Attributes:
        seed: the seed.
        values: loss and metrics on the test set, of the weights that validated best, and
            ``valid/loss``; None where it diverged.
        fingerprint: of the environment that trained it.
    """

    seed: int
    values: Mapping[str, float] | None
    fingerprint: str


def kept_runs(ledger: "Ledger", trial: int) -> list[SeedRun]:
    """The runs that were made of a trial's configuration, in the order of their seeds."""
    path = _path(trial)
    if not ledger.storage.exists(path):
        return []
    content = loads(ledger.storage.read(path))
    return [SeedRun(**one) for one in content["runs"]]


def train_missing(
    ledger: "Ledger", trial: int, count: int, progress: Callable[[int, int], None]
) -> list[SeedRun]:
    """The first ``count`` fresh seeds of a trial's configuration; those not there are trained.

    What was trained is kept at once. On a CPU one seed is trained after the other, which takes no
    longer than all together; on an accelerator all that are missing train as one pack.

    Args:
        ledger: the search.
        trial: the trial's number.
        count: how many seeds.
        progress: hears of the steps done and the steps in all.
    """
    from longhaul.reproduce import recorded_in_ledger

    runs = kept_runs(ledger, trial)
    if len(runs) >= count:
        return runs[:count]
    storage = ledger.storage.uri.removesuffix(f"/{ledger.name}")
    recording = recorded_in_ledger(storage, ledger.name, trial)
    steps = count * recording.history[-1]["step"]
    while len(runs) < count:
        done = len(runs) * recording.history[-1]["step"]
        at_once = count - len(runs) if _on_accelerator(recording) else 1

        def told(step: int, _: int, done: int = done, at_once: int = at_once) -> None:
            progress(done + at_once * step, steps)

        runs += _trained(recording, at_once, len(runs), told)
        kept = {"format": FORMAT, "runs": [_plain(one) for one in runs]}
        ledger.storage.write(_path(trial), dumps(kept, indent=1).encode() + b"\n")
    return runs


def _trained(
    recording: "Recording", count: int, first: int, progress: Callable[[int, int], None]
) -> list[SeedRun]:
    from longhaul.environment import capture
    from longhaul.reproduce import study_seeds

    study = study_seeds(recording, count, progress, first)
    threads = recording.environment.get("threads", 1)
    fingerprint = capture("cuda" if _on_accelerator(recording) else "cpu", threads)["fingerprint"]
    runs = []
    for i, seed in enumerate(study.seeds):
        values = {name: row[i] for name, row in study.values.items()}
        finite = {name: value for name, value in values.items() if value is not None}
        runs.append(SeedRun(seed, finite or None, fingerprint))
    return runs


def _on_accelerator(recording: "Recording") -> bool:
    # imported here: 2 s
    import torch

    recorded = recording.environment.get("device", "cpu")
    return recorded != "cpu" and torch.cuda.is_available()


def _plain(run: SeedRun) -> dict[str, Any]:
    values = None if run.values is None else dict(run.values)
    return {"seed": run.seed, "values": values, "fingerprint": run.fingerprint}


def _path(trial: int) -> str:
    return f"trials/{trial:05d}/seeds.json"
