"""The compose files and the Kubernetes manifests: valid, locked down, and calling verbs with flags that exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from playlake.settings import VerbSettings

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"


class _Compose(yaml.SafeLoader):
    """Compose's own tags are values like others here."""


_Compose.add_constructor("!override", lambda loader, node: loader.construct_mapping(node, deep=True))


def compose(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load((ROOT / name).read_text(encoding="utf-8"), _Compose)  # noqa: S506  # a SafeLoader
    return content


STACK = compose("docker-compose.yml")
MANIFESTS = [
    manifest
    for path in sorted(KUBERNETES.glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]
PODS = [manifest for manifest in MANIFESTS if manifest["kind"] == "Deployment"]


def settings(words: list[str]) -> type[VerbSettings]:
    found: type[VerbSettings] = importlib.import_module(f"playlake.verbs.{words[0]}").Settings
    return found


def flags_of(words: list[str]) -> set[str]:
    return {word.removeprefix("--").replace("-", "_") for word in words if word.startswith("--")}


# ---------------------------------------------------------------- compose


@pytest.mark.parametrize("name", [name for name in STACK["services"] if name != "bucket"])
def test_a_service_has_limits_a_restart_policy_and_is_locked_down(name: str) -> None:
    service = STACK["services"][name]
    assert {"cpus", "memory"} == service["deploy"]["resources"]["limits"].keys()
    ends = name in ("verify", "kinesis-verify", "kinesis-stream", "gold-spark")
    assert ("no" if ends else "unless-stopped") == service["restart"]
    assert service["read_only"]
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]


@pytest.mark.parametrize("name", ["kafka", "s3", "worker", "compactor", "dashboard", "prometheus", "kinesis"])
def test_what_serves_others_has_a_health_check(name: str) -> None:
    assert STACK["services"][name]["healthcheck"]["test"]


def test_ports_are_on_loopback_only_and_can_be_changed() -> None:
    ports = [port for service in STACK["services"].values() for port in service.get("ports", [])]
    assert len(ports) >= 5
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z0-9]+_PORT:-\d+\}:\d+", port) for port in ports)


def test_images_of_others_are_pinned() -> None:
    images = {service["image"] for service in STACK["services"].values()}
    foreign = {image for image in images if not image.startswith("playlake")}
    assert len(foreign) >= 4
    assert all(re.search(r":v?\d+\.\d+\.\d+$", image) for image in foreign)


def test_the_example_of_settings_names_every_variable_with_its_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    used = dict(re.findall(r"\$\{([A-Z0-9_]+):-([^}]*)\}", text))
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert used == given


@pytest.mark.parametrize(
    "name",
    [
        "producer",
        "worker",
        "compactor",
        "verify",
        "gold-spark",
        "kinesis-producer",
        "kinesis-worker",
        "kinesis-verify",
    ],
)
def test_a_command_has_flags_and_variables_that_its_verb_knows(name: str) -> None:
    service = STACK["services"][name]
    verb = settings(service["command"])
    assert flags_of(service["command"]) <= verb.model_fields.keys()


def test_gold_on_spark_has_a_profile_an_image_of_its_own_and_fetches_nothing_when_it_runs() -> None:
    service = STACK["services"]["gold-spark"]
    assert ["spark"] == service["profiles"]
    assert "spark" == service["build"]["target"]
    assert "spark.jars.packages=" == service["command"][service["command"].index("--spark-option") + 1]
    recipe = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    *_, jars, spark, last = re.split(r"^FROM ", recipe, flags=re.MULTILINE)
    assert "from compaction.spark_session import packages;" in jars, "the one place that names the jars' versions"
    assert spark.startswith("java AS spark\nCOPY --from=jars ")
    assert "10001:10001" == re.findall(r"^USER (.*)$", spark, re.MULTILINE)[-1]
    assert "playlake" == last.strip(), "what others build has none of it"


def test_the_stack_can_leave_gold_to_spark() -> None:
    variables = STACK["services"]["compactor"]["environment"]
    assert "${PLAYLAKE_GOLD:-true}" == variables["PLAYLAKE_GOLD"]
    assert "gold" in settings(["compact"]).model_fields


def test_the_minimal_stack_has_its_lake_on_a_volume() -> None:
    minimal = compose("docker-compose.minimal.yml")
    assert {"kafka", "producer", "worker", "compactor", "verify"} == minimal["services"].keys()
    for name in ("worker", "compactor", "verify"):
        assert {"PLAYLAKE_LAKE": "/lake"} == minimal["services"][name]["environment"]
        assert ["lake:/lake"] == minimal["services"][name]["volumes"]


# ---------------------------------------------------------------- Kubernetes


@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda manifest: f"{manifest['kind']} {manifest['metadata']['name']}"
)
def test_a_manifest_is_what_kubernetes_takes(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, "1.34", strict=True)


@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod["metadata"]["name"])
def test_a_pod_is_locked_down_and_calls_a_verb_with_what_it_knows(pod: dict[str, Any]) -> None:
    spec = pod["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert container["resources"]["limits"]["memory"]
    assert {"/healthz", "/readyz"} == {
        container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")
    }
    assert flags_of(container["args"]) <= settings(container["args"]).model_fields.keys()


def test_every_variable_of_the_pods_is_a_setting_of_the_worker() -> None:
    (config,) = (manifest for manifest in MANIFESTS if manifest["kind"] == "ConfigMap")
    known = {f"PLAYLAKE_{name.upper()}" for name in settings(["stream"]).model_fields}
    assert {name for name in config["data"] if name.startswith("PLAYLAKE_")} <= known


def test_all_manifests_are_applied() -> None:
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"} == set(listed)
