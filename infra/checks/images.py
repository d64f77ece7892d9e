"""Checks of Dockerfiles: what hadolint says, and what is sent to the builder."""

import re
from pathlib import Path

from check import Rule
from tools import problems, run

DOCKERFILE = Path("infra/images/Dockerfile")
STAGES = {"cpu", "cuda", "tracking"}
UNWANTED = (".git", ".venv", "longhaul-runs", "mlflow.db", "tests", "infra/compose", "docs")


def hadolint(root: Path, path: Path) -> list[str]:
    """hadolint, for which a warning is enough to fail."""
    return problems(run("hadolint", "--failure-threshold", "info", "--no-color", root / path))


def stages(root: Path, path: Path) -> list[str]:
    """Each image that we build ends as another user than root, with a health check of its own."""
    text = (root / path).read_text(encoding="utf-8").replace("\\\n", " ")
    parents, bodies, name = {}, {}, ""
    for line in text.splitlines():
        if found := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            name = found[2]
            parents[name], bodies[name] = found[1], []
        elif name:
            bodies[name].append(line)
    said = [f"there is no stage {one}" for one in sorted(STAGES - set(bodies))]
    for stage in sorted(STAGES & set(bodies)):
        chain, one = [], stage
        while one in bodies:
            chain.append(one)
            one = parents[one]
        lines = [line for one in reversed(chain) for line in bodies[one]]
        users = [line.split()[1] for line in lines if line.startswith("USER ")]
        if not users or re.match(r"(0|root)\b", users[-1]):
            said.append(f"stage {stage} runs as root")
        if not any(line.startswith("HEALTHCHECK ") for line in lines):
            said.append(f"stage {stage} has no HEALTHCHECK")
    return said


def context(root: Path, path: Path) -> list[str]:
    """The builder gets every file that is copied, and nothing that it should not see."""
    # imported here: the Python client of Docker, which MLflow brings
    from docker.utils import exclude_paths

    ignore = root / f"{DOCKERFILE}.dockerignore"
    lines = ignore.read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    sent = {name.replace("\\", "/") for name in exclude_paths(str(root), patterns)}
    said = [
        f"{name} is sent to the builder"
        for name in UNWANTED
        if any(_below(one, name) for one in sent)
    ]
    said += [f"{one} is sent to the builder" for one in sorted(sent) if "__pycache__/" in one]
    for line in (root / DOCKERFILE).read_text(encoding="utf-8").splitlines():
        if line.startswith("COPY ") and "--from=" not in line:
            sources = [word for word in line.split()[1:-1] if not word.startswith("--")]
            said += [f"{one} is copied but not sent" for one in sources if not _is_sent(one, sent)]
    return said


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _is_sent(source: str, sent: set[str]) -> bool:
    return any(Path(one).match(source) if "*" in source else _below(one, source) for one in sent)


RULES = [
    Rule("hadolint", (str(DOCKERFILE),), hadolint, ("hadolint",)),
    Rule("stages of the image", (str(DOCKERFILE),), stages),
    Rule("what is sent to the builder", (str(DOCKERFILE), f"{DOCKERFILE}.dockerignore"), context),
]
