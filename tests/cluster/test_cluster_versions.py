"""Which versions may work on one search together."""

import pytest

from longhaul.cluster.versions import differences, refuse_differences, versions_here
from longhaul.errors import RequestError

OURS = {
    "longhaul": "1.0 (code aa)",
    "python": "3.11.2",
    "ray": "2.60.0",
    "torch": "2.13.0+cpu",
    "numpy": "2.4.6",
}


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        ({}, set()),
        ({"torch": "2.13.0+cu130"}, set()),
        ({"python": "3.11.9"}, set()),
        ({"numpy": "2.5.0"}, set()),
        ({"numpy": "3.0.0"}, {"numpy"}),
        ({"torch": "2.12.0+cpu"}, {"torch"}),
        ({"python": "3.12.2"}, {"python"}),
        ({"ray": "2.59.0"}, {"ray"}),
        ({"longhaul": "1.0 (code bb)"}, {"longhaul"}),
    ],
)
def test_only_what_matters_must_be_equal(changed, differs):
    assert set(differences(OURS, OURS | changed)) == differs


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"longhaul": "1.0 (code bb)"}, "the version is the same, but one was edited"),
        ({"longhaul": "2.0 (code bb)"}, "install longhaul 2.0, or submit this one's wheel"),
        ({"torch": "2.12.0+cpu", "ray": "2.59.0"}, "for example ray==2.59.0, torch==2.12.0"),
    ],
)
def test_the_message_says_how_to_mend_it(changed, said):
    with pytest.raises(RequestError, match="here and there differ: ") as caught:
        refuse_differences(OURS, OURS | changed, "here", "there")
    assert said in str(caught.value)


def test_a_version_that_is_not_told_is_another():
    assert set(differences(OURS, {})) == set(OURS)
    assert differences(versions_here(), versions_here()) == {}
