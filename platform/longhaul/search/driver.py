"""Starting, resuming and extending a search: one code path."""

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, Protocol

from longhaul.cluster.nodes import check_nodes
from longhaul.cluster.token import Token, find_token, refuse_exposed, unreachable
from longhaul.environment import capture
from longhaul.errors import LonghaulError, RequestError
from longhaul.ledger import Ledger, SearchRecord
from longhaul.redaction import redact
from longhaul.search.fleet import Fleet, local_resources, plan
from longhaul.search.forecast import local_forecast
from longhaul.search.metrics import Watch
from longhaul.search.ray_access import asked_at, private_ray
from longhaul.search.run import INTERRUPTED, SearchRun
from longhaul.search.scratch import scratch_prefix
from longhaul.search.seats import Seats
from longhaul.search.standstill import Silence, Standstill
from longhaul.spec.search_settings import CHANGEABLE
from longhaul.spec.search_spec import SearchSpec
from longhaul.tracking import Lag, TrackingProcess

DRAIN_S = 60.0
"""How long a search that has ended waits for MLflow to take the rest."""


@dataclass(frozen=True)
class Place:
    """Where a search lives and computes.

    Attributes:
        storage: URI of the ledgers.
        tracking_uri: of the MLflow server or database.
        address: a Ray cluster, or None to start Ray in this process.
    """

    storage: str
    tracking_uri: str
    address: str | None = None


class View(Protocol):
    """Shows a search while it runs."""

    def message(self, text: str) -> None:
        """What is going on."""

    def note(self, text: str) -> None:
        """What the user may want to read again."""

    def warn(self, text: str) -> None:
        """What the user should see and keep."""

    def show(self, record: SearchRecord, trials: int) -> None:
        """Called a few times a second."""


def run_search(
    ledger: Ledger,
    place: Place,
    view: View,
    overrides: dict[str, Any],
    wanted: SearchSpec | None = None,
) -> SearchRun:
    """Runs a search until it is complete, cannot go on, or is interrupted.

    Args:
        ledger: of a search that is new, unfinished or to be extended.
        place: where to compute and track.
        view: shows progress.
        overrides: settings of the search that are asked for now, whatever held before.
        wanted: a specification with the same hash as the ledger's, from which everything else that
            may change is taken: resources, retries, and limits that differ from the ledger's.

    Returns:
        The run; its ``stop_reason`` is None when all trials are through, ``interrupted``, or says
        why the search could not go on.

    Raises:
        RequestError: the resources do not exist, or another process owns the search.
        LonghaulError: the search broke off.
    """
    recorded = SearchSpec.from_text(
        ledger.spec_text(), f"{ledger.name}/spec.yaml", name=ledger.name
    )
    spec = wanted or recorded
    changes = changed_limits(recorded, spec) | overrides
    with ledger.acquire() as writer:
        run = SearchRun(spec, ledger, writer, changes)
        if run.remaining == 0:
            return run
        for line in local_forecast(
            spec, place.storage, place.address, run.limits.search, run.record.steps_trained
        ).lines():
            view.note(line)
        run.opened()
        tracking = TrackingProcess(place.storage, ledger.name, place.tracking_uri)
        tracking.start()

        try:
            run.settle()
            with _interrupts(run, view) as take_signals:
                if run.remaining:
                    view.message("starting Ray ...")
                    with connected_to_ray(place.address):
                        take_signals()  # Ray has taken them for itself
                        if place.address is not None:
                            view.message(check_nodes(spec))
                        _train(run, writer.fence, view, tracking)
            run.close()
        finally:
            view.message("writing the rest to MLflow ...")
            lag = tracking.drain(timeout_s=DRAIN_S)
            if not lag.delivered:
                view.warn(_behind(lag, ledger.name))
        return run


def _train(run: SearchRun, fence: int, view: View, tracking: TrackingProcess) -> None:
    """Hands out trials until there are no more; Ray is running."""
    spec, limits = run.spec, run.limits
    fleet = plan(spec, limits.search.parallel, run.remaining, _threads(spec), _device(spec))
    limits.room, limits.room_is_all = fleet.room, fleet.hosts > 0
    watch, standstill = Watch(run), Standstill()
    silence = Silence(run.record.name, _control_store())

    def tick() -> None:
        view.show(run.record, run.trials)
        tracking.keep_alive()
        watch.look()
        for told in filter(None, (standstill.told(), silence.told())):
            view.warn(told)

    if run.stop_reason is None:
        _tune(partial(_tuner, spec, run, fence, fleet, standstill), tick)


def changed_limits(recorded: SearchSpec, wanted: SearchSpec) -> dict[str, Any]:
    """The limits that somebody has changed in the file since the search began."""
    pairs = {
        name: (getattr(recorded.search, name), getattr(wanted.search, name)) for name in CHANGEABLE
    }
    return {name: new for name, (old, new) in pairs.items() if new != old}


def _behind(lag: Lag, name: str) -> str:
    trials = sorted(lag.undeliverable)
    refused = f", which refused trials {trials}" if trials else ""
    reason = f" ({lag.error})" if lag.error else ""
    return (
        f"MLflow does not have everything yet{refused}{reason}; the ledger has. "
        f"Deliver the rest with: longhaul sync {name}"
    )


def search_environment(spec: SearchSpec) -> dict[str, Any]:
    """The environment of the driver as the ledger keeps it."""
    return capture(_device(spec), _threads(spec))


def _device(spec: SearchSpec) -> str:
    return "cuda" if spec.resources.gpus > 0 else "cpu"


def _threads(spec: SearchSpec) -> int:
    return max(1, int(spec.resources.cpus))


@contextmanager
def connected_to_ray(address: str | None) -> Iterator[None]:
    """Ray, as a search uses it: a cluster, or one of this process alone.

    Raises:
        LonghaulError: it did not start, or refused.
    """
    # No usage reports to anyone; Tune's own loggers would write each result three more times, its
    # own output would fight with ours.
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_RESULT_BUFFER_LENGTH": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    }
    options: dict[str, Any] = {"address": address}
    token = None if address is None else _show_token()
    with ExitStack() as stack:
        if address is None:
            # "local" never attaches to a cluster that another user of this machine has started.
            cpus = int(local_resources()["CPU"])
            options = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
            stack.enter_context(private_ray())
        else:
            stack.enter_context(asked_at(address))
        # imported here: 3 s, and it reads where to listen
        import ray

        stack.callback(ray.shutdown)
        options |= {"logging_level": "ERROR", "log_to_driver": False}
        _connect(options, token, tries=1 if address else 2)
        # What concerns the user is said by the view and the outcome, once. `ray.init` sets this.
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        yield


def _control_store() -> str:
    # imported here: Ray is running by now
    import ray

    return str(ray.get_runtime_context().gcs_address)


def _show_token() -> Token | None:
    """Has Ray show this user's token to a cluster, which it does unasked for none that is named."""
    token = find_token()
    if token is not None:
        refuse_exposed(token)
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    # Of a token that is refused it would tell, line by line, for twenty seconds.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
    return token


def _connect(options: dict[str, Any], token: Token | None, tries: int) -> None:
    # imported here: Ray is being imported by the caller
    import ray

    try:
        ray.init(**options)
    except Exception as error:  # Ray raises all kinds, plain `Exception` where it took over 30 s
        ray.shutdown()
        if tries > 1:
            return _connect(options, token, tries - 1)
        if options["address"] != "local":
            raise RequestError(unreachable(options["address"], token, error)) from error
        raise LonghaulError(f"Ray did not start: {redact(str(error))}") from error


@contextmanager
def _interrupts(run: SearchRun, view: View) -> Iterator[Callable[[], None]]:
    """The first Ctrl-C or SIGTERM ends the search in order, the second at once.

    Yields a function that takes the signals again, from whoever has taken them since.
    """

    def interrupted(_signal: int, _frame: FrameType | None) -> None:
        if run.stop_reason is not None:
            # Everything reported is in the ledger: there is nothing left to lose.
            view.message(f"left at once; go on with: longhaul resume {run.record.name}")
            os._exit(130)
        run.stop(INTERRUPTED)
        view.message("interrupted: ending the running trials; press Ctrl-C again to leave at once")

    def take() -> None:
        for one in before:
            signal.signal(one, interrupted)

    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    take()
    try:
        yield take
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _tune(tuner: Callable[[str], Any], tick: Callable[[], None]) -> None:
    """Runs Tune beside this thread, which shows progress and takes signals.

    Tune takes over the signals of the main thread and, interrupted, calls the search finished.
    """
    errors: list[BaseException] = []

    def fit() -> None:
        try:
            with tempfile.TemporaryDirectory(prefix=scratch_prefix()) as scratch:
                tuner(scratch).fit()
        except BaseException as error:  # raised again by the main thread
            errors.append(error)

    thread = threading.Thread(target=fit, name="tune", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.25)
        tick()
    if not errors:
        return
    # Tune makes one text of what its callbacks raise, with the traceback in it.
    cause: BaseException | None = errors[0]
    while cause is not None:
        if isinstance(cause, LonghaulError):
            raise cause
        cause = cause.__cause__ or cause.__context__
    raise LonghaulError(
        f"the search broke off: {type(errors[0]).__name__}: {errors[0]}; all that was reported is "
        "in the ledger, `longhaul resume` goes on from there"
    ) from errors[0]


def _take_turns(run: SearchRun, parallel: int) -> Any:
    """Starts the actor at which reports wait, and has the run let them through in order."""
    # imported here: Ray is running by now
    import ray

    from longhaul.search.order import NumberOrder
    from longhaul.search.turnstile import Turnstile

    options = {"num_cpus": 0, "max_concurrency": 2 * parallel + 10}
    turnstile: Any = ray.remote(Turnstile).options(**options).remote()
    spec = run.spec
    run.take_turns(
        NumberOrder(
            spec.search.parallel or 1, spec.rungs(), run.ledger.events(), turnstile.let.remote
        )
    )
    return turnstile


def _tuner(
    spec: SearchSpec, run: SearchRun, fence: int, fleet: Fleet, standstill: Standstill, scratch: str
) -> Any:
    # imported here: 3 s
    from ray import tune

    from longhaul.search.lean_tune import trim_tune
    from longhaul.search.lost_actors import survive_losses
    from longhaul.search.scheduler import build_scheduler
    from longhaul.search.searcher import LedgerSearcher, StartedTrials, StopRequested
    from longhaul.search.trainable import Assignment, CellTrial

    survive_losses()
    trim_tune()
    assignment = Assignment(
        ledger=run.ledger,
        fence=fence,
        rungs=tuple(spec.rungs()),
        checkpoint_every_s=spec.search.checkpoint_every_s,
        threads=_threads(spec),
        device=_device(spec),
        objective=spec.search.objective,
        hosts=fleet.start(spec.search.report_deadline_s),
        turnstile=_take_turns(run, fleet.parallel) if spec.search.order == "number" else None,
        report_deadline_s=spec.search.report_deadline_s,
    )
    seats = Seats(fleet.hosts, fleet.slots) if fleet.hosts else None
    scheduler = build_scheduler(spec, run)
    scheduler.refill(run.reports())
    trainable = tune.with_resources(
        tune.with_parameters(CellTrial, assignment=assignment),
        fleet.trial_resources,
    )
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=LedgerSearcher(run, seats, standstill),
            scheduler=scheduler,
            num_samples=-1,
            max_concurrent_trials=fleet.parallel,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            # Tune's own state serves nobody: the ledger is what a search is taken up from.
            storage_path=scratch,
            name="tune",
            verbose=0,
            stop=StopRequested(run),
            callbacks=[StartedTrials(run, standstill)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=spec.search.retries),
        ),
    )
