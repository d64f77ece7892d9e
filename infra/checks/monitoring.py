"""Checks of monitoring: promtool, and that every query names something that is measured."""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from check import Rule
from tools import problems, run

FOLDER = "infra/monitoring"
NAMES = f"{FOLDER}/ray-metrics.txt"
PROMETHEUS_OWN = {"up"}
_WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
# Left out in this order: texts, labels, ranges; what is grouped by; names of functions.
_NO_METRIC = [
    re.compile(one)
    for one in (
        r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]',
        r"\b(?:by|without|on|ignoring)\s*\([^)]*\)",
        r"[a-z_]+\s*(?=\()",
    )
]
# What names of counters and histograms are continued with.
_ENDINGS = ("_bucket", "_count", "_sum")


def promtool_config(root: Path, path: Path) -> list[str]:
    """Promtool reads the configuration of Prometheus and the rules that it names."""
    return problems(run("promtool", "check", "config", (root / path).absolute()))


def promtool_rules(root: Path, path: Path) -> list[str]:
    """Promtool reads the rules, and each alert comes when it should."""
    said = problems(run("promtool", "check", "rules", "--lint-fatal", root / FOLDER / "rules.yml"))
    return said + problems(run("promtool", "test", "rules", "rules_test.yml", folder=root / FOLDER))


def all_alerts_are_tested(root: Path, path: Path) -> list[str]:
    """Every alert has a test in which it comes, and one in which it does not."""
    rules = yaml.safe_load((root / FOLDER / "rules.yml").read_text(encoding="utf-8"))
    tests = yaml.safe_load((root / FOLDER / "rules_test.yml").read_text(encoding="utf-8"))
    comes: dict[str, set[bool]] = {}
    for test in tests["tests"]:
        for one in test["alert_rule_test"]:
            comes.setdefault(one["alertname"], set()).add(bool(one.get("exp_alerts")))
    names = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    return [
        f"alert {one} is not tested both ways"
        for one in sorted(names)
        if len(comes.get(one, ())) < 2
    ]


def measured(root: Path) -> set[str]:
    """The names that Ray reports, as recorded."""
    lines = (root / NAMES).read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def named(query: str) -> set[str]:
    """The metrics that a PromQL query names: its words but for functions, labels and texts."""
    for pattern in _NO_METRIC:
        query = pattern.sub(" ", query)
    return {word for word in _WORD.findall(query) if word not in ("and", "or", "unless", "bool")}


def queries(root: Path, path: Path) -> list[str]:
    """Every query of a rule or a panel names metrics that exist."""
    if path == Path(NAMES):
        return [one for other in (_RULES[0], _BOARD) for one in queries(root, Path(other))]
    known = measured(root) | PROMETHEUS_OWN
    said = []
    for where, query in _queries(root / path):
        for name in sorted(named(query)):
            base = next((name.removesuffix(end) for end in _ENDINGS if name.endswith(end)), name)
            if name not in known and base not in known:
                said.append(f"{where}: nothing is called {name}")
    return said


def _queries(path: Path) -> Iterator[tuple[str, str]]:
    if path.suffix == ".json":
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                yield panel["title"], target["expr"]
        return
    for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def promtool_queries(root: Path, path: Path) -> list[str]:
    """Promtool understands the queries of the dashboard: as rules, for want of another way."""
    rules = [
        {"record": f"panel:{number}", "expr": query}
        for number, (_, query) in enumerate(_queries(root / path))
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".yml", encoding="utf-8") as file:
        yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}, file)
        file.flush()
        return problems(run("promtool", "check", "rules", file.name))


def dashboard(root: Path, path: Path) -> list[str]:
    """Panels have titles, descriptions, places of their own, and the source that is set up."""
    board = json.loads((root / path).read_text(encoding="utf-8"))
    sources = yaml.safe_load(
        (root / FOLDER / "grafana/datasource.yaml").read_text(encoding="utf-8")
    )["datasources"]
    uids = {one["uid"] for one in sources}
    said = []
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        title = panel["title"]
        said += [f"{title}: no {word}" for word in ("description", "targets") if not panel[word]]
        for one in (panel, *panel["targets"]):
            if one["datasource"]["uid"] not in uids:
                said.append(f"{title}: no source is called {one['datasource']['uid']}")
        place = (panel["gridPos"]["x"], panel["gridPos"]["y"])
        said += [f"{title}: another panel lies at {place}"] if place in taken else []
        taken.add(place)
    if len({one["id"] for one in board["panels"]}) < len(board["panels"]):
        said.append("two panels have one id")
    return said


def provisioning(root: Path, path: Path) -> list[str]:
    """What Grafana is told lies where the compose stack puts it."""
    told = yaml.safe_load((root / path).read_text(encoding="utf-8"))
    stack = yaml.safe_load((root / "infra/compose/compose.yaml").read_text(encoding="utf-8"))
    mounts = dict(
        one.removesuffix(":ro").split(":") for one in stack["services"]["grafana"]["volumes"]
    )
    said = [] if told.get("apiVersion") == 1 else ["apiVersion is not 1"]
    name = f"../monitoring/grafana/{path.name}"
    kind = "datasources" if "datasources" in told else "dashboards"
    if not mounts.get(name, "").startswith(f"/etc/grafana/provisioning/{kind}/"):
        said.append(f"{name} is not mounted where Grafana looks for {kind}")
    for one in told.get("providers", []):
        folder = one["options"]["path"]
        board = mounts.get("../monitoring/grafana/dashboard.json", "")
        said += [] if board.startswith(folder + "/") else [f"no dashboard is mounted in {folder}"]
    for one in told.get("datasources", []):
        said += _source(one, stack)
    return said


def _source(source: dict[str, Any], stack: dict[str, Any]) -> list[str]:
    host, _, port = source["url"].removeprefix("http://").partition(":")
    service = stack["services"].get(host)
    if source["type"] != host or service is None:
        return [f"{source['url']}: the stack has no such service"]
    published = {one.rpartition(":")[2] for one in service["ports"]}
    return [] if port in published else [f"{host} does not listen on {port}"]


def names_are_sorted(root: Path, path: Path) -> list[str]:
    """The recorded names are names, each once and in order."""
    lines = (root / path).read_text(encoding="utf-8").splitlines()
    found = [line for line in lines if not line.startswith("#")]
    said = [f"{line!r} is no name of a metric" for line in found if not _WORD.fullmatch(line)]
    return said + ([] if found == sorted(set(found)) else ["names are not in order, or come twice"])


_RULES = (f"{FOLDER}/rules.yml", f"{FOLDER}/rules_test.yml")
_BOARD = f"{FOLDER}/grafana/dashboard.json"
RULES = [
    Rule("promtool check config", (f"{FOLDER}/prometheus.yml",), promtool_config, ("promtool",)),
    Rule("promtool check and test rules", _RULES, promtool_rules, ("promtool",)),
    Rule("alerts are tested both ways", _RULES, all_alerts_are_tested),
    Rule("queries name what exists", (_RULES[0], _BOARD, NAMES), queries),
    Rule("promtool reads the queries", (_BOARD,), promtool_queries, ("promtool",)),
    Rule("dashboard", (_BOARD,), dashboard),
    Rule("provisioning of Grafana", (f"{FOLDER}/grafana/*.yaml",), provisioning),
    Rule("names of metrics", (NAMES,), names_are_sorted),
]
