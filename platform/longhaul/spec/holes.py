"""The holes of a search space: leaves that are distributions instead of values."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, final

from longhaul.errors import LonghaulError
from longhaul.spec.document import KeyPath, branch_labels

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

Tree = Any
"""A configuration in which some values are holes: mappings, plain values and `Hole`."""

Condition = tuple[tuple[str, str], ...]
"""Names of choices among branches and the labels that must have been chosen."""


@final
@dataclass(frozen=True)
class Choice:
    """One of several options.

    Attributes:
        options: plain values, or mappings, which then are branches: their holes exist only where
            the branch is chosen, and what is suggested is the branch's label.
    """

    kind: ClassVar[str] = "choice"
    options: tuple[Any, ...]

    @cached_property
    def labels(self) -> list[str] | None:
        """What the branches are called, or None for a choice among plain values."""
        return branch_labels(self.options)

    @property
    def answers(self) -> tuple[Any, ...]:
        """What may be suggested: the labels of branches, or the values themselves."""
        return self.options if self.labels is None else tuple(self.labels)

    @property
    def representatives(self) -> tuple[Any, ...]:
        """Answers that show whether a configuration can take this hole: all of them."""
        return self.answers

    def contains(self, answer: object) -> bool:
        """Whether ``answer`` may be suggested."""
        return any(type(answer) is type(one) and answer == one for one in self.answers)

    def distribution(self) -> "BaseDistribution":
        """The same as an Optuna distribution."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.answers)

    def suggest(self, trial: "BaseTrial", name: str) -> Any:
        """Asks an Optuna trial."""
        return trial.suggest_categorical(name, self.answers)

    def value(self, answer: Any) -> Any:
        """The plain value, or the branch's tree, that an answer stands for."""
        return self.options[self.answers.index(answer)]

    def dump(self) -> dict[str, Any]:
        """The mapping that is read as this hole."""
        return {self.kind: [dump_tree(option) for option in self.options]}


@dataclass(frozen=True)
class Range:
    """Two bounds: what the four kinds of numbers share."""

    kind: ClassVar[str]
    whole: ClassVar[bool]
    log: ClassVar[bool]
    low: Any
    high: Any

    @property
    def representatives(self) -> tuple[Any, ...]:
        """Answers that show whether a configuration can take this hole: the two bounds."""
        return (self.low, self.high)

    def contains(self, answer: object) -> bool:
        """Whether ``answer`` may be suggested."""
        if not isinstance(answer, int if self.whole else float) or isinstance(answer, bool):
            return False
        return bool(self.low <= answer <= self.high)

    def distribution(self) -> "BaseDistribution":
        """The same as an Optuna distribution."""
        from optuna.distributions import FloatDistribution, IntDistribution

        made = IntDistribution if self.whole else FloatDistribution
        return made(self.low, self.high, log=self.log)

    def suggest(self, trial: "BaseTrial", name: str) -> float:
        """Asks an Optuna trial."""
        asked = trial.suggest_int if self.whole else trial.suggest_float
        return asked(name, self.low, self.high, log=self.log)

    def value(self, answer: Any) -> float:
        """The plain number that an answer stands for."""
        # a sampler may answer with a number of numpy
        return int(answer) if self.whole else float(answer)

    def dump(self) -> dict[str, Any]:
        """The mapping that is read as this hole."""
        return {self.kind: [self.low, self.high]}


@final
@dataclass(frozen=True)
class Uniform(Range):
    """A number from ``low`` to ``high``, all equally likely."""

    kind: ClassVar[str] = "uniform"
    whole: ClassVar[bool] = False
    log: ClassVar[bool] = False
    low: float
    high: float


@final
@dataclass(frozen=True)
class LogUniform(Range):
    """A positive number from ``low`` to ``high`` whose logarithm is uniform."""

    kind: ClassVar[str] = "loguniform"
    whole: ClassVar[bool] = False
    log: ClassVar[bool] = True
    low: float
    high: float


@final
@dataclass(frozen=True)
class Int(Range):
    """A whole number from ``low`` to ``high``, both included, all equally likely."""

    kind: ClassVar[str] = "int"
    whole: ClassVar[bool] = True
    log: ClassVar[bool] = False
    low: int
    high: int


@final
@dataclass(frozen=True)
class LogInt(Range):
    """A positive whole number from ``low`` to ``high``, smaller ones likelier."""

    kind: ClassVar[str] = "logint"
    whole: ClassVar[bool] = True
    log: ClassVar[bool] = True
    low: int
    high: int


Hole = Choice | Uniform | LogUniform | Int | LogInt
Suggest = Callable[[str, Hole], Any]
"""Given a parameter's name and its hole, an answer that the hole contains."""


@dataclass(frozen=True)
class NamedHole:
    """One hole of a tree.

    Attributes:
        name: dotted path and name of the Optuna parameter.
        hole: the distribution.
        condition: the choices on which its existence depends, outermost first.
        place: keys and indices down to it.
    """

    name: str
    hole: Hole
    condition: Condition
    place: KeyPath


def holes(tree: Tree) -> Iterator[NamedHole]:
    """All holes in the order in which `fill` asks for them, an outer one before its inner ones."""
    yield from _holes(tree, "", (), ())


def fill(tree: Tree, suggest: Suggest) -> Any:
    """The configuration that answers make of a tree.

    Holes inside a branch are asked for only if that branch was chosen, and in the tree's order.

    Raises:
        ValueError: ``suggest`` gave what the hole does not contain.
    """
    return _fill(tree, suggest, "")


def fill_recorded(tree: Tree, params: Mapping[str, Any]) -> Any:
    """The configuration that recorded Optuna parameters make of a tree.

    Raises:
        LonghaulError: the parameters are not those of this tree.
    """
    used: set[str] = set()

    def suggest(name: str, hole: Hole) -> Any:
        if name not in params:
            raise LonghaulError(f"{name}: not among the recorded parameters; the space has changed")
        if not hole.contains(params[name]):
            found = f"recorded as {params[name]!r}, which {describe_hole(hole)} does not contain"
            raise LonghaulError(f"{name}: {found}; the space has changed")
        used.add(name)
        return params[name]

    filled = fill(tree, suggest)
    extra = sorted(set(params) - used)
    if extra:
        raise LonghaulError(
            f"{extra[0]}: recorded, but no hole of the space; the space has changed"
        )
    return filled


def suggest_from(trial: "BaseTrial") -> Suggest:
    """Lets an Optuna trial answer, define-by-run."""
    return lambda name, hole: hole.suggest(trial, name)


def is_hole(tree: Tree) -> bool:
    """Whether this node itself is a hole."""
    return isinstance(tree, Hole)


def dump_tree(tree: Tree) -> Any:
    """The plain mapping that `longhaul.spec.hole_reading.read_holes` reads as this tree."""
    if isinstance(tree, Hole):
        return tree.dump()
    if isinstance(tree, Mapping):
        return {key: dump_tree(value) for key, value in tree.items()}
    return tree


def describe_hole(hole: Hole) -> str:
    """One line for people: ``loguniform [0.001, 0.1]`` or ``choice [henaff, cayley]``."""
    if isinstance(hole, Choice):
        shown = [str(plain_text(answer)) for answer in hole.answers]
        if len(shown) > 12:
            shown = [*shown[:10], f"... {len(shown) - 10} more"]
        return f"{hole.kind} [{', '.join(shown)}]"
    return f"{hole.kind} [{plain_text(hole.low)}, {plain_text(hole.high)}]"


def plain_text(value: object) -> str:
    """A plain value as YAML would show it."""
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _join(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)


def _holes(tree: Tree, name: str, condition: Condition, place: KeyPath) -> Iterator[NamedHole]:
    if isinstance(tree, Hole):
        yield NamedHole(name, tree, condition, place)
    if isinstance(tree, Choice) and tree.labels is not None:
        for index, (label, option) in enumerate(zip(tree.labels, tree.options, strict=True)):
            inside = (*condition, (name, label))
            yield from _holes(option, _join(name, label), inside, (*place, "choice", index))
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _holes(value, _join(name, key), condition, (*place, key))


def _fill(tree: Tree, suggest: Suggest, name: str) -> Any:
    if isinstance(tree, Mapping):
        return {key: _fill(value, suggest, _join(name, key)) for key, value in tree.items()}
    if not isinstance(tree, Hole):
        return tree
    answer = suggest(name, tree)
    if not tree.contains(answer):
        raise ValueError(f"{name}: {answer!r} is not in {describe_hole(tree)}")
    return _fill(tree.value(answer), suggest, _join(name, answer))
