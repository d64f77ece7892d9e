"""What a container of infra/ could do if somebody took it over, and what it shows to others."""

import re
from pathlib import Path

import pytest
import yaml

INFRA = Path(__file__).parents[2] / "infra"
COMPOSE = yaml.safe_load((INFRA / "compose/compose.yaml").read_text(encoding="utf-8"))["services"]
PODS = [
    (path.name, document)
    for path in sorted((INFRA / "kubernetes").rglob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]


def pods(value):
    """Every description of a pod in an object, wherever it is."""
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        for one in value.values():
            yield from pods(one)
    elif isinstance(value, list):
        for one in value:
            yield from pods(one)


FOUND = [(name, pod) for name, document in PODS for pod in pods(document)]


@pytest.mark.attack(10, "rights of the containers of infra/")
@pytest.mark.parametrize(("name", "pod"), FOUND, ids=[name for name, _ in FOUND])
def test_no_pod_may_do_more_than_it_must(name, pod):
    # The head's autoscaler asks the cluster for pods, with an account that KubeRay makes for it.
    is_head = any(one["name"] == "ray-head" for one in pod["containers"])
    assert is_head or pod["automountServiceAccountToken"] is False
    shared = pod.get("securityContext", {})
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        own = {**shared, **container.get("securityContext", {})}
        assert own["runAsNonRoot"] is True, container["name"]
        assert own["allowPrivilegeEscalation"] is False, container["name"]
        assert own["capabilities"]["drop"] == ["ALL"], container["name"]
        assert own["seccompProfile"]["type"] == "RuntimeDefault", container["name"]
        assert not own.get("privileged")
        for variable in container.get("env", []):
            if re.search(r"(PASSWORD|TOKEN|SECRET|KEY)$", variable["name"]):
                assert "value" not in variable, variable["name"]


@pytest.mark.attack(10, "rights of the containers of infra/")
@pytest.mark.parametrize("name", COMPOSE)
def test_no_service_may_do_more_than_it_must(name):
    service = COMPOSE[name]
    assert "privileged" not in service
    hardened = "no-new-privileges:true" in service.get("security_opt", [])
    assert (
        hardened or service.get("cap_drop") == ["ALL"] or service["image"].startswith("longhaul:")
    )
    for text in service.get("volumes", []):
        assert "docker.sock" not in text
    for key, value in (service.get("environment") or {}).items():
        assert key.endswith(("_FILE", "__FILE")) or "PASSWORD" not in key, (key, value)


@pytest.mark.attack(3, "ports that the compose stack publishes")
def test_whatever_is_published_is_published_on_loopback():
    ports = [str(port) for one in COMPOSE.values() for port in one.get("ports", [])]
    assert len(ports) >= 4
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    # Ray Client runs whatever it is sent, and the head's own port lets nodes join.
    assert [port for port in ports if port.endswith((":10001", ":6379", ":8080"))] == []


@pytest.mark.attack(3, "what the network policies let in")
def test_nothing_reaches_ray_that_no_policy_names():
    policies = [one for _, one in PODS if isinstance(one, dict)]
    policies = [one for one in policies if one.get("kind") == "NetworkPolicy"]
    by_name = {one["metadata"]["name"]: one["spec"] for one in policies}
    default = by_name["nothing-unless-allowed"]
    assert default["podSelector"] == {}
    assert sorted(default["policyTypes"]) == ["Egress", "Ingress"]
    assert "ingress" not in default
    for name, spec in by_name.items():
        for rule in spec.get("ingress", []):
            assert rule.get("from"), f"{name} lets everybody in"
            assert all("ipBlock" not in one for one in rule["from"]), name
            if {"namespaceSelector": {}} in rule["from"]:
                raise AssertionError(f"{name} lets every namespace in")
