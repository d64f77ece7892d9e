import dataclasses
import math
from dataclasses import MISSING, dataclass
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longhaul_trainers.catalogue import NONLINEARITIES
from longhaul_trainers.errors import SettingError, UnknownNameError
from longhaul_trainers.nonlinearities import LeakyReLUSettings, ModReLUSettings, TanhSettings
from longhaul_trainers.settings import (
    Settings,
    component,
    describe,
    dump,
    parse,
    parse_component,
    setting,
    structure,
)


@dataclass(frozen=True, kw_only=True)
class Inner(Settings):
    depth: int = setting(1, ge=1, le=9, structural=True, help="how deep")
    rate: float = setting(0.5, gt=0, lt=1, help="how fast")


@dataclass(frozen=True, kw_only=True)
class Outer(Settings):
    name: ClassVar[str] = "outer"
    size: int = setting(help="how large", ge=1, structural=True)
    scale: float = setting(1.0, help="how strong")
    limit: float | None = setting(None, gt=0, help="null: none")
    kind: Literal["a", "b", 3] = setting("a", structural=True, help="which")
    word: str = setting("x", help="any")
    on: bool = setting(False, structural=True, help="whether")
    inner: Inner = setting(Inner(), help="within")
    phi: Settings = component(NONLINEARITIES, TanhSettings(), help="phi")

    def check(self):
        if self.scale > self.size:
            raise SettingError("scale", f"expected at most size, found {self.scale}")


def test_defaults_and_conversions():
    parsed = parse(Outer, {"size": 3})
    assert parsed == Outer(size=3)
    parsed = parse(Outer, {"size": 3, "scale": 2, "limit": 1, "inner": {"depth": 4}})
    assert (parsed.scale, parsed.limit, parsed.inner) == (2.0, 1.0, Inner(depth=4))
    assert type(parsed.scale) is float
    assert parse(Outer, {"size": 3, "name": "outer"}) == Outer(size=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        parsed.size = 4
    assert parsed.with_changes(size=8).size == 8


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"size": True}, "o.size", "expected a whole number, found bool True"),
        ({"size": 3.0}, "o.size", "expected a whole number, found float 3.0"),
        ({"size": "3"}, "o.size", "expected a whole number, found str '3'"),
        ({"size": None}, "o.size", "expected a whole number, found NoneType None"),
        ({"size": 0}, "o.size", "expected a number >= 1, found 0"),
        ({"scale": math.nan}, "o.scale", "expected a finite number, found nan"),
        ({"scale": math.inf}, "o.scale", "expected a finite number, found inf"),
        ({"scale": True}, "o.scale", "expected a number, found bool True"),
        ({"limit": 0}, "o.limit", "expected a number > 0, found 0.0"),
        ({"kind": "c"}, "o.kind", "unknown value 'c'; Known: a, b, 3"),
        ({"kind": 3.0}, "o.kind", "unknown value 3.0; Known: a, b, 3"),
        ({"word": 1}, "o.word", "expected a text, found int 1"),
        ({"on": 1}, "o.on", "expected true or false, found int 1"),
        ({"on": "yes"}, "o.on", "expected true or false, found str 'yes'"),
        ({"inner": 3}, "o.inner", "expected a mapping, found 3"),
        ({"inner": {"depth": 10}}, "o.inner.depth", "expected a number >= 1 and <= 9, found 10"),
        ({"inner": {"rate": 1}}, "o.inner.rate", "expected a number > 0 and < 1, found 1.0"),
        ({"inner": {"dept": 1}}, "o.inner.dept", "unknown key 'dept'; did you mean 'depth'?"),
        ({"siz": 3}, "o.siz", "unknown key 'siz'; did you mean 'size'? Known: size, scale,"),
        ({"scale": 5}, "o.scale", "expected at most size, found 5.0"),
        ({"phi": "tan"}, "o.phi.name", "unknown nonlinearity 'tan'; did you mean 'tanh'?"),
        ({"phi": 3}, "o.phi", "expected the name of a nonlinearity or a mapping with one"),
        ({"phi": {"slope": 1}}, "o.phi.name", "missing; known: complex_modrelu, identity,"),
        ({"phi": {"name": "leaky_relu", "slope": 2}}, "o.phi.slope", "expected a number >= 0 and"),
        ({"phi": {"name": "tanh", "slope": 0.1}}, "o.phi.slope", "unknown key 'slope'; Known: non"),
    ],
)
def test_what_is_wrong_and_where(changes, path, message):
    with pytest.raises(SettingError) as caught:
        parse(Outer, {"size": 3} | changes, "o")
    assert caught.value.path == path
    assert caught.value.problem.startswith(message)
    assert str(caught.value) == f"{path}: {caught.value.problem}"


def test_missing_key_and_no_mapping():
    with pytest.raises(SettingError, match=r"^size: missing; how large$"):
        parse(Outer, {})
    with pytest.raises(SettingError, match=r"^expected a mapping, found None$"):
        parse(Outer, None)
    with pytest.raises(UnknownNameError, match="unknown key 7"):
        parse(Outer, {"size": 1, 7: 8})


def test_components_by_name_or_mapping():
    assert parse_component(NONLINEARITIES, "tanh") == TanhSettings()
    given_offset = {"name": "modrelu", "offset": 0.1}
    assert parse_component(NONLINEARITIES, given_offset) == ModReLUSettings(offset=0.1)
    parsed = parse(Outer, {"size": 1, "phi": {"name": "leaky_relu", "slope": 0.2}})
    assert parsed.phi == LeakyReLUSettings(slope=0.2)


def test_dump_has_names_of_components_only():
    assert dump(Outer(size=2)) == {
        "name": "outer",
        "size": 2,
        "scale": 1.0,
        "limit": None,
        "kind": "a",
        "word": "x",
        "on": False,
        "inner": {"depth": 1, "rate": 0.5},
        "phi": {"name": "tanh"},
    }


def test_structure_is_what_a_pack_must_share():
    assert structure(Outer(size=2)) == {
        "name": "outer",
        "size": 2,
        "kind": "a",
        "on": False,
        "inner": {"depth": 1},
        "phi": {"name": "tanh"},
    }
    first = Outer(size=2, phi=LeakyReLUSettings(slope=0.1), scale=0.5)
    second = Outer(size=2, phi=LeakyReLUSettings(slope=0.2), scale=0.7)
    assert structure(first) == structure(second)
    assert structure(first) != structure(Outer(size=2))


def test_describe():
    fields = describe(Outer)
    assert list(fields) == ["size", "scale", "limit", "kind", "word", "on", "inner", "phi"]
    assert fields["size"].default is MISSING
    assert fields["size"].rule.structural
    assert fields["size"].rule.expected() == ">= 1"
    assert fields["scale"].rule.expected() == ""
    assert fields["limit"].default is None
    assert fields["phi"].rule.catalogue is NONLINEARITIES
    assert fields["phi"].rule.structural


valid = st.builds(
    Outer,
    size=st.integers(10, 10**9),
    scale=st.floats(-10, 10),
    limit=st.none() | st.floats(1e-9, 1e9),
    kind=st.sampled_from(["a", "b", 3]),
    word=st.text(),
    on=st.booleans(),
    inner=st.builds(Inner, depth=st.integers(1, 9), rate=st.floats(0.001, 0.999)),
    phi=st.one_of(
        st.just(TanhSettings()),
        st.builds(LeakyReLUSettings, slope=st.floats(0, 0.99)),
        st.builds(ModReLUSettings, offset=st.floats(0, 1), bias_init=st.just("zero")),
    ),
)


@given(valid)
def test_parse_undoes_dump(settings):
    assert parse(Outer, dump(settings)) == settings
