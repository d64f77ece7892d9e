import pytest

from longhaul_trainers.bibliography import citation, field

ENTRY = """@inproceedings{{x,
  title = {{Title of {{RNN}}s}},
  author = {{{author}}},
  year = {{2019}},
}}"""


@pytest.mark.parametrize(
    ("author", "expected"),
    [
        ("Elman, Jeffrey L.", "Elman 2019"),
        ("Jeffrey L. Elman", "Elman 2019"),
        (
            r"Lezcano-Casado, Mario and Mart{\'i}nez-Rubio, David",
            "Lezcano-Casado and Martínez-Rubio 2019",
        ),
        ("Helfrich, Kyle and Willmott, Devin and Ye, Qiang", "Helfrich et al. 2019"),
        (r"Solja{\v{c}}i{\'c}, Marin", "Soljačić 2019"),
        (
            r"Schmidhuber, J{\"u}rgen and van Merri{\"e}nboer, Bart",
            "Schmidhuber and van Merriënboer 2019",
        ),
        (r"G{\"u}l{\c{c}}ehre, {\c C}a{\u{g}}lar", "Gülçehre 2019"),
        (r"Erd{\'\i}s and M{\o}ller, A.", "Erdís and Møller 2019"),
    ],
)
def test_citation(author, expected):
    assert citation(ENTRY.format(author=author)) == expected


def test_field():
    entry = ENTRY.format(author="Elman, Jeffrey L.")
    assert field(entry, "title") == "Title of RNNs"
    assert field(entry, "journal") == ""


def test_what_is_no_entry_gives_no_citation():
    assert citation("") == ""
    assert citation("@misc{x,\n  year = {2019},\n}") == ""
