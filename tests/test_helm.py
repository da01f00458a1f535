"""The Helm chart and the sidecar: they are sound, and agree with the image and with config/kubernetes.yaml."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests import deployments
from tests.daemon_process import ADMIN_KEY
from tests.deployments import CONFIG
from vvwatch import __version__
from vvwatch.config import load
from vvwatch.config.loading import _OTHER_VARIABLES
from vvwatch.daemon.lifecycle import _CLOSING_SECONDS

CHART = CONFIG / "helm" / "vvwatch"
HELM = Path(sys.executable).with_name("helm")
POSTGRESQL: dict[str, Any] = {
    "database": "postgresql",
    "replicas": 3,
    "secrets": {"name": "vvwatch-secrets", "daemon": ["database-url", "secret-key", "admin-key"]},
}
EVERYTHING: dict[str, Any] = {
    **POSTGRESQL,
    "secrets": {
        "files": {
            "database-url": "postgresql://vvwatch:word@postgres/vvwatch",
            "secret-key": "k",
            "admin-key": "a",
        },
        "daemon": ["database-url", "secret-key", "admin-key"],
    },
    "imagePullSecrets": [{"name": "registry"}],
    "publicUrl": "https://vvwatch.example.org",
    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.org:3128"}],
    "serviceAccount": {"create": True, "annotations": {"example.org/role": "reader"}},
    "volumes": [{"name": "media", "persistentVolumeClaim": {"claimName": "media"}}],
    "volumeMounts": [{"name": "media", "mountPath": "/media"}],
    "podAnnotations": {"example.org/scrape": "true"},
    "nodeSelector": {"example.org/zone": "a"},
    "tolerations": [{"key": "media", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
}
TRIED = {
    "as it is": {},
    "sqlite with a class": {"state": {"size": "1Gi", "storageClass": "fast"}},
    "postgresql": POSTGRESQL,
    "everything": EVERYTHING,
}


def helm(*arguments: str, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    command = [str(HELM), *arguments, "--values", "-"]
    return subprocess.run(
        command, input=json.dumps(values), capture_output=True, text=True, check=False, timeout=60
    )


def render(values: dict[str, Any], release: str = "vvwatch") -> list[dict[str, Any]]:
    made = helm("template", release, str(CHART), "--kube-version", "1.30", values=values)
    assert made.returncode == 0, made.stderr
    return [each for each in yaml.safe_load_all(made.stdout) if each]


def of_kind(objects: list[dict[str, Any]], *kinds: str) -> dict[str, Any]:
    [found] = [each for each in objects if each["kind"] in kinds]
    return found


def pod_of(objects: list[dict[str, Any]]) -> dict[str, Any]:
    pod: dict[str, Any] = of_kind(objects, "StatefulSet", "Deployment")["spec"]["template"]["spec"]
    return pod


def mistakes(objects: list[dict[str, Any]], version: str) -> list[str]:
    found = []
    for each in objects:
        try:
            kubernetes_validate.validate(each, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{each['kind']}: {error.message}")
    return found


@pytest.fixture(params=list(TRIED.values()), ids=list(TRIED))
def values(request: pytest.FixtureRequest) -> dict[str, Any]:
    given: dict[str, Any] = request.param
    return given


def test_helm_finds_no_fault(values: dict[str, Any]) -> None:
    said = helm("lint", "--strict", "--quiet", str(CHART), values=values)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_kubernetes_knows_every_field_of_the_chart(values: dict[str, Any], version: str) -> None:
    assert mistakes(render(values), version) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"replicas": 2}, "SQLite has one node"),
        ({"database": "postgresql"}, "need database-url"),
        ({"secrets": {"daemon": ["admin-key"]}}, "no Secret with these entries"),
        ({"secrets": {"name": "a", "files": {"b": "c"}}}, "not both"),
        ({"replica": 1}, "replica"),
        ({"drainSeconds": "1m"}, "drainSeconds"),
    ],
)
def test_values_that_cannot_work_are_refused(wrong: dict[str, Any], said: str) -> None:
    made = helm("template", "vvwatch", str(CHART), values=wrong)
    assert made.returncode != 0
    assert said in made.stderr


def test_the_pod_is_that_of_kubernetes_yaml() -> None:
    """What keeps a pod confined, probed and drained is the same, however it is deployed."""
    other = deployments.kubernetes_objects()["Deployment"]["spec"]
    made = of_kind(render(POSTGRESQL), "Deployment")["spec"]
    assert (made["strategy"], made["replicas"]) == (other["strategy"], other["replicas"])
    pod, theirs = made["template"]["spec"], other["template"]["spec"]
    for name in ("terminationGracePeriodSeconds", "securityContext", "enableServiceLinks"):
        assert pod[name] == theirs[name]
    [container], [their] = pod["containers"], theirs["containers"]
    for name in (
        *("args", "env", "ports", "startupProbe", "livenessProbe", "readinessProbe", "lifecycle"),
        *("resources", "securityContext"),
    ):
        assert container[name] == their[name], name


def test_one_node_on_sqlite_keeps_its_state_and_is_never_two() -> None:
    spec = of_kind(render({}), "StatefulSet")["spec"]
    [claim] = spec["volumeClaimTemplates"]
    mounts = {
        mount["name"]: mount["mountPath"]
        for mount in spec["template"]["spec"]["containers"][0]["volumeMounts"]
    }
    assert spec["replicas"] == 1
    assert mounts[claim["metadata"]["name"]] == deployments.image_environ()["VVWATCH_STATE_DIR"]


def test_every_reference_in_the_chart_leads_somewhere(values: dict[str, Any]) -> None:
    objects = render(values)
    workload = of_kind(objects, "StatefulSet", "Deployment")
    pod = pod_of(objects)
    volumes = {volume["name"] for volume in pod["volumes"]}
    claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())}
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == volumes | claims
    labels = workload["spec"]["template"]["metadata"]["labels"]
    selectors = [workload["spec"]["selector"]["matchLabels"], of_kind(objects, "Service")["spec"]["selector"]]
    assert all(selector.items() <= labels.items() for selector in selectors)
    names = {(each["kind"], each["metadata"]["name"]) for each in objects}
    if values is EVERYTHING:
        assert ("ServiceAccount", pod["serviceAccountName"]) in names
        assert ("Secret", "vvwatch") in names
    known = {entry["name"] for entry in pod["containers"][0].get("env", ())}
    assert {name for name in known if name.startswith("VVWATCH_")} <= set(_OTHER_VARIABLES)


@pytest.mark.parametrize("release", ["vvwatch", "media"])
def test_the_configuration_of_the_chart_has_no_problems(tmp_path: Path, release: str) -> None:
    tables = '[indexes.dailies]\n[connectors.incoming]\ntype = "local"\npath = "/media"\n[local]\nroots = ["/media"]\n'
    objects = render({"config": tables, "drainSeconds": 90}, release)
    text = of_kind(objects, "ConfigMap")["data"]["vvwatch.toml"]
    path = tmp_path / "vvwatch.toml"
    path.write_text(text)
    config = load(path, {"VVWATCH_ADMIN_KEY": ADMIN_KEY})
    assert tomllib.loads(text)["state_dir"] == deployments.image_environ()["VVWATCH_STATE_DIR"]
    assert config.public_url == f"http://{of_kind(objects, 'Service')['metadata']['name']}:8787"
    pause = pod_of(objects)["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    stop = pod_of(objects)["terminationGracePeriodSeconds"] - pause
    assert stop > config.drain_seconds + _CLOSING_SECONDS


def test_a_changed_configuration_replaces_the_pods() -> None:
    def annotations(config: str) -> Any:
        workload = of_kind(render({"config": config}), "StatefulSet")
        return workload["spec"]["template"]["metadata"]["annotations"]

    assert annotations("[indexes.a]\n") != annotations("[indexes.b]\n")


def test_the_chart_is_of_this_version_and_its_values_are_described() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    schema = json.loads((CHART / "values.schema.json").read_text())
    given = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) == {*given, "global"}


def sidecar() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((CONFIG / "sidecar.yaml").read_text()))


@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
def test_kubernetes_knows_every_field_of_the_sidecar(version: str) -> None:
    assert mistakes(sidecar(), version) == []


def test_the_sidecar_starts_first_ends_last_and_shares_a_folder() -> None:
    pod = pod_of(sidecar())
    [ours] = pod["initContainers"]
    [theirs] = pod["containers"]
    assert ours["restartPolicy"] == "Always"
    assert ours["startupProbe"]["httpGet"]["path"] == "/readyz"
    [shared] = {mount["name"] for mount in ours["volumeMounts"]} & {
        mount["name"] for mount in theirs["volumeMounts"]
    }
    assert [volume for volume in pod["volumes"] if volume["name"] == shared and "emptyDir" in volume]
    assert of_kind(sidecar(), "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    for container in (ours, theirs):
        assert container["securityContext"]["readOnlyRootFilesystem"]


def test_the_configuration_of_the_sidecar_has_no_problems(tmp_path: Path) -> None:
    path = tmp_path / "vvwatch.toml"
    path.write_text(of_kind(sidecar(), "ConfigMap")["data"]["vvwatch.toml"])
    config = load(path, {"VVWATCH_ADMIN_KEY": ADMIN_KEY})
    pod = pod_of(sidecar())
    paths = {mount["mountPath"] for mount in pod["initContainers"][0]["volumeMounts"]}
    wanted = {table["path"] for table in tomllib.loads(path.read_text())["connectors"].values()}
    assert wanted | {str(config.state_dir)} <= paths
    assert pod["terminationGracePeriodSeconds"] > config.drain_seconds + _CLOSING_SECONDS


def test_the_notes_name_the_release(tmp_path: Path) -> None:
    """Only an installation prints them, so they are rendered as one of the objects."""
    chart = tmp_path / "vvwatch"
    shutil.copytree(CHART, chart)
    notes = chart / "templates" / "NOTES.txt"
    notes.with_name("notes.yaml").write_text("notes: |\n" + textwrap.indent(notes.read_text(), "  "))
    arguments = ("--namespace", "film", "--show-only", "templates/notes.yaml")
    made = helm("template", "media", str(chart), *arguments, values={})
    assert made.returncode == 0, made.stderr
    said = yaml.safe_load(made.stdout)["notes"]
    assert "kubectl --namespace film exec statefulset/media-vvwatch -- vvwatch status" in said
    assert "http://media-vvwatch:8787" in said
    assert "state-media-vvwatch-0" in said
