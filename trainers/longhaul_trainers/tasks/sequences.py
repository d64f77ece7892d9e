"""A user's own sequences: which class, or what comes next.

T time steps, B sequences, I numbers a step, C classes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import ClassVar, Final, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longhaul_trainers.counter import Stream
from longhaul_trainers.data.columns import Table
from longhaul_trainers.data.data_set import DataSet
from longhaul_trainers.data.own_files import ENDINGS, SPLITS, TABLE, example_data, own_data
from longhaul_trainers.data.store import open_data
from longhaul_trainers.errors import SettingError, UnusableDataError
from longhaul_trainers.settings import Settings, setting
from longhaul_trainers.tasks.base import IGNORED, WITH_ACCURACY, Batch, Better, Protocol
from longhaul_trainers.tasks.counted import accuracy, counted, cross_entropy, squared_error
from longhaul_trainers.tasks.epochs import permutation
from longhaul_trainers.tasks.next_frame import NextFrameTask, Part
from longhaul_trainers.tasks.rows import aligned
from longhaul_trainers.tasks.stretches import Stretches

_SHOWN = 12

_SOURCE = "no paper: sequences of your own; docs/own-data.md"
_PROTOCOLS = (
    Protocol(
        name="classification",
        source=_SOURCE,
        summary="One label a sequence, asked for at its last step.",
        batch_size=32,
        steps=2000,
    ),
    Protocol(
        name="forecasting",
        source=_SOURCE,
        summary="At every step, all numbers of the step that is `horizon` later.",
        batch_size=32,
        steps=2000,
    ),
)
PROTOCOLS: Final = {protocol.name: protocol for protocol in _PROTOCOLS}


@dataclass(frozen=True, kw_only=True)
class SequencesSettings(Settings):
    """Which sequences, and what is asked of them."""

    name: ClassVar[str] = "sequences"

    protocol: Literal["classification", "forecasting"] = setting(
        "classification", structural=True, searchable=False, help="what is asked"
    )
    file: str | None = setting(
        None,
        structural=True,
        searchable=False,
        help="an .npz or .parquet file, absolute or in the folder LONGHAUL_DATA; null: an example",
    )
    split: Literal["column", "random", "time"] | None = setting(
        None,
        structural=True,
        searchable=False,
        help="by the file's own split, at random, or each sequence in three by time; null: the "
        "file's own where it has one, else at random",
    )
    validation_fraction: float = setting(
        0.15, gt=0, lt=1, structural=True, searchable=False, help="share of the validation set"
    )
    test_fraction: float = setting(
        0.15, gt=0, lt=1, structural=True, searchable=False, help="share of the test set"
    )
    split_seed: int = setting(
        0, ge=0, structural=True, searchable=False, help="of the random split; not the trial's seed"
    )
    horizon: int = setting(
        1, ge=1, structural=True, searchable=False, help="forecasting: how many steps ahead"
    )
    longest_piece: int | None = setting(
        None,
        ge=1,
        structural=True,
        searchable=False,
        help="forecasting: training sequences are cut to so many steps; null: never",
    )
    standardize: bool = setting(
        True,
        structural=True,
        searchable=False,
        help="whether each number is given mean 0 and deviation 1 over the training set",
    )

    def check(self) -> None:
        """Refuses what does not go together."""
        if self.file is not None and PurePath(self.file).suffix not in ENDINGS:
            raise SettingError("file", f"expected {' or '.join(ENDINGS)}, found {self.file!r}")
        if self.validation_fraction + self.test_fraction >= 1:
            raise SettingError("test_fraction", "validation and test set leave nothing to train on")
        if self.protocol == "classification":
            if self.split == "time":
                raise SettingError("split", "a sequence with one label cannot be split by time")
            if self.longest_piece is not None:
                raise SettingError("longest_piece", "a sequence with one label is never cut")


@final
class Sequences(NextFrameTask):
    """Sequences of your own, from an npz or a Parquet file, to classify or to forecast.

    Inputs are (T, B, I), padded with 0. To classify, the label is asked for at the last step of
    each sequence: targets are (T, B), `IGNORED` elsewhere. To forecast, targets are the numbers
    `horizon` steps later, (T, B, I), NaN past the end. Losses are the cross entropy in nats, mean
    over the sequences, and the mean squared error of standardised numbers over all steps. What the
    file must hold is in docs/own-data.md.
    """

    settings_type = SequencesSettings
    protocols: ClassVar[Mapping[str, Protocol]] = PROTOCOLS
    same_everywhere = False
    settings: SequencesSettings

    def __init__(self, settings: SequencesSettings) -> None:
        super().__init__(settings)
        self.classifies = settings.protocol == "classification"
        self.ahead = 0 if self.classifies else settings.horizon

    @property
    def protocol(self) -> Protocol:
        """See `Task.protocol`."""
        return PROTOCOLS[self.settings.protocol]

    @property
    def data_set(self) -> DataSet:
        """Where the sequences come from."""
        return example_data() if self.settings.file is None else own_data(self.settings.file)

    @property
    def input_size(self) -> int:
        """I."""
        return int(self._all.values.shape[1])

    @property
    def output_size(self) -> int:
        """C, or I."""
        return int(self._labels.max()) + 1 if self.classifies else self.input_size

    @property
    def longest_piece(self) -> int | None:
        """See `NextFrameTask.longest_piece`."""
        return self.settings.longest_piece

    @property
    def baseline(self) -> float:
        """The loss on the test set of what can be said without looking at the sequence.

        To classify: of giving each class the share (n_c + 1) / (n + C) that it has in the training
        set. To forecast: of the training set's mean, of each number; nearly 1 where numbers are
        standardised and the sets are alike.
        """
        return self._baseline

    @property
    def baseline_metrics(self) -> dict[str, float]:
        """``accuracy`` of the class most frequent in training; ``rmse`` of the training mean."""
        if not self.classifies:
            return {"rmse": math.sqrt(self.baseline)}
        most = np.bincount(self._labels[self._rows["train"]]).argmax()
        return {"accuracy": float((self._labels[self._rows["test"]] == most).mean())}

    def prepare(self) -> None:
        """See `Task.prepare`; also refuses a file that does not have what is asked for."""
        _ = self.output_size, self.length, self.baseline

    def sequences(self, part: Part) -> Stretches:
        """See `NextFrameTask.sequences`."""
        if self.settings.split != "time":
            found = self._all.take(self._rows[part])
            if found.longest <= self.ahead:
                raise self._unusable(f"no {part} sequence is longer than {self.ahead} steps")
            return found
        first, end = self._all.bounds.T
        cuts = first + np.rint(np.outer(self._shares, end - first)).astype(np.int64)
        at = SPLITS.index(part)
        bounds = np.stack([[first, *cuts][at], [*cuts, end][at]], axis=1)
        if (np.diff(bounds, axis=1) <= self.ahead).any():
            raise self._unusable(f"a sequence too short for a {part} part of its own by time")
        return Stretches(self._all.values, bounds)

    def prepared(self, chosen: Stretches) -> Stretches:
        """See `NextFrameTask.prepared`: standardised, unless the settings say otherwise."""
        return chosen.mapped(self._standardized)

    def weight(self, targets: Tensor) -> int:
        """The number of sequences, or of counted frames."""
        return int(counted(targets).sum()) if self.classifies else super().weight(targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `Task.loss`; outputs (T, B, C) or (T, B, I)."""
        return (cross_entropy if self.classifies else squared_error)(outputs, targets)

    @property
    def better(self) -> Mapping[str, Better]:
        """See `Task.better`."""
        return WITH_ACCURACY if self.classifies else {"loss": "lower", "rmse": "lower"}

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``accuracy`` where classes are asked for."""
        return {"accuracy": accuracy(outputs, targets)} if self.classifies else {}

    def summary(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """``rmse`` where numbers are asked for, in deviations of the training set."""
        return means if self.classifies else means | {"rmse": means["loss"].sqrt()}

    def example(self) -> str:
        """See `Task.example`."""
        batch = self.evaluation_set("validation", 1)
        asked = counted(batch.targets)[:, 0].reshape(len(batch.targets), -1).any(1)
        steps = int(asked.nonzero().max()) + 1
        shown = sorted({*range(min(_SHOWN - 2, steps)), steps - 1})
        rows = {"step": [str(t) for t in range(steps)]}
        for i in range(min(3, self.input_size)):
            rows[f"input {i}"] = [f"{x:.2f}" for x in batch.inputs[:steps, 0, i].tolist()]
        targets = batch.targets[:steps, 0].reshape(steps, -1)[:, 0].tolist()
        asked_for = "{:.0f}" if self.classifies else "{:.2f}"
        rows["target"] = [
            asked_for.format(x) if here else "-"
            for x, here in zip(targets, asked.tolist(), strict=False)
        ]
        where = self.settings.file or "the built-in example"
        return "\n".join([*aligned(rows, shown), f"({where}; {steps} steps)"])

    def _batch(self, chosen: Stretches, steps: int) -> Batch:
        if not self.classifies:
            return super()._batch(chosen, steps)
        targets = np.full((steps, len(chosen)), IGNORED, dtype=np.int64)
        # A sequence is known by its first row, which is where the labels are looked up.
        places = np.searchsorted(self._all.bounds[:, 0], chosen.bounds[:, 0])
        targets[chosen.lengths - 1, np.arange(len(chosen))] = self._labels[places]
        return Batch(self.prepared(chosen).padded(steps, 0.0), torch.from_numpy(targets))

    def _standardized(self, frames: NDArray[np.generic]) -> NDArray[np.float32]:
        numbers = frames.astype(np.float32)
        if self.settings.standardize:
            mean, deviation = self._scale
            numbers = (numbers - mean) / deviation
        return numbers

    @cached_property
    def _baseline(self) -> float:
        if self.classifies:
            counts = np.bincount(self._labels[self._rows["train"]], minlength=self.output_size) + 1
            shares = counts / counts.sum()
            return float(-np.log(shares[self._labels[self._rows["test"]]]).mean())
        mean = self._standardized(self.asked("train")).mean(axis=0, dtype=np.float64)
        return float(
            np.square(self._standardized(self.asked("test")) - mean).mean(dtype=np.float64)
        )

    @cached_property
    def _table(self) -> Table:
        return open_data(self.data_set)[TABLE]

    @cached_property
    def _all(self) -> Stretches:
        return Stretches.of(self._table["inputs"])

    @cached_property
    def _labels(self) -> NDArray[np.int64]:
        if "labels" not in self._table:
            raise self._unusable("no labels; to forecast, set task.protocol: forecasting")
        return np.asarray(self._table["labels"], dtype=np.int64)

    @property
    def _shares(self) -> NDArray[np.float64]:
        """Where the validation and the test set begin."""
        test = self.settings.test_fraction
        return np.array([1 - test - self.settings.validation_fraction, 1 - test])

    @cached_property
    def _rows(self) -> dict[Part, NDArray[np.int64]]:
        """Which sequences are in which part."""
        count, split = len(self._all), self.settings.split
        if split == "column" and "split" not in self._table:
            raise self._unusable("no key or column 'split', which task.split: column asks for")
        if "split" in self._table and split != "random":
            places = np.asarray(self._table["split"])
            rows = [np.flatnonzero(places == at) for at in range(len(SPLITS))]
        else:
            order = permutation(Stream("sequences", "split", self.settings.split_seed), count)
            rows = np.split(order.astype(np.int64), np.rint(self._shares * count).astype(int))
        for part, found in zip(SPLITS, rows, strict=True):
            if not len(found):
                hint = "" if self.classifies else "; one long series is split by task.split: time"
                raise self._unusable(f"{count} sequences, none of them for the {part} set{hint}")
        return {"train": rows[0], "validation": rows[1], "test": rows[2]}

    @cached_property
    def _scale(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and deviation of each number over the training set; 1 for what never changes."""
        train = self.sequences("train")
        rows = np.concatenate([train[i] for i in range(len(train))])
        deviation = rows.std(axis=0, dtype=np.float64)
        deviation[deviation == 0] = 1
        return rows.mean(axis=0, dtype=np.float64).astype(np.float32), deviation.astype(np.float32)

    def _unusable(self, problem: str) -> UnusableDataError:
        where = self.settings.file or "the built-in example"
        return UnusableDataError(f"{where}: not usable for task sequences: {problem}")
