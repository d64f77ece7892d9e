"""All examinations, one after the other; none keeps the others from being done."""

from collections.abc import Iterator

from longhaul.doctor.finding import Check, Finding, problem


def examine(storage: str, tracking_uri: str, address: str | None) -> Iterator[Finding]:
    """Looks at everything that a search needs.

    Args:
        storage: of the searches.
        tracking_uri: of MLflow's server or database.
        address: of a Ray cluster; None leaves clusters out.
    """
    from longhaul.doctor.client import check_client
    from longhaul.doctor.cluster import check_cluster
    from longhaul.doctor.data import check_data
    from longhaul.doctor.machine import check_compiler, check_gpu
    from longhaul.doctor.storage import check_storage
    from longhaul.doctor.tracking import check_tracking

    checks: list[tuple[str, Check]] = [
        ("client", check_client),
        ("storage", lambda: check_storage(storage)),
        ("tracking", lambda: check_tracking(tracking_uri)),
        ("compiler", check_compiler),
        ("gpu", check_gpu),
        ("data", check_data),
    ]
    if address is not None:
        checks.append(("cluster", lambda: check_cluster(address, storage)))
    for part, check in checks:
        yield from _guarded(part, check)


def _guarded(part: str, check: Check) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:  # a check that breaks must not hide what the others find
        message = f"could not be examined: {type(error).__name__}: {error}"
        yield problem(part, message.splitlines()[0], "longhaul --debug doctor; please report it")
