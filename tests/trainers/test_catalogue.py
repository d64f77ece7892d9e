import subprocess
import sys

import pytest

from longhaul_trainers.catalogue import CELLS, NONLINEARITIES, OPTIMIZERS, TASKS, Catalogue
from longhaul_trainers.errors import BrokenPackageError, SettingError, UnknownNameError
from longhaul_trainers.settings import Settings

GROUP = "longhaul.test_catalogue"


@pytest.mark.parametrize("catalogue", [CELLS, TASKS, NONLINEARITIES, OPTIMIZERS])
def test_every_name_leads_to_a_class_of_that_name(catalogue):
    assert catalogue.names() == sorted(catalogue.names())
    for name in catalogue.names():
        settings_type = catalogue.settings_type(name)
        assert issubclass(settings_type, Settings)
        assert settings_type.name == name
        assert catalogue.get(name).settings_type is settings_type


def test_unknown_name_says_which_is_near_and_where():
    with pytest.raises(UnknownNameError) as caught:
        CELLS.get("exprn", "cell.name")
    message = str(caught.value)
    assert message.startswith("cell.name: unknown cell 'exprn'; did you mean 'exprnn'? Known: ")
    assert caught.value.path == "cell.name"
    assert caught.value.known == CELLS.names()
    assert isinstance(caught.value, LookupError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", [None, 3, ["exprnn"], True])
def test_a_name_that_is_no_text(name):
    with pytest.raises(UnknownNameError, match="unknown cell"):
        CELLS.get(name)


def test_listing_names_imports_nothing():
    program = (
        "import sys; from longhaul_trainers.catalogue import CELLS, TASKS\n"
        "assert CELLS.names() and TASKS.names()\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """Installs a distribution with these entry points; returns the catalogue that reads them."""

    def install(entry_points, module="", ours=None):
        folder = tmp_path / "mycells-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: mycells\nVersion: 1.0\n")
        lines = [f"{name} = {target}" for name, target in entry_points.items()]
        (folder / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
        (tmp_path / "mycells_of_a_test.py").write_text(module)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "mycells_of_a_test", raising=False)
        return Catalogue("cell", ours or {}, group=GROUP)

    return install


MODULE = """
from longhaul_trainers.cells.rnn import RNNSettings


class Mine:
    settings_type = RNNSettings
"""


def test_a_package_adds_a_name(plug_in):
    catalogue = plug_in({"mine": "mycells_of_a_test:Mine"}, MODULE, {"zeta": "nowhere:Zeta"})
    assert catalogue.names() == ["zeta", "mine"]
    assert catalogue.get("mine").__module__ == "mycells_of_a_test"
    assert catalogue.settings_type("mine").__name__ == "RNNSettings"
    with pytest.raises(UnknownNameError, match="did you mean 'mine'"):
        catalogue.get("mime")


def test_a_package_cannot_replace_a_name_of_ours(plug_in):
    ours = {"rnn": "longhaul_trainers.cells.rnn:RNN"}
    catalogue = plug_in({"rnn": "mycells_of_a_test:Mine"}, MODULE, ours)
    assert catalogue.names() == ["rnn"]
    assert catalogue.get("rnn").__module__ == "longhaul_trainers.cells.rnn"


def test_a_broken_package_does_not_stop_the_listing(plug_in):
    catalogue = plug_in({"broken": "mycells_of_a_test:Missing"}, MODULE)
    assert catalogue.names() == ["broken"]
    with pytest.raises(BrokenPackageError) as caught:
        catalogue.get("broken", "cell.name")
    message = str(caught.value)
    assert message.startswith("cell.name: cell 'broken' of the package mycells 1.0 cannot be")
    assert "AttributeError" in message
    assert "Missing" in message
    assert isinstance(caught.value, SettingError)


def test_a_name_says_which_package_it_is_from(plug_in):
    catalogue = plug_in({"mine": "mycells_of_a_test:Mine"}, MODULE, {"zeta": "nowhere:Zeta"})
    assert catalogue.package("mine") == "mycells 1.0"
    assert catalogue.package("zeta") == ""


def test_without_a_group_nothing_is_contributed(plug_in):
    plug_in({"mine": "mycells_of_a_test:Mine"}, MODULE)
    assert Catalogue("nonlinearity", {}).names() == []
