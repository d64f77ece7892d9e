"""What a storage keeps of a suite: which searches belong to it, under which rule."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from longhaul.errors import RequestError
from longhaul_trainers.settings import dump

if TYPE_CHECKING:
    from longhaul.ledger.storage import Storage
    from longhaul.spec.suite import Suite

FORMAT = 1
FILE = "suite.yaml"


@dataclass(frozen=True)
class Entry:
    """One search of a suite.

    Attributes:
        search: its name.
        label: what it is called in the table.
        published: the model whose published score stands beside it, None for none.
    """

    search: str
    label: str
    published: str | None


@dataclass(frozen=True)
class SuiteRecord:
    """A suite as it was run; the attributes are those of `longhaul.spec.suite.Suite`."""

    name: str
    description: str
    source: str
    budget: Mapping[str, Any]
    seeds: int
    searches: tuple[Entry, ...]


def write_suite(root: "Storage", suite: "Suite") -> None:
    """Keeps a suite in the storage of its searches, in a folder of its own name.

    Raises:
        RequestError: a search has that name.
    """
    from longhaul.ledger import Ledger
    from longhaul.spec.writing import to_yaml

    if suite.name in Ledger.names(root):
        advice = f"give the suite one of its own: --name {suite.name}-suite"
        raise RequestError(f"there is a search called {suite.name} in {root.uri}; {advice}")
    content = {
        "format": FORMAT,
        "name": suite.name,
        "description": suite.description,
        "source": suite.source,
        "budget": dump(suite.budget),
        "seeds": suite.seeds,
        "searches": [
            {"search": one.spec.name, "label": one.label, "published": one.published}
            for one in suite.searches
        ],
    }
    root.folder(suite.name).write(FILE, to_yaml(content).encode())


def read_suite(root: "Storage", name: str) -> SuiteRecord:
    """A suite that was run.

    Raises:
        RequestError: none of this name was, or what is kept of it is damaged.
    """
    from longhaul.spec.loading import read_text

    path = f"{name}/{FILE}"
    if not root.exists(path):
        advice = f"run its searches first: longhaul search {name}"
        raise RequestError(f"the suite {name!r} has not been run in {root.uri}; {advice}")
    try:
        content = read_text(root.read(path).decode(), f"{root.uri}/{path}").value
        return SuiteRecord(
            name=content["name"],
            description=content["description"],
            source=content["source"],
            budget=content["budget"],
            seeds=content["seeds"],
            searches=tuple(Entry(**one) for one in content["searches"]),
        )
    except (RequestError, ValueError, KeyError, TypeError) as error:
        problem = f"damaged, or of another version of Longhaul ({error!r})"
        raise RequestError(f"{root.uri}/{path}: {problem}; run the suite again") from error


def is_recorded(root: "Storage", name: str) -> bool:
    """Whether a suite of this name was run."""
    from longhaul.spec.names import is_name

    return is_name(name) and root.exists(f"{name}/{FILE}")
