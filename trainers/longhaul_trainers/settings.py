"""Settings: plain frozen data classes from which everything configurable is built.

A field is an ``int``, ``float``, ``bool``, ``str``, a ``Literal``, one of these ``| None``, a
number ``| Literal[...]`` for words that may stand instead of it, another `Settings`, or a
component: the settings of one entry of a catalogue, which in a mapping reads
``{name: modrelu, offset: 0.01}``, or just ``modrelu`` where all its defaults are wanted.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from types import NoneType, UnionType
from typing import (
    Any,
    ClassVar,
    Literal,
    Self,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from longhaul_trainers.catalogue import Catalogue
from longhaul_trainers.errors import SettingError, UnknownNameError, article


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of all settings. A component's class sets ``name`` to its name in the catalogue."""

    name: ClassVar[str] = ""

    def check(self) -> None:
        """Refuses values that no single field can refuse.

        Raises:
            SettingError: with the path of the field at fault, relative to these settings.
        """

    def with_changes(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class FieldRule:
    """What a value of one field must satisfy.

    Attributes:
        help: one line for people.
        ge, gt, le, lt: bounds, None where there is none.
        structural: changes shapes or code, so it must be equal for all trials of a pack.
        searchable: whether a search space may leave a hole here.
        catalogue: where the names of a component come from; None for a plain value.
    """

    help: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    structural: bool = False
    searchable: bool = True
    catalogue: Catalogue | None = None

    def expected(self) -> str:
        """The bounds in words, empty where there are none."""
        signs = {">=": self.ge, ">": self.gt, "<=": self.le, "<": self.lt}
        given = [(sign, bound) for sign, bound in signs.items() if bound is not None]
        return " and ".join(f"{sign} {bound:g}" for sign, bound in given)

    def admits(self, value: float) -> bool:
        """Whether a number lies within the bounds."""
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )


def setting(
    default: Any = MISSING,
    *,
    help: str,  # noqa: A002 - the word that every command line library uses
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    structural: bool = False,
    searchable: bool = True,
) -> Any:
    """A field of a `Settings` class; the arguments are those of `FieldRule`."""
    rule = FieldRule(help, ge, gt, le, lt, structural, searchable)
    return field(default=default, metadata={"rule": rule})


def component(
    catalogue: Catalogue,
    default: Any = MISSING,
    *,
    help: str,  # noqa: A002
) -> Any:
    """A field that holds the settings of one entry of ``catalogue`` (always structural)."""
    rule = FieldRule(help=help, structural=True, catalogue=catalogue)
    return field(default=default, metadata={"rule": rule})


@dataclass(frozen=True)
class FieldDescription:
    """One field of a settings class, resolved.

    Attributes:
        name: the key.
        type: the annotation, for example ``int`` or ``float | None``.
        rule: bounds, help, catalogue.
        default: the default, or `dataclasses.MISSING` where a value must be given.
    """

    name: str
    type: Any
    rule: FieldRule
    default: Any


def describe(settings_type: type[Settings]) -> dict[str, FieldDescription]:
    """The fields of a settings class by name, in the order of their declaration."""
    hints = get_type_hints(settings_type)
    described = {}
    for one in dataclasses.fields(settings_type):
        rule = one.metadata.get("rule") or FieldRule(help="")
        default = one.default
        if default is MISSING and one.default_factory is not MISSING:
            default = one.default_factory()
        described[one.name] = FieldDescription(one.name, hints[one.name], rule, default)
    return described


def parse(settings_type: type[S], value: object, path: str = "", *, check: bool = True) -> S:
    """Settings from a mapping as YAML or JSON give it.

    Args:
        settings_type: the class wanted.
        value: a mapping of its fields; missing ones take their defaults.
        path: dotted path of the mapping, for messages.
        check: whether `Settings.check` has its say, beside the rules of the single fields.

    Raises:
        SettingError: a missing or unknown key, a wrong type, a value out of its bounds.
    """
    if not isinstance(value, Mapping):
        raise SettingError(path, f"expected a mapping, found {value!r}")
    fields = describe(settings_type)
    for key in value:
        if key not in fields and key != "name":
            raise UnknownNameError(_join(path, key), "key", key, list(fields))
    values = {}
    for name, described in fields.items():
        if name in value:
            values[name] = _parse_field(described, value[name], _join(path, name))
        elif described.default is MISSING:
            raise SettingError(_join(path, name), f"missing; {described.rule.help}")
    settings = settings_type(**values)
    if not check:
        return settings
    try:
        settings.check()
    except SettingError as error:
        raise SettingError(_join(path, error.path), error.problem) from None
    return settings


def parse_component(
    catalogue: Catalogue, value: object, path: str = "", *, check: bool = True
) -> Settings:
    """The settings of one entry of a catalogue, from ``{name: ..., key: value}`` or the name.

    The arguments are those of `parse`.

    Raises:
        SettingError: as `parse`; UnknownNameError for a name that the catalogue does not list.
    """
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping):
        wanted = f"the name of {article(catalogue.noun)} or a mapping with one"
        raise SettingError(path, f"expected {wanted}")
    if "name" not in value:
        raise SettingError(_join(path, "name"), f"missing; known: {', '.join(catalogue.names())}")
    settings_type = catalogue.settings_type(value["name"], _join(path, "name"))
    values = {k: v for k, v in value.items() if k != "name"}
    return parse(settings_type, values, path, check=check)


def dump(settings: Settings) -> dict[str, Any]:
    """The mapping from which `parse` or `parse_component` makes equal settings again."""
    named = {"name": settings.name} if settings.name else {}
    values = {one.name: getattr(settings, one.name) for one in dataclasses.fields(settings)}
    return named | {k: dump(v) if isinstance(v, Settings) else v for k, v in values.items()}


def structure(settings: Settings) -> dict[str, Any]:
    """What must be equal for all trials of a pack: the structural fields only."""
    named: dict[str, Any] = {"name": settings.name} if settings.name else {}
    for name, described in describe(type(settings)).items():
        value = getattr(settings, name)
        if isinstance(value, Settings):
            named[name] = structure(value)
        elif described.rule.structural:
            named[name] = value
    return named


def plain_types(annotation: Any) -> list[Any]:
    """The types that a field may hold beside None: one, or a number's and the words instead."""
    if get_origin(annotation) not in (Union, UnionType):
        return [annotation]
    return [arm for arm in get_args(annotation) if arm is not NoneType]


def _join(path: str, key: object) -> str:
    return ".".join(part for part in (path, str(key)) if part)


def _parse_field(described: FieldDescription, value: object, path: str) -> object:
    optional = NoneType in get_args(described.type)
    if value is None and optional:
        return None
    if described.rule.catalogue is not None:
        return parse_component(described.rule.catalogue, value, path)
    arms = plain_types(described.type)
    if isinstance(arms[0], type) and issubclass(arms[0], Settings):
        return parse(arms[0], value, path)
    words = [word for arm in arms[1:] for word in get_args(arm)]
    if value in words:
        return value
    return _parse_plain(arms[0], described.rule, value, path, words)


def _parse_plain(
    wanted: Any, rule: FieldRule, value: object, path: str, words: Sequence[str] = ()
) -> object:
    if get_origin(wanted) is Literal:
        choices = list(get_args(wanted))
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            raise UnknownNameError(path, "value", value, [str(choice) for choice in choices])
        return value
    if wanted is float and type(value) is int:
        value = float(value)
    # bool is a subclass of int: `hidden_size: true` must not become 1.
    if type(value) is not wanted:
        found = f"{type(value).__name__} {value!r}"
        expected = " or ".join([_type_name(wanted), *words])
        raise SettingError(path, f"expected {expected}, found {found}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingError(path, f"expected a finite number, found {value}")
        if not rule.admits(value):
            raise SettingError(path, f"expected a number {rule.expected()}, found {value!r}")
    return value


def _type_name(wanted: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return words.get(wanted, str(wanted))
