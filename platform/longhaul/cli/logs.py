"""``longhaul logs``: what a search on a cluster says."""

import click

from longhaul.cli.options import cluster_option, name_argument


@click.command("logs")
@name_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the search ends.")
@cluster_option
def logs_command(name: str, follow: bool, cluster: str | None) -> None:
    """Show what the driver of search NAME says on a cluster.

    \b
    longhaul logs -f copying-quickstart --cluster http://HEAD:8265
    """
    from longhaul.cli.on_cluster import job_of, needed
    from longhaul.cluster.dashboard import Dashboard

    dashboard = Dashboard(needed(cluster))
    job = job_of(dashboard, name)
    if not follow:
        click.echo(dashboard.log(job.id), nl=False)
        return
    for lines in dashboard.follow(job.id):
        click.echo(lines, nl=False)
