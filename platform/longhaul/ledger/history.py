"""The history of one trial: what it measured, one row a step, as Parquet segments.

A segment ``FENCE-NUMBER-FIRST-LAST-CRC.parquet`` holds the rows of the steps FIRST to LAST; CRC is
the CRC-32 of the file, so that a torn or changed one is recognised whatever part is hit. When the
trial ends they become one ``merged-FIRST-LAST-CRC.parquet``. Files are never changed once written.
"""

import io
import logging
import operator
import re
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from longhaul.ledger.errors import StorageError
from longhaul.ledger.storage import Storage

if TYPE_CHECKING:
    import pyarrow

MERGE_AFTER = 256
"""So many segments may lie about before they are merged although the trial goes on."""

_NAME = re.compile(r"(?:(\d{6,})-(\d{6,})|merged)-(\d{10,})-(\d{10,})-([0-9a-f]{8})\.parquet")
_ATTEMPTS = 200
_log = logging.getLogger("longhaul.ledger")


class _Segment(NamedTuple):
    # Sorts as rows are chosen: the first write of a step wins, and merged files hold only those.
    fence: int
    number: int
    first: int
    last: int
    checksum: str

    @property
    def merged(self) -> bool:
        return self.fence < 0

    @property
    def name(self) -> str:
        origin = "merged" if self.merged else f"{self.fence:06d}-{self.number:06d}"
        return f"{origin}-{self.first:010d}-{self.last:010d}-{self.checksum}.parquet"


class History:
    """The rows of one trial.

    Args:
        storage: the search's storage.
        folder: where the trial's segments lie.
    """

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self._folder = folder
        self._number: int | None = None
        self._segments = 0
        self._reported: set[str] = set()

    def append(self, rows: Sequence[Mapping[str, object]], fence: int) -> None:
        """Write rows as one segment; durable when it returns.

        Args:
            rows: each with ``step``, optionally ``time`` (UTC; now if absent), and metrics:
                numbers, or None where there is no value. NaN and infinities are kept.
            fence: the fencing number under which the trial runs.

        Raises:
            ValueError: a row has no step, or a metric is not a number.
        """
        if not rows:
            return
        if self._number is None:
            present = self._list()
            self._number = max((segment.number for segment in present), default=-1) + 1
            self._segments = len(present)
        self._write(_table(rows), fence, self._number)
        self._number += 1
        self._segments += 1
        if self._segments > MERGE_AFTER:
            self._merge_early()

    def read(self, after: int = -1) -> "pyarrow.Table":
        """The rows beyond a step, one a step, sorted.

        Segments that end before that step are not opened, so a reader that comes back for more
        pays for what is new.

        Returns:
            ``step`` int64, ``time`` timestamp[us, UTC], and each metric as float64, null where a
            row lacks it, in the order in which they first appeared.
        """
        return _combine([table for _, table in self._read(after)], after)

    def merge(self) -> None:
        """Make one file of all segments. May be interrupted anywhere, and repeated."""
        contents = self._read(-1)
        damaged = set(self._list()) - {segment for segment, _ in contents}
        if len(contents) > 1:
            kept = self._write(_combine([table for _, table in contents], -1), -1, -1)
            for segment, _ in contents:
                if segment != kept:
                    self._storage.delete(self._path(segment))
        for segment in damaged:
            if not self._is_intact(segment):
                self._storage.rename(self._path(segment), self._path(segment) + ".corrupt")
        self._storage.sweep(self._folder)
        self._number = None

    def _merge_early(self) -> None:
        try:
            self.merge()
        except StorageError as error:  # the rows are safe; a full disk postpones the merge
            self._segments = 0
            _log.warning("history segments were not merged: %s", error)

    def _path(self, segment: _Segment) -> str:
        return f"{self._folder}/{segment.name}"

    def _list(self) -> list[_Segment]:
        found = (_NAME.fullmatch(name) for name in self._storage.list(self._folder))
        return sorted(
            _Segment(
                fence=int(match[1] or -1),
                number=int(match[2] or -1),
                first=int(match[3]),
                last=int(match[4]),
                checksum=match[5],
            )
            for match in found
            if match
        )

    def _read(self, after: int) -> list[tuple[_Segment, "pyarrow.Table"]]:
        """Intact segments that reach beyond a step.

        Safe while the writer appends and merges, for the reason given in `segments.read_segments`.
        """
        contents: dict[_Segment, pyarrow.Table | None] = {}
        for _ in range(_ATTEMPTS):
            listed = self._list()
            try:
                for segment in listed:
                    if segment.last > after and segment not in contents:
                        contents[segment] = self._open(segment)
            except FileNotFoundError:  # merged away since it was listed
                continue
            if all(new in listed or not new.merged for new in self._list()):
                good = [
                    (segment, table) for segment, table in contents.items() if table is not None
                ]
                return sorted(good, key=lambda pair: pair[0])
        raise StorageError(f"{self._storage.uri}/{self._folder} changes faster than it can be read")

    def _open(self, segment: _Segment) -> "pyarrow.Table | None":
        # imported here: 0.3 s
        import pyarrow
        import pyarrow.parquet as parquet

        data = self._storage.read(self._path(segment))
        if f"{zlib.crc32(data):08x}" == segment.checksum:
            # No thread of Arrow's may hold a Python object when Python ends: about one process in
            # fifty then aborted ("terminate called without an active exception").
            source = pyarrow.BufferReader(data)
            return parquet.read_table(source, use_threads=False, pre_buffer=False)
        if segment.name not in self._reported:
            self._reported.add(segment.name)
            _log.warning(
                "%s/%s is damaged: its rows (steps %d to %d) are left out",
                self._storage.uri,
                self._path(segment),
                segment.first,
                segment.last,
            )
        return None

    def _is_intact(self, segment: _Segment) -> bool:
        try:
            return f"{zlib.crc32(self._storage.read(self._path(segment))):08x}" == segment.checksum
        except FileNotFoundError:
            return True

    def _write(self, table: "pyarrow.Table", fence: int, number: int) -> _Segment:
        import pyarrow.parquet as parquet

        sink = io.BytesIO()
        parquet.write_table(table, sink, compression="zstd")
        data = sink.getvalue()
        steps = table["step"].to_pylist()
        segment = _Segment(fence, number, min(steps), max(steps), f"{zlib.crc32(data):08x}")
        self._storage.write(self._path(segment), data)
        return segment


def _table(rows: Sequence[Mapping[str, object]]) -> "pyarrow.Table":
    import pyarrow

    now = datetime.now(UTC)
    metrics: dict[str, None] = {}
    for row in rows:
        metrics.update(dict.fromkeys(name for name in row if name not in ("step", "time")))
    columns: dict[str, Any] = {
        "step": pyarrow.array([_step(row) for row in rows], pyarrow.int64()),
        "time": pyarrow.array([row.get("time") or now for row in rows], _time_type()),
    }
    for name in metrics:
        values = [_number(name, row.get(name)) for row in rows]
        columns[name] = pyarrow.array(values, pyarrow.float64(), from_pandas=False)
    return pyarrow.table(columns)


def _combine(tables: list["pyarrow.Table"], after: int) -> "pyarrow.Table":
    """One table with one row a step: the first in the order of the tables."""
    import numpy
    import pyarrow

    empty = pyarrow.table(
        {"step": pyarrow.array([], pyarrow.int64()), "time": pyarrow.array([], _time_type())}
    )
    table = pyarrow.concat_tables([empty, *tables], promote_options="default")
    steps, first = numpy.unique(table["step"].to_numpy(), return_index=True)
    return table.take(pyarrow.array(first[steps > after], pyarrow.int64())).combine_chunks()


def _time_type() -> Any:
    import pyarrow

    return pyarrow.timestamp("us", tz="UTC")


def _step(row: Mapping[str, object]) -> int:
    step = row.get("step")
    try:
        number = operator.index(step)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if number < 0:
        raise ValueError(f"a history row needs a step, a whole number from 0; it has {step!r}")
    return number


def _number(name: str, value: object) -> float | None:
    if value is None:
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"metric {name!r} of a history row is not a number: {value!r}") from None
