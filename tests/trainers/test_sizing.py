"""The hidden size from a number of parameters, held against trying every size."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from longhaul_trainers.catalogue import CELLS, TASKS
from longhaul_trainers.cells.base import CellSettings
from longhaul_trainers.cells.lstm import LSTMSettings
from longhaul_trainers.errors import SettingError
from longhaul_trainers.settings import parse, parse_component, setting
from longhaul_trainers.tasks.copying import CopyingSettings
from longhaul_trainers.training import sizing
from longhaul_trainers.training.model import SequenceModel
from longhaul_trainers.training.settings import TrainingSettings, TrialConfig
from longhaul_trainers.training.sizing import parse_cell

COPYING = TASKS.get("copying")(parse_component(TASKS, "copying"))
ADDING = TASKS.get("adding")(parse_component(TASKS, "adding"))

every_cell = pytest.mark.parametrize("name", CELLS.names())


@dataclass(frozen=True, kw_only=True)
class PickySettings(CellSettings):
    """Settings of `Picky`."""

    name: ClassVar[str] = "picky"
    sizes: str = setting("all", help="which sizes are accepted")
    blocks: int = setting(1, ge=1, help="a floor of the hidden size")

    def check(self) -> None:
        n = self.hidden_size
        accepted = {
            "all": True,
            "even": n % 2 == 0,
            "powers": n & (n - 1) == 0,
            "sevens": n % 7 == 3,
            "few": n in (5, 6, 40),
            "none": False,
        }
        if not accepted[self.sizes] or n < self.blocks:
            raise SettingError("blocks", f"found {self.blocks} of {self.sizes}")


class Picky:
    """As a cell as far as counting goes: n^2 parameters."""

    settings_type = PickySettings

    @classmethod
    def output_size_for(cls, settings):
        return 2 * settings.hidden_size

    @classmethod
    def parameter_count(cls, input_size, settings):
        settings.check()  # a formula may rely on an accepted size
        return settings.hidden_size**2


@pytest.fixture
def picky(monkeypatch):
    get = CELLS.get
    monkeypatch.setattr(
        CELLS, "get", lambda name, path="": Picky if name == "picky" else get(name, path)
    )

    def sized(**values):
        return parse_cell({"name": "picky"} | values, ADDING)

    return sized


def parsed(name, task=COPYING, **values):
    return parse_cell({"name": name} | values, task)


@every_cell
@pytest.mark.parametrize("task", [COPYING, ADDING], ids=["copying", "adding"])
def test_no_other_size_comes_nearer(name, task):
    def counted(size):
        try:
            return SequenceModel.parameter_count(task, parsed(name, hidden_size=size))
        except SettingError:
            return None

    counts = {size: n for size in range(1, 101) if (n := counted(size)) is not None}
    least, largest = min(counts.values()), max(counts.values())
    for wanted in {*range(least, largest, largest // 19), *list(counts.values())[::9]}:
        cell = parsed(name, task, parameters=wanted)
        best = min(abs(n - wanted) for n in counts.values())
        expected = min(size for size, n in counts.items() if abs(n - wanted) == best)
        assert cell == parsed(name, hidden_size=expected)
        assert cell.parameters is None


@every_cell
def test_the_model_that_is_built_has_so_many(name):
    cell = parsed(name, parameters=3000)
    model = SequenceModel(COPYING, [cell], [torch.Generator().manual_seed(0)])
    actual = sum(one.numel() for one in model.parameters() if one.requires_grad)
    assert actual == SequenceModel.parameter_count(COPYING, cell)


def test_published_sizes_come_back():
    # Helfrich, Willmott, Ye 2018: 190 units for copying, 170 for adding
    for task, size in ((ADDING, 170), (COPYING, 190)):
        published = parsed("scornn", hidden_size=size)
        count = SequenceModel.parameter_count(task, published)
        assert parsed("scornn", task, parameters=count) == published


@pytest.mark.parametrize("sizes", ["all", "even", "powers", "sevens", "few"])
def test_sizes_that_the_cell_refuses_are_skipped(picky, sizes):
    def accepts(size):
        try:
            PickySettings(hidden_size=size, sizes=sizes).check()
        except SettingError:
            return False
        return True

    counts = {n: n * n + (2 * n + 1) for n in range(1, 200) if accepts(n)}  # one output
    for wanted in range(min(counts.values()), 3000, 37):
        nearest = min(abs(n - wanted) for n in counts.values())
        expected = min(size for size, n in counts.items() if abs(n - wanted) == nearest)
        assert picky(sizes=sizes, parameters=wanted).hidden_size == expected


def test_of_two_equally_near_ones_the_smaller(picky):
    # n^2 + 2n + 1 is 9 for 2, 25 for 4
    assert picky(sizes="even", parameters=17).hidden_size == 2
    assert picky(sizes="even", parameters=18).hidden_size == 4


def test_what_another_setting_demands_of_the_size_is_kept(picky):
    assert picky(blocks=300, parameters=90_601).hidden_size == 300  # above the default of 128
    with pytest.raises(SettingError, match=r"cell\.parameters: found 90600, .* 300\) has 90601"):
        picky(blocks=300, parameters=90_600)


def test_a_request_costs_no_more_than_a_few_sizes(picky, monkeypatch):
    seen = []
    check = PickySettings.check
    monkeypatch.setattr(PickySettings, "check", lambda self: (seen.append(1), check(self))[1])
    picky(parameters=10**9)
    assert len(seen) < 200


def test_a_setting_at_fault_is_named_whatever_the_size(picky):
    with pytest.raises(SettingError, match=r"^cell\.blocks: found 1 of none"):
        picky(sizes="none", parameters=1000)
    with pytest.raises(SettingError, match=r"^cell\.chrono_max: missing"):
        parsed("lstm", parameters=1000, forget_init="chrono")
    with pytest.raises(SettingError, match=r"^cell\.parameters: .* >= 1, found 0"):
        parsed("lstm", parameters=0)
    with pytest.raises(SettingError, match=r"^cell\.parameters: expected a whole number"):
        parsed("lstm", parameters=1e4)


def test_fewer_than_the_smallest_model_are_refused_with_its_count():
    # 4 (1 * 10 + 1 * 1 + 1) + 9 + 9
    with pytest.raises(SettingError, match=r"^cell\.parameters: found 65, .* has 66; expected"):
        parsed("lstm", parameters=65)
    assert parsed("lstm", parameters=66).hidden_size == 1


def test_both_sizes_at_once_are_refused():
    with pytest.raises(SettingError, match=r"^cell\.parameters: .*hidden_size 3; .* remove"):
        parsed("lstm", parameters=1000, hidden_size=3)
    assert parsed("lstm", parameters=None, hidden_size=3) == LSTMSettings(hidden_size=3)


def test_a_configuration_knows_the_size_alone():
    config = TrialConfig.parse({"task": "copying", "cell": {"name": "gru", "parameters": 5000}})
    dumped = config.dump()
    assert dumped["cell"]["parameters"] is None
    assert TrialConfig.parse(dumped) == config
    assert config.structure()["cell"]["hidden_size"] == config.cell.hidden_size
    same = {"name": "gru", "parameters": 5001}
    assert TrialConfig.parse({"task": "copying", "cell": same}).structure() == config.structure()


def test_a_configuration_holds_no_request():
    with pytest.raises(ValueError, match="parse makes a hidden size"):
        TrialConfig(CopyingSettings(), LSTMSettings(parameters=5000), TrainingSettings(), 0)


def test_the_last_check_can_be_left_out():
    with pytest.raises(SettingError, match="chrono_max"):
        parse(LSTMSettings, {"forget_init": "chrono"})
    assert parse(LSTMSettings, {"forget_init": "chrono"}, check=False).chrono_max is None
    with pytest.raises(SettingError, match="unknown"):
        parse(LSTMSettings, {"forget": 1}, check=False)


def test_a_rule_of_the_field_counts_too(monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class Wide(LSTMSettings):
        hidden_size: int = setting(50, ge=20, le=60, help="H")

    sizes = sizing._Sizes(Wide(), COPYING)
    assert sizes.first(1, 4096) == 20
    assert sizing._nearest(sizes, 10**7, 20) == 60
