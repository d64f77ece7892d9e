"""Checks of the Kubernetes objects: schemas, and what a schema cannot say."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from check import Rule
from tools import problems, run

FOLDER = "infra/kubernetes"
KUBERNETES = "1.32"
BUILDS = ("overlays/cpu", "overlays/gpu", "overlays/spot", "search")
SCHEMA = Path(__file__).parent / "kuberay_schema.yaml"
PODS = ("Deployment", "StatefulSet", "CronJob", "RayCluster", "RayJob")
Object = dict[str, Any]


def built(root: Path, path: Path) -> list[str]:
    """Every overlay is built by kustomize, and each object in it is what its kind may be."""
    return list(_built(root))


@cache  # the files make one whole, and each of them asks for it
def _built(root: Path) -> tuple[str, ...]:
    said: list[str] = []
    for name in BUILDS:
        done = run("kubectl", "kustomize", root / FOLDER / name)
        if done.returncode:
            said.append(f"{name}: {done.stderr.strip()}")
            continue
        objects = [one for one in yaml.safe_load_all(done.stdout) if one]
        said += [f"{name}: {one}" for object_ in objects for one in _schema(object_)]
        said += [f"{name}: {one}" for one in wiring(objects)]
    return tuple(said)


def _schema(object_: Object) -> list[str]:
    name = f"{object_['kind']} {object_['metadata']['name']}"
    if object_["apiVersion"].startswith("ray.io/"):
        said = _ray(object_)
        for template in templates(object_):
            pod = {
                "apiVersion": "v1",
                "kind": "PodTemplate",
                "metadata": {"name": "in"},
                "template": template,
            }
            said += _core(pod)
    else:
        said = _core(object_)
    return [f"{name}: {one}" for one in said]


def _core(object_: Object) -> list[str]:
    # imported here: not in the environment of the tests that need no program
    import kubernetes_validate

    try:
        kubernetes_validate.validate(object_, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [f"Kubernetes has no such kind: {error}"]
    return []


def _ray(object_: Object) -> list[str]:
    # imported here, as above; Ray brings it
    import jsonschema

    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    if object_["apiVersion"] != "ray.io/v1" or object_["kind"] not in schema["definitions"]:
        return [f"{object_['apiVersion']} has no such kind here"]
    one = {"$ref": f"#/definitions/{object_['kind']}", "definitions": schema["definitions"]}
    errors = jsonschema.Draft7Validator(one).iter_errors(object_["spec"])
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in errors]


def templates(object_: Object) -> Iterator[Object]:
    """The pod templates of an object."""
    spec = object_["spec"]
    if object_["kind"] == "RayCluster":
        yield spec["headGroupSpec"]["template"]
        for group in spec["workerGroupSpecs"]:
            yield group["template"]
    elif object_["kind"] == "RayJob":
        yield spec["submitterPodTemplate"]
    elif object_["kind"] == "CronJob":
        yield spec["jobTemplate"]["spec"]["template"]
    elif object_["kind"] in PODS:
        yield spec["template"]


def wiring(objects: list[Object]) -> list[str]:
    """What the objects of one build say of each other; and that no pod has rights to spare."""
    said = []
    # What is there besides: secrets are made, not committed; the search uses the cluster's.
    secrets = {"longhaul-ray", "longhaul-redis", "longhaul-mlflow"}
    labels: list[Object] = []
    for one in objects:
        if one["kind"] == "Secret":
            said.append(f"Secret {one['metadata']['name']} is committed")
        if one["metadata"].get("namespace", "") != "longhaul" and one["kind"] != "Namespace":
            said.append(f"{one['kind']} {one['metadata']['name']} is in no namespace")
        for template in templates(one) if one["kind"] in PODS else ():
            labels.append(template["metadata"]["labels"])
            name = f"{one['kind']} {one['metadata']['name']}"
            said += [f"{name}: {problem}" for problem in _pod(template["spec"], objects, secrets)]
    if any(one["kind"] == "NetworkPolicy" for one in objects):
        said += _policies(objects, [*labels, {"app.kubernetes.io/name": "submitter"}])
    return said


def _pod(pod: Object, objects: list[Object], secrets: set[str]) -> Iterator[str]:
    context = pod.get("securityContext", {})
    if not context.get("runAsNonRoot") or not context.get("runAsUser"):
        yield "runs as root"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "may make every system call"
    for container in pod["containers"]:
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation", True) or own.get("capabilities") != {
            "drop": ["ALL"]
        }:
            yield f"{container['name']} keeps rights that it does not need"
        if ":" not in container["image"] or container["image"].endswith(":latest"):
            yield f"{container['name']}: image {container['image']} has no version"
        if "requests" not in container.get("resources", {}):
            yield f"{container['name']} asks for no resources"
        volumes = {one["name"] for one in pod.get("volumes", [])} | _claimed(objects)
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"{container['name']}: no volume {mount['name']}"
    for kind, name in _references(pod):
        if kind == "secret" and name not in secrets:
            yield f"nobody makes the secret {name}"
        if kind != "secret" and name not in _names(objects, kind):
            yield f"there is no {kind} {name}"


def _references(node: Any) -> Iterator[tuple[str, str]]:
    kinds = {"secretKeyRef": "secret", "configMapRef": "ConfigMap"}
    if isinstance(node, list):
        for one in node:
            yield from _references(one)
    elif isinstance(node, dict):
        for key, one in node.items():
            if key in kinds:
                yield kinds[key], one["name"]
            elif key == "secretName":
                yield "secret", one
            elif key == "claimName":
                yield "PersistentVolumeClaim", one
            else:
                yield from _references(one)


def _names(objects: list[Object], kind: str) -> set[str]:
    return {one["metadata"]["name"] for one in objects if one["kind"] == kind}


def _claimed(objects: list[Object]) -> set[str]:
    sets = [one["spec"] for one in objects if one["kind"] == "StatefulSet"]
    return {claim["metadata"]["name"] for one in sets for claim in one["volumeClaimTemplates"]}


def _policies(objects: list[Object], labels: list[Object]) -> Iterator[str]:
    policies = [one for one in objects if one["kind"] == "NetworkPolicy"]
    shut = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if shut not in [one["spec"] for one in policies]:
        yield "what no policy allows is allowed"
    known = {one["app.kubernetes.io/name"] for one in labels} | {"kuberay-operator"}
    for policy in policies:
        for key, name in _selected(policy["spec"]):
            if key == "app.kubernetes.io/name" and name not in known:
                yield f"NetworkPolicy {policy['metadata']['name']}: no pod is called {name}"


def _selected(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, list):
        for one in node:
            yield from _selected(one)
    elif isinstance(node, dict):
        for key, one in node.items():
            if key == "matchLabels":
                yield from one.items()
            else:
                yield from _selected(one)


def secrets_script(root: Path, path: Path) -> list[str]:
    """What the script prints is what Kubernetes calls secrets, and without the keys it refuses."""
    script = (root / path).absolute()
    refused = run("bash", script, env={"S3_ACCESS_KEY": "", "S3_SECRET_KEY": ""})
    said = (
        [] if refused.returncode == 2 and "S3_ACCESS_KEY" in refused.stderr else ["needs no keys"]
    )
    done = run("bash", script, env={"S3_ACCESS_KEY": "a", "S3_SECRET_KEY": "b"})
    said += problems(done)
    objects = [one for one in yaml.safe_load_all(done.stdout) if one]
    names = {one["metadata"]["name"] for one in objects}
    if names != {"longhaul-ray", "longhaul-redis", "longhaul-mlflow"}:
        said.append(f"makes {sorted(names)}")
    return said + [one for object_ in objects for one in _core(object_)]


_TOOLS = ("kubectl", "kubernetes-validate")
RULES = [
    Rule("Kubernetes", (f"{FOLDER}/*.yaml",), built, _TOOLS),
    Rule("secrets", (f"{FOLDER}/make-secrets.sh",), secrets_script, ("kubernetes-validate",)),
]
