"""The command ``longhaul``: finds the subcommand, and turns errors into exit statuses."""

import errno
from importlib import import_module
from typing import Any, NoReturn

import click

from longhaul import __version__
from longhaul.errors import LonghaulError

# Name to (import string, the line of `longhaul --help`). The modules are imported when called, so
# that neither help nor a spelling mistake waits for torch, ray or mlflow.
COMMANDS: dict[str, tuple[str, str]] = {
    "search": ("longhaul.cli.search:search_command", "Run a search."),
    "submit": ("longhaul.cli.submit:submit_command", "Have a Ray cluster run a search."),
    "resume": ("longhaul.cli.resume:resume_command", "Go on with a search, or extend it."),
    "set": ("longhaul.cli.set:set_command", "Change the limits of a search while it runs."),
    "list": ("longhaul.cli.list:list_command", "List the searches in a storage."),
    "status": ("longhaul.cli.status:status_command", "Show where a search stands."),
    "logs": ("longhaul.cli.logs:logs_command", "Show what a search on a cluster says."),
    "stop": ("longhaul.cli.stop:stop_command", "End a search in order; `resume` goes on."),
    "best": ("longhaul.cli.best:best_command", "Show the best trial and how to train it again."),
    "show": ("longhaul.cli.show:show_command", "Show a search's trials, or everything about one."),
    "export": ("longhaul.cli.export:export_command", "Write trials and curves as Parquet."),
    "report": ("longhaul.cli.report:report_command", "Write a search's report, one HTML file."),
    "reproduce": (
        "longhaul.cli.reproduce:reproduce_command",
        "Train a recorded trial again and compare every value.",
    ),
    "compare": ("longhaul.cli.compare:compare_command", "Compare the searches of a suite."),
    "replay": (
        "longhaul.cli.replay:replay_command",
        "Check every recorded suggestion and decision again.",
    ),
    "ui": ("longhaul.cli.ui:ui_command", "Show the searches in a browser, with MLflow."),
    "sync": ("longhaul.cli.sync:sync_command", "Deliver to MLflow what it lacks."),
    "check": ("longhaul.cli.check:check", "Check a space and show what a search amounts to."),
    "spaces": ("longhaul.cli.spaces:spaces", "List the search spaces that come with Longhaul."),
    "cells": ("longhaul.cli.cells:cells", "List the cells, or show one."),
    "tasks": ("longhaul.cli.tasks:tasks", "List the tasks, or show one."),
    "data": ("longhaul.cli.data:data", "List the data sets that tasks read, or convert one."),
    "clean": ("longhaul.cli.clean:clean_command", "Remove what searches can do without."),
    "doctor": ("longhaul.cli.doctor:doctor_command", "Try everything that a search needs."),
}

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as shells have it."""


class LazyGroup(click.Group):
    """A group whose commands are import strings.

    Exit status: 0 done, 1 the work failed, 2 the request was wrong, 130 interrupted.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order of `COMMANDS`, which follows a search's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command called ``cmd_name``, imported now; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}:{attribute} is not a click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown name is answered with the nearest one."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from longhaul_trainers.errors import nearest

            ctx.fail(f"unknown command {name!r}; {nearest(name, list(COMMANDS))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from `COMMANDS` alone: nothing is imported for it."""
        if COMMANDS:
            with formatter.section("Commands"):
                formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the subcommand; an error becomes one message on standard error."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            _leave(ctx, "interrupted", INTERRUPTED)
        except LonghaulError as error:
            _leave(ctx, f"error: {error}", error.exit_status)
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader went away (`| head`): click leaves quietly
            from longhaul_trainers.errors import DataError

            if isinstance(error, DataError):
                _leave(ctx, f"error: {error}", 2)
            hint = "" if ctx.params.get("debug") else "\nlonghaul --debug ... shows where."
            _leave(ctx, f"error: {type(error).__name__}: {error}{hint}", 1)


def _leave(ctx: click.Context, message: str, status: int) -> NoReturn:
    if ctx.params.get("debug"):
        import traceback

        click.echo(traceback.format_exc(), err=True)
    click.echo(message, err=True)
    ctx.exit(status)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="longhaul", message="%(prog)s %(version)s")
@click.option(
    "--debug", is_flag=True, envvar="LONGHAUL_DEBUG", show_envvar=True, help="Show tracebacks."
)
def main(debug: bool) -> None:
    """Search the hyperparameters of recurrent cells that must remember for a long time.

    \b
    longhaul search copying-quickstart
    longhaul list
    longhaul best copying-quickstart
    """
