"""The faults that a search must survive: the rows of `benchmarks/results/faults.md`.

Each test that breaks a real thing says which row it belongs to and what it breaks:

    @pytest.mark.fault("driver", "SIGKILL of the driver in the middle of its first trials")
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One kind of fault.

    Attributes:
        title: what breaks.
        expected: what must be true afterwards, besides that no report is lost or doubled.
    """

    title: str
    expected: str


ROWS = {
    "trial": Row("SIGKILL of a trial's process", "goes on from its checkpoint"),
    "host": Row("SIGKILL of a pack host", "all its trials go on from their checkpoints"),
    "driver": Row("SIGKILL of the driver", "`resume` repeats nothing that was reported"),
    "signals": Row("SIGINT, a second SIGINT, SIGTERM", "ends in order, exit status 130, resumes"),
    "node": Row("SIGKILL of a node's raylet", "its trials go on elsewhere"),
    "partition": Row("Network cut between nodes", "ridden out; or trials go on elsewhere"),
    "gcs": Row("Ray's control store killed and started again", "the search goes on"),
    "hang": Row("A trial hangs or is stopped", "ended at its deadline, run again, then failed"),
    "oom": Row("A trial uses up the memory", "it is run again or fails; the search goes on"),
    "number": Row("NaN, infinite or missing metric", "diverged at that step, never best"),
    "torn-events": Row("Torn or corrupt event segment", "what is readable is used, at any cut"),
    "torn-checkpoint": Row("Torn, corrupt or missing checkpoint", "the older one is used"),
    "torn-spec": Row("Torn or corrupt specification or record", "named, and nothing begun anew"),
    "disk": Row("Full disk", "the search ends and says so; resumes when there is space"),
    "mlflow-dead": Row("MLflow dead, for a while or for good", "training goes on; delivered later"),
    "mlflow-flaky": Row("MLflow slow, hanging, answering 500", "delivered, once"),
    "mlflow-deleted": Row("A run deleted in MLflow", "left alone; the others go on"),
    "postgres": Row("The database behind MLflow restarts", "delivered, once"),
    "clock": Row("Clock steps, time zones, clocks that differ", "order and durations unaffected"),
    "twice": Row("The same search submitted again", "joined; another of that name is refused"),
    "two-drivers": Row("Two drivers of one search", "the second is refused, a stale one fenced"),
    "extend": Row("Extended by more trials", "appended; nothing finished is repeated"),
    "chaos": Row("Everything above at random", "all of the above"),
}
