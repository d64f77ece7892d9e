"""A user's package: cells that wait or break, and a plain log of what the ledger acknowledged.

Copied into a folder of its own, where it leaves ``witness.jsonl`` and looks for some files:
``kill-after`` says when the driver is to be killed, after a number of events or after the first of
a kind, for example ``started`` or ``reported stop``; while there is ``hold``, no trial moves; the
trial that finds ``hang`` hangs, and the one that finds ``swallow`` takes so many megabytes more.
"""

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from longhaul.ledger import LedgerWriter, TrialFolder
from longhaul_trainers.cells.lstm import LSTM, LSTMSettings
from longhaul_trainers.settings import setting

HERE = Path(__file__).parent
append_all, append_history = LedgerWriter.append_all, TrialFolder.append_history
acknowledged = 0


def note(**facts):
    line = json.dumps(facts | {"pid": os.getpid()}, default=str) + "\n"
    descriptor = os.open(HERE / "witness.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def noted_append_all(self, drafts):
    global acknowledged
    events = append_all(self, drafts)
    for event in events:
        acknowledged += 1
        note(event=event.sequence, kind=event.kind, trial=event.trial, data=event.data)
        if (HERE / "kill-after").exists():
            die_after(event)
    return events


def die_after(event):
    when = (HERE / "kill-after").read_text()
    kinds = (event.kind, f"{event.kind} {event.data.get('decision')}")
    if when in kinds or (when.isdecimal() and acknowledged >= int(when)):
        (HERE / "kill-after").unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def noted_append_history(self, rows, fence):
    append_history(self, rows, fence)
    for row in rows:
        note(trial=self.number, row=dict(row))


LedgerWriter.append_all, TrialFolder.append_history = noted_append_all, noted_append_history


def found(name):
    """The content of a file, for the one who takes it away."""
    try:
        os.rename(HERE / name, HERE / f"{name}.{os.getpid()}")
    except FileNotFoundError:
        return None
    return (HERE / f"{name}.{os.getpid()}").read_text()


swallowed = []


@dataclass(frozen=True, kw_only=True)
class SlowSettings(LSTMSettings):
    name: ClassVar[str] = "slow_lstm"
    wait_s: float = setting(0.0, ge=0, help="pause before each pass")


class SlowLSTM(LSTM):
    settings_type = SlowSettings

    def __init__(self, input_size, slots, generators):
        super().__init__(input_size, slots, generators)
        self.wait_s = slots[0].wait_s

    def forward(self, inputs, state=None):
        time.sleep(self.wait_s)
        while (HERE / "hold").exists():
            time.sleep(0.02)
        if found("hang") is not None:
            time.sleep(3600)
        megabytes = found("swallow")
        if megabytes is not None:
            swallowed.extend(bytes([1]) * 2**20 for _ in range(int(megabytes)))
            time.sleep(3600)
        return super().forward(inputs, state)


@dataclass(frozen=True, kw_only=True)
class BrokenSettings(LSTMSettings):
    name: ClassVar[str] = "broken"


class Broken(LSTM):
    settings_type = BrokenSettings

    def forward(self, inputs, state=None):
        raise RuntimeError("this cell is broken")
