"""How many hidden units make a model of so many trainable parameters, readout included.

Nothing is built: the cells' formulas count. Counts grow with the hidden size, and among the sizes
that a cell accepts (all, even ones, powers of two, ...) each is about twice the last at most.
"""

from collections.abc import Mapping

from longhaul_trainers.catalogue import CELLS
from longhaul_trainers.cells.base import CellSettings
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import describe, parse_component
from longhaul_trainers.tasks.base import Task
from longhaul_trainers.training.model import SequenceModel

FIRST_SIZES = 4096
"""Below this is the smallest size that a cell accepts, or its settings are at fault."""
GAP = 64
"""After a size n there is another below 2n + GAP, or none."""


def parse_cell(value: object, task: Task, path: str = "cell") -> CellSettings:
    """The settings of a cell, whose size may be given as a number of parameters.

    Args:
        value: ``{name: lstm, hidden_size: 128}``, ``{name: lstm, parameters: 19000}``, or a name;
            ``hidden_size: null`` is no size.
        task: input and output size count too.
        path: dotted path of ``value``, for messages.

    Returns:
        Settings with a hidden size and ``parameters`` None. Of two sizes whose counts are equally
        near, the smaller.

    Raises:
        SettingError: as `parse_component`; or both keys are given, or no model is so small.
    """
    given = dict(value) if isinstance(value, Mapping) else {}
    wanted = given.get("parameters") is not None
    if wanted and given.get("hidden_size", 0) is None:
        value = {key: one for key, one in given.items() if key != "hidden_size"}
    # The default size is not meant here, so it must not be what the cell refuses.
    cell = parse_component(CELLS, value, path, check=not wanted)
    if not isinstance(cell, CellSettings):
        raise TypeError(f"settings of cell {cell.name!r} are not CellSettings")
    if cell.parameters is None:
        return cell
    try:
        if given.get("hidden_size") is not None:
            problem = f"found {cell.parameters} beside hidden_size {cell.hidden_size}; expected"
            advice = "one of the two: remove the other, or make it null"
            raise SettingError("parameters", f"{problem} {advice}")
        return _sized(cell, cell.parameters, task)
    except SettingError as error:
        raise SettingError(".".join(filter(None, (path, error.path))), error.problem) from None


def _sized(cell: CellSettings, wanted: int, task: Task) -> CellSettings:
    sizes = _Sizes(cell, task)
    least = sizes.first(1, FIRST_SIZES)
    if least is None:
        cell.with_changes(parameters=None).check()
        raise SettingError("hidden_size", f"no number below {FIRST_SIZES} is accepted")
    if wanted < sizes.count(least):
        found = f"found {wanted}, but the smallest model (hidden_size {least}) has"
        raise SettingError("parameters", f"{found} {sizes.count(least)}; expected at least that")
    return sizes.cell(_nearest(sizes, wanted, least))


def _nearest(sizes: "_Sizes", wanted: int, least: int) -> int:
    """The accepted size whose count is nearest; that of ``least`` is not above."""
    low, high = least, least  # what is accepted first from `high` on has too many, at the end
    above: int | None = least
    while above is not None and sizes.count(above) <= wanted:
        low, high = above, 2 * above
        above = sizes.first(high, 2 * high + GAP)
    while high - low > 1:
        middle = (low + high) // 2
        found = sizes.first(middle, high)
        if found is None:
            high = middle
        elif sizes.count(found) <= wanted:
            low = found
        else:
            high, above = middle, found
    if above is not None and sizes.count(above) - wanted < wanted - sizes.count(low):
        return above
    return low


class _Sizes:
    """The hidden sizes that a cell accepts, and what they count."""

    def __init__(self, cell: CellSettings, task: Task) -> None:
        self._cell = cell
        self._task = task
        self._rule = describe(type(cell))["hidden_size"].rule
        self._accepted: dict[int, bool] = {}

    def cell(self, size: int) -> CellSettings:
        return self._cell.with_changes(hidden_size=size, parameters=None)

    def count(self, size: int) -> int:
        return SequenceModel.parameter_count(self._task, self.cell(size))

    def first(self, start: int, stop: int) -> int | None:
        """The first accepted size from ``start`` on and below ``stop``."""
        return next((size for size in range(start, stop) if self._accepts(size)), None)

    def _accepts(self, size: int) -> bool:
        if size not in self._accepted:
            self._accepted[size] = self._rule.admits(size) and self._checks(size)
        return self._accepted[size]

    def _checks(self, size: int) -> bool:
        try:
            self.cell(size).check()
        except SettingError:
            return False
        return True
