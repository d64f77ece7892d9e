"""What a node tells of itself when it is asked."""

import sys

import cloudpickle

from longhaul.cluster.nodes import SEEN, _teller
from longhaul.cluster.versions import versions_here


def test_what_is_asked_of_a_node_travels_without_our_code_and_says_that_there_is_none(
    monkeypatch, tmp_path
):
    tell = cloudpickle.loads(cloudpickle.dumps(_teller()))
    assert tell.__globals__ is not _teller.__globals__  # by value: there is nothing to import there
    seen = tmp_path / "seen"
    seen.write_bytes(SEEN)
    told = tell(str(seen))
    assert (told["versions"], told["storage"]) == (versions_here(), None)
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setitem(sys.modules, "longhaul.cluster.versions", None)
    assert tell(None)["versions"] is None
    assert "No such file" in tell(str(tmp_path / "gone/seen"))["storage"]
    seen.write_bytes(b"another")
    assert "something else" in tell(str(seen))["storage"]
