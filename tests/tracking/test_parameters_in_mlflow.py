"""How large a trial's model is, among the parameters of its run."""

import json

from longhaul.ledger import TrialRecord
from longhaul.tracking import layout


def record(cell: dict, params: dict | None = None, **values) -> TrialRecord:
    config = {"task": {"name": "copying"}, "cell": {"name": "lstm"} | cell}
    distribution = {"step": 1, "low": 100, "high": 9999, "log": True}
    text = json.dumps({"name": "IntDistribution", "attributes": distribution})
    given = params or {}
    return TrialRecord(
        0, config=config, params=given, distributions=dict.fromkeys(given, text), **values
    )


def test_hidden_size_and_count_whatever_was_given():
    sized = {"hidden_size": 63, "parameters": None}
    expected = {"task.name": "copying", "cell.name": "lstm", "cell.hidden_size": "63"}
    assert layout.params(record(sized, parameters=19_224)) == expected | {"parameters": "19224"}


def test_a_number_that_was_searched_is_there_beside_what_came_of_it():
    sized = {"hidden_size": 63, "parameters": None}
    found = layout.params(record(sized, {"cell.lstm.parameters": 10_000}, parameters=9_987))
    assert (found["cell.parameters"], found["parameters"]) == ("10000", "9987")
    assert found["cell.parameters_log10"] == "4.0"
    assert found["cell.hidden_size"] == "63"


def test_a_trial_of_an_older_version_has_no_count():
    assert "parameters" not in layout.params(record({"hidden_size": 63}))
