"""Checks of the compose stack: its schema, and what it publishes and keeps secret."""

from pathlib import Path
from typing import Any

import yaml

from check import Rule
from tools import problems, run

STACK = "infra/compose/compose.yaml"
ENVIRONMENT = {"LONGHAUL_USER": "1000:1000", "TORCH_INDEX": "https://wheels.example"}


def schema(root: Path, path: Path) -> list[str]:
    """The schema of the Compose specification."""
    return problems(run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", root / path))


def config(root: Path, path: Path) -> list[str]:
    """docker-compose reads it, follows its anchors and puts in the variables."""
    return problems(run("docker-compose", "-f", root / path, "config", "-q", env=ENVIRONMENT))


def wiring(root: Path, path: Path) -> list[str]:
    """What a schema cannot say: loopback only, secrets from files, names that exist."""
    stack = yaml.safe_load((root / path).read_text(encoding="utf-8"))
    said = []
    for name, service in stack["services"].items():
        said += [f"{name}: {one}" for one in _service(stack, service)]
        said += [f"{name}: {one}" for one in _files(root / path, service)]
    script = (root / path).parent / "make-secrets.sh"
    made = script.read_text(encoding="utf-8")
    for name, secret in stack["secrets"].items():
        if set(secret) != {"file"} or not secret["file"].startswith("secrets/"):
            said.append(f"secret {name} is not from a file in secrets/")
        if f"keep {Path(secret['file']).name} " not in made:
            said.append(f"secret {name} is not made by {script.name}")
    return said


def _service(stack: dict[str, Any], service: dict[str, Any]) -> list[str]:
    said = []
    for port in service.get("ports", []):
        if not str(port).startswith("127.0.0.1:"):
            said.append(f"port {port} is published beyond the loopback device")
    image = service.get("image", "")
    if ":" not in image or image.endswith(":latest"):
        said.append(f"image {image!r} has no version")
    said += [
        f"secret {one} is not defined"
        for one in service.get("secrets", [])
        if one not in stack["secrets"]
    ]
    said += [
        f"network {one} is not defined"
        for one in service.get("networks", [])
        if one not in stack["networks"]
    ]
    said += [
        f"waits for {one}, which is no service"
        for one in service.get("depends_on", {})
        if one not in stack["services"]
    ]
    for key, value in service.get("environment", {}).items():
        if any(word in key for word in ("PASSWORD", "SECRET_", "TOKEN")):
            if not key.endswith(("_FILE", "_PATH")):
                said.append(f"{key} holds a secret in the open")
            elif not str(value).startswith("/run/secrets/"):
                said.append(f"{key} is no file in /run/secrets")
            elif Path(value).name not in service.get("secrets", []):
                said.append(f"{key} names a secret that the service does not have")
    return said


def _files(stack: Path, service: dict[str, Any]) -> list[str]:
    mounts = [str(one).partition(":")[0] for one in service.get("volumes", [])]
    build = service.get("build")
    said = [
        f"{one} does not exist"
        for one in mounts
        if one.startswith(".") and not (stack.parent / one).is_file()
    ]
    if build:
        file = stack.parent / build["context"] / build["dockerfile"]
        if not file.is_file() or f" AS {build['target']}\n" not in file.read_text("utf-8"):
            said.append(f"no stage {build['target']} in {build['dockerfile']}")
    return said


RULES = [
    Rule("compose specification", (STACK,), schema, ("check-jsonschema",)),
    Rule("docker-compose config", (STACK,), config, ("docker-compose",)),
    Rule("wiring of the stack", (STACK,), wiring),
]
