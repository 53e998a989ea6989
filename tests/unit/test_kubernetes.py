"""The shape of the Kubernetes manifests: Kubernetes' own schemas take them, and they agree with the images and with
Compose. Nothing here applies them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import kubernetes

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "ops" / "kubernetes"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
SERVICES = ("bridge", "receiver")
MANIFESTS = sorted(path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
VERSIONS = ("1.32", "1.37")
"""The oldest that anybody should still run, and the newest that was out when its schemas were kept."""


def documents(name: str) -> dict[str, dict[str, Any]]:
    return {found["kind"]: found for found in yaml.safe_load_all((FOLDER / name).read_text())}


def pod(service: str) -> dict[str, Any]:
    found: dict[str, Any] = documents(f"{service}.yaml")["Deployment"]["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_takes_the_manifests(name: str, version: str) -> None:
    """With nothing in them that it doesn't know."""
    found = list(yaml.safe_load_all((FOLDER / name).read_text()))
    assert found
    for document in found:
        assert kubernetes.mistakes(document, version) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("at", "wrong"),
    [
        ("spec.replicas", "one"),
        ("spec.template.spec.containers.0.livenesProbe", {}),
        ("spec.template.spec.containers.0.livenessProbe.httpGet.pfad", "/livez"),
        ("spec.template.spec.containers.0.ports.0.containerPort", "4444"),
        ("spec.template.spec.securityContext.runAsUser", "app"),
        ("spec.selector", "app"),
        ("metadata.label", {}),
    ],
)
def test_a_manifest_with_a_mistake_is_refused(at: str, wrong: object, version: str) -> None:
    deployment: Any = documents("bridge.yaml")["Deployment"]
    path, _, last = at.rpartition(".")
    part = deployment
    for step in path.split("."):
        part = part[int(step) if step.isdigit() else step]
    part[last] = wrong
    [mistake] = kubernetes.mistakes(deployment, version)
    assert mistake.startswith((f"{path}: ", f"{at}: "))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_kind_whose_schema_is_kept_is_one_that_we_write(version: str) -> None:
    written = {(found["apiVersion"], found["kind"]) for name in MANIFESTS for found in documents(name).values()}
    assert written == set(kubernetes.KINDS)
    for api, kind in kubernetes.KINDS:
        unknown = {"apiVersion": api, "kind": kind, "metadata": {"name": "a"}, "spec": {}, "made_up": 1}
        assert any("made_up" in mistake for mistake in kubernetes.mistakes(unknown, version))


def test_kustomization_names_every_manifest_but_the_example() -> None:
    named = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert {*named} - {"secret.yaml"} == {*MANIFESTS} - {"secret.example.yaml"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_deployment_runs_the_image_as_compose_does(service: str) -> None:
    [container] = pod(service)["containers"]
    assert container["image"] == COMPOSE[service]["image"]
    port = container["ports"][0]["containerPort"]
    assert COMPOSE[service]["ports"][0].endswith(f":{port}")
    user = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "ops" / "docker" / f"{service}.Dockerfile").read_text(), re.M)[0]
    context = pod(service)["securityContext"]
    assert (str(context["runAsUser"]), str(context["runAsGroup"])) == user
    assert context["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {entry["name"] for entry in container["env"]} <= set(COMPOSE[service]["environment"])


@pytest.mark.parametrize("service", SERVICES)
def test_selectors_and_ports_fit_together(service: str) -> None:
    found = documents(f"{service}.yaml")
    deployment, exposed = found["Deployment"]["spec"], found["Service"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == exposed["selector"] == labels
    [container] = pod(service)["containers"]
    names = {port["name"] for port in container["ports"]}
    assert exposed["ports"][0]["targetPort"] in names
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in names
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod(service)["volumes"]}


def test_there_are_never_two_bridges_and_its_stop_has_time() -> None:
    deployment = documents("bridge.yaml")["Deployment"]["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    grace = int(COMPOSE["bridge"]["stop_grace_period"].removesuffix("s"))
    assert pod("bridge")["terminationGracePeriodSeconds"] >= grace
    claim = pod("bridge")["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert claim == documents("bridge.yaml")["PersistentVolumeClaim"]["metadata"]["name"]


def test_every_secret_that_is_named_is_in_the_example_and_none_is_filled_in() -> None:
    secret = documents("secret.example.yaml")["Secret"]
    used = set()
    for service in SERVICES:
        for entry in pod(service)["containers"][0]["env"]:
            if "valueFrom" in entry:
                reference = entry["valueFrom"]["secretKeyRef"]
                assert reference["name"] == secret["metadata"]["name"]
                used.add(reference["key"])
    assert used == set(secret["stringData"])
    assert all(value == "" or "PASSWORD" in value for value in secret["stringData"].values())
    assert "secret.yaml" in (ROOT / ".gitignore").read_text()
