import sys
from types import ModuleType

import click
import pytest
from click.testing import CliRunner, Result

from longhaul import __version__
from longhaul.cli import main as module
from longhaul.cli.main import main
from longhaul.errors import LonghaulError, RequestError


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    """Runs `longhaul probe`, a command that raises what it is given."""
    raised: list[BaseException] = []

    @click.command()
    def probe() -> None:
        """A probe."""
        if raised:
            raise raised[0]
        click.echo("done")

    stand_in = ModuleType("probe_module")
    stand_in.probe_command = probe
    monkeypatch.setitem(sys.modules, "probe_module", stand_in)
    monkeypatch.setattr(
        module, "COMMANDS", {"probe": ("probe_module:probe_command", "A probe line.")}
    )

    def call(error: BaseException | None = None, *options: str, env=None) -> Result:
        raised[:] = [error] if error else []
        return CliRunner().invoke(
            main, [*options, "probe"], env={"LONGHAUL_DEBUG": "", **(env or {})}
        )

    return call


def test_a_command_is_found_by_its_import_string(run):
    result = run()
    assert (result.exit_code, result.stdout) == (0, "done\n")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (LonghaulError("the disk is full"), 1, "error: the disk is full\n"),
        (RequestError("no space 'copyin'"), 2, "error: no space 'copyin'\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_an_error_is_one_message_and_its_exit_status(run, error, status, message):
    result = run(error)
    assert (result.exit_code, result.stdout, result.stderr) == (status, "", message)


def test_an_unforeseen_error_is_a_message_too(run):
    result = run(ZeroDivisionError("division by zero"))
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ZeroDivisionError: division by zero\n")
    assert "--debug" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("options", "env"), [(["--debug"], {}), ([], {"LONGHAUL_DEBUG": "1"})])
def test_debug_shows_the_traceback_and_keeps_the_status(run, options, env):
    result = run(RequestError("wrong"), *options, env=env)
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.endswith("error: wrong\n")


def test_usage_errors_of_click_leave_with_2(run):
    result = run(click.UsageError("no such option"))
    assert result.exit_code == 2
    assert "no such option" in result.stderr


def test_an_unknown_command_is_answered_with_the_nearest(run):
    result = CliRunner().invoke(main, ["prob"])
    assert result.exit_code == 2
    assert "unknown command 'prob'; did you mean 'probe'?" in result.stderr


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_commands_without_importing_them(run, monkeypatch, flag):
    monkeypatch.setitem(module.COMMANDS, "absent", ("no_such_module:command", "Never imported."))
    result = CliRunner().invoke(main, [flag])
    assert result.exit_code == 0
    assert "A probe line." in result.stdout
    assert "Never imported." in result.stdout


def test_version():
    assert CliRunner().invoke(main, ["--version"]).stdout == f"longhaul {__version__}\n"
