"""Event segments: files of consecutive lines, written whole, merged into larger ones as they age.

A segment ``FENCE-FIRST-LAST.jsonl`` holds the events FIRST to LAST; FENCE is the owner that wrote
the file (a merged segment may hold lines of earlier owners). Segments may overlap: a merge writes
the large one first and removes the small ones after it. A file is never changed once written.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from longhaul.ledger.errors import StorageError
from longhaul.ledger.events import Line, intact_lines
from longhaul.ledger.storage import Storage

FOLDER = "events"
MERGE_AFTER = 128
"""So many segments of single appends may lie about before they are merged."""
FAN_OUT = 16
"""So many merged segments of one size become one of the next size."""
LARGEST = MERGE_AFTER * FAN_OUT
"""Segments of this many events are merged no further: a merge keeps its owner waiting."""

_NAME = re.compile(r"(\d{6,})-(\d{10,})-(\d{10,})\.jsonl")
_ATTEMPTS = 200
_log = logging.getLogger("longhaul.ledger")


class Segment(NamedTuple):
    """The name of a segment file."""

    first: int
    last: int
    fence: int

    @property
    def path(self) -> str:
        """Where it lies in the search's storage."""
        return f"{FOLDER}/{self.fence:06d}-{self.first:010d}-{self.last:010d}.jsonl"

    @property
    def size(self) -> int:
        """How many events it should hold."""
        return self.last - self.first + 1


def list_segments(storage: Storage) -> list[Segment]:
    """All segments, by their first event."""
    found = (_NAME.fullmatch(name) for name in storage.list(FOLDER))
    return sorted(
        Segment(first=int(match[2]), last=int(match[3]), fence=int(match[1]))
        for match in found
        if match
    )


def read_segments(storage: Storage, after: int = -1) -> dict[Segment, list[Line]]:
    """The intact lines of every segment that reaches beyond an event.

    Safe while the owner appends and merges: a segment is only ever removed after a larger one that
    covers it has appeared. So if a second listing shows nothing that the first one lacked, except
    single events appended since, nothing was missed in between.
    """
    contents: dict[Segment, list[Line]] = {}
    for _ in range(_ATTEMPTS):
        listed = list_segments(storage)
        try:
            for segment in listed:
                if segment.last > after and segment not in contents:
                    contents[segment] = intact_lines(storage.read(segment.path))
        except FileNotFoundError:  # merged away since it was listed
            continue
        known, reached = set(listed), max((item.last for item in listed), default=-1)
        later = (item for item in list_segments(storage) if item not in known)
        if all(item.size == 1 and item.first > reached for item in later):
            return contents
    raise StorageError(f"the events in {storage.uri} change faster than they can be read")


def is_damaged(segment: Segment, lines: Iterable[Line]) -> bool:
    """Whether a segment lacks some of the events that its name announces."""
    return len({line.sequence for line in lines}) < segment.size


def select(
    contents: Mapping[Segment, list[Line]], cuts: Mapping[int, int], after: int = -1
) -> list[Line]:
    """The valid lines in order, each event once.

    Args:
        contents: what `read_segments` returned.
        cuts: for each later owner's fence, the last event that it found; what earlier owners
            wrote beyond that does not count.
        after: only events beyond this one.
    """
    limit = _limits(cuts)
    chosen: dict[int, Line] = {}
    for lines in contents.values():
        for line in lines:
            if line.sequence <= after or line.sequence > limit(line.fence):
                continue
            known = chosen.get(line.sequence)
            if known is None or known.fence < line.fence:
                chosen[line.sequence] = line
    return [chosen[sequence] for sequence in sorted(chosen)]


def last_used(contents: Mapping[Segment, list[Line]], cuts: Mapping[int, int]) -> int:
    """The largest sequence number that was given out, even if its event is damaged; -1 if none."""
    limit = _limits(cuts)
    return max((int(min(item.last, limit(item.fence))) for item in contents), default=-1)


def _limits(cuts: Mapping[int, int]) -> Callable[[int], float]:
    """For a fence, the last event that its owner could write."""
    ordered = sorted(cuts.items(), reverse=True)
    cache: dict[int, float] = {}

    def limit(fence: int) -> float:
        if fence not in cache:
            later = [follows for other, follows in ordered if other > fence]
            cache[fence] = min(later, default=float("inf"))
        return cache[fence]

    return limit


class SegmentWriter:
    """Writes the events of one owner, and keeps the number of files small.

    Args:
        storage: the search's storage.
        fence: the owner's fencing number.
        contents: what is there already, from `read_segments`.
        lines: the valid lines of it, from `select`.
    """

    def __init__(
        self,
        storage: Storage,
        fence: int,
        contents: Mapping[Segment, list[Line]],
        lines: list[Line],
    ) -> None:
        self._storage = storage
        self._fence = fence
        self._settled: list[Segment] = []
        self._recent: dict[Segment, list[Line]] = {}
        self._merge_at = MERGE_AFTER
        self._mergeable_from = 0
        self._adopt(contents, {line.sequence: line for line in lines})

    def append(self, lines: list[Line]) -> None:
        """Write consecutive lines as one segment; durable when it returns."""
        segment = Segment(lines[0].sequence, lines[-1].sequence, self._fence)
        self._storage.write(segment.path, b"".join(line.raw for line in lines))
        self._recent[segment] = lines

    def merge_if_due(self) -> None:
        """Merge when there are many small segments. A full storage postpones it."""
        if len(self._recent) > self._merge_at:
            postponed = not self._try_merge()
            self._merge_at = MERGE_AFTER + (len(self._recent) if postponed else 0)

    def merge_finally(self) -> None:
        """Merge what there is, for readers' sake, when nothing more is to come."""
        if len(self._recent) > 1:
            self._try_merge()

    def _try_merge(self) -> bool:
        try:
            self.merge()
        except StorageError as error:
            _log.warning("event segments were not merged: %s", error)
            return False
        return True

    def merge(self) -> None:
        """Merge the recent segments into one, and full sets of equal size into the next size."""
        lines = [line for lines in self._recent.values() for line in lines]
        self._settled += self._rewrite(list(self._recent), lines)
        self._recent = {}
        while group := self._full_group():
            contents = self._read(group)
            if any(is_damaged(item, lines) for item, lines in contents.items()):
                self._mergeable_from = len(self._settled)  # the next owner sees to it
                return
            lines = [line for lines in contents.values() for line in lines]
            self._settled[-len(group) :] = self._rewrite(group, lines)

    def _full_group(self) -> list[Segment]:
        """The newest merged segments, if there are enough of one size to be merged again."""
        group = self._settled[self._mergeable_from :][-FAN_OUT:]
        if len(group) < FAN_OUT or group[0].size >= LARGEST:
            return []
        equal = all(_size_class(item) == _size_class(group[0]) for item in group)
        joined = all(one.last + 1 == two.first for one, two in pairwise(group))
        return group if equal and joined else []

    def _read(self, group: list[Segment]) -> dict[Segment, list[Line]]:
        contents: dict[Segment, list[Line]] = {}
        for segment in group:
            try:
                contents[segment] = intact_lines(self._storage.read(segment.path))
            except FileNotFoundError:  # an earlier owner merged it after we had looked
                contents[segment] = []
        return contents

    def _rewrite(self, sources: list[Segment], lines: list[Line]) -> list[Segment]:
        """Write lines as few segments, then remove the sources."""
        written = []
        for run in _runs(lines):
            segment = Segment(run[0].sequence, run[-1].sequence, self._fence)
            if segment not in sources:
                self._storage.write(segment.path, b"".join(line.raw for line in run))
            written.append(segment)
        for source in sources:
            if source not in written:
                self._remove(source)
        return written

    def _remove(self, segment: Segment) -> None:
        """Remove what is superseded; what cannot be removed does no harm."""
        try:
            self._storage.delete(segment.path)
        except StorageError as error:
            _log.info("a superseded segment stays: %s", error)

    def _adopt(self, contents: Mapping[Segment, list[Line]], valid: dict[int, Line]) -> None:
        """Repair what is damaged, drop what is superseded, take over the rest."""
        self._storage.sweep(FOLDER)
        kept: list[Segment] = []
        covered: set[int] = set()
        for segment in sorted(contents, key=_precedence):
            held = [line for line in contents[segment] if valid.get(line.sequence) == line]
            needed = [line for line in held if line.sequence not in covered]
            if is_damaged(segment, contents[segment]):
                kept += self._quarantine(segment, needed)
            elif needed:
                kept.append(segment)
            else:
                self._remove(segment)
            covered.update(line.sequence for line in needed)
        kept.sort()
        split = len(kept)
        while split and kept[split - 1].size < MERGE_AFTER:
            split -= 1
        self._settled = kept[:split]
        for segment in kept[split:]:
            numbers = range(segment.first, segment.last + 1)
            self._recent[segment] = [valid[number] for number in numbers if number in valid]

    def _quarantine(self, segment: Segment, held: list[Line]) -> list[Segment]:
        written = self._rewrite([], held)
        self._storage.rename(segment.path, segment.path + ".corrupt")
        _log.warning(
            "%s/%s is damaged: what is readable was kept, and the file is now called %s.corrupt",
            self._storage.uri,
            segment.path,
            segment.path,
        )
        return written


def _precedence(segment: Segment) -> tuple[int, int, int]:
    """The order in which segments are kept rather than dropped as superseded.

    What a merge wrote comes before its sources, for every owner alike: two owners that tidy up at
    the same time can therefore not remove each one the file that the other one relies on.
    """
    return segment.first, -segment.last, -segment.fence


def _size_class(segment: Segment) -> int:
    size, level = MERGE_AFTER * FAN_OUT, 0
    while segment.size >= size:
        size, level = size * FAN_OUT, level + 1
    return level


def _runs(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Split lines into runs of consecutive events; of equal events the first stays."""
    run: list[Line] = []
    for line in sorted(lines, key=lambda line: line.sequence):
        if run and line.sequence == run[-1].sequence:
            continue
        if run and line.sequence != run[-1].sequence + 1:
            yield run
            run = []
        run.append(line)
    if run:
        yield run
