"""When the writer looks at the ledger again."""

import threading

from longhaul.tracking import follow as module
from longhaul.tracking.connection import connect
from longhaul.tracking.follow import Ending, follow
from longhaul.tracking.replay import Replay


def test_an_end_told_while_it_delivers_is_not_waited_for(new_search, tracking_uri, monkeypatch):
    monkeypatch.setattr(module, "POLL_S", 600.0)
    search, ended = new_search(), threading.Event()
    search.run(0, "finish", 600)
    search.give_up()
    replay = Replay(search.ledger, lambda: connect(tracking_uri), tracking_uri)
    lag = follow(search.ledger, replay, Ending(ended, lambda: 60.0), lambda _: ended.set())
    assert lag.delivered
