"""``longhaul ui``: MLflow's user interface over the searches."""

import click

from longhaul.cli.options import storage_option, tracking_option

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 5000


@click.command("ui")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    metavar="N",
    help="Port on the loopback device.",
)
@click.option(
    "--host",
    default=DEFAULT_HOST,
    show_default=True,
    metavar="ADDR",
    help="Address of the loopback device; others are refused, for it asks nobody for a password.",
)
@storage_option
@tracking_option
def ui_command(port: int, host: str, storage: str, tracking_uri: str) -> None:
    """Show the searches in a browser: starts MLflow's server on this machine, until Ctrl-C.

    Only this machine can reach it. Where the tracking URI is a server already, its address is
    printed instead.

    \b
    longhaul ui
    longhaul ui --port 5001
    """
    from longhaul.tracking.server import show

    status = show(tracking_uri, port, say=click.echo, host=host)
    if status:
        raise click.exceptions.Exit(status)
