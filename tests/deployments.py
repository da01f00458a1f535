"""What compose.yaml, kubernetes.yaml and the Containerfile say, in the same words, so that they can be compared."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config"
REPLICAS = CONFIG / "replicas.toml"
COMPOSE_FILE = CONFIG / "compose.yaml"

_SIZES = {"M": 1 << 20, "Mi": 1 << 20, "Gi": 1 << 30}


@dataclass(frozen=True)
class Deployed:
    """What a container platform is told of vvwatch; paths are those inside a container."""

    name: str
    count: int
    image: str
    environ: dict[str, str]
    args: list[str]
    config: str
    secrets: set[str]
    own: set[str]
    shared: set[str]
    port: int
    stop_seconds: float
    cpus: float
    memory_bytes: int
    user: str
    confined: bool


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Containerfile in order, each with what follows it on its lines."""
    text = (CONFIG / "Containerfile").read_text()
    bare = "\n".join(line for line in text.splitlines() if line and not line.startswith("#"))
    lines = bare.replace("\\\n", " ").splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def instruction(word: str) -> str:
    """What follows the last instruction of that name."""
    return [rest for name, rest in instructions() if name == word][-1]


def image_environ() -> dict[str, str]:
    return dict(each.split("=", 1) for each in shlex.split(instruction("ENV")))


def compose_file() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
    return document


def kubernetes_objects() -> dict[str, dict[str, Any]]:
    """The objects by their kind; there is one of each."""
    objects = list(yaml.safe_load_all((CONFIG / "kubernetes.yaml").read_text()))
    return {each["kind"]: each for each in objects}


def compose() -> Deployed:
    service = compose_file()["services"]["vvwatch"]
    mounts = [mount.split(":") for mount in service["volumes"]]
    limits = service["deploy"]["resources"]["limits"]
    return Deployed(
        name="compose",
        count=service["deploy"]["replicas"],
        image=service["image"],
        environ=image_environ() | service["environment"],
        args=service["command"],
        config=next(mount[1] for mount in mounts if mount[0] == f"./{REPLICAS.name}"),
        secrets={f"/run/secrets/{name}" for name in service["secrets"]},
        own={mount[0] for mount in mounts if len(mount) == 1},
        shared={mount[1] for mount in mounts if mount[0] in compose_file()["volumes"]},
        port=int(service["ports"][0].split(":")[-1]),
        stop_seconds=float(service["stop_grace_period"].removesuffix("s")),
        cpus=float(limits["cpus"]),
        memory_bytes=size_bytes(limits["memory"]),
        user=service["user"],
        confined=service["read_only"]
        and service["cap_drop"] == ["ALL"]
        and service["security_opt"] == ["no-new-privileges:true"],
    )


def kubernetes() -> Deployed:
    spec = kubernetes_objects()["Deployment"]["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    limits = container["resources"]["limits"]
    [config] = _mounted(pod, container, "configMap")
    [secrets] = _mounted(pod, container, "secret")
    identity = pod["securityContext"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    return Deployed(
        name="kubernetes",
        count=spec["replicas"],
        image=container["image"],
        environ=image_environ() | {each["name"]: each["value"] for each in container["env"]},
        args=container["args"],
        config=f"{config}/{_volume(pod, 'configMap')['configMap']['items'][0]['path']}",
        secrets={f"{secrets}/{name}" for name in kubernetes_objects()["Secret"]["stringData"]},
        own=_mounted(pod, container, "emptyDir"),
        shared=_mounted(pod, container, "persistentVolumeClaim"),
        port=container["ports"][0]["containerPort"],
        stop_seconds=pod["terminationGracePeriodSeconds"] - pause,
        cpus=float(limits["cpu"]),
        memory_bytes=size_bytes(limits["memory"]),
        user=f"{identity['runAsUser']}:{identity['runAsGroup']}",
        confined=identity["runAsNonRoot"]
        and identity["seccompProfile"] == {"type": "RuntimeDefault"}
        and all(map(_is_confined, [*pod["initContainers"], container])),
    )


def size_bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)(\w+)", text)
    assert match is not None
    return int(match[1]) * _SIZES[match[2]]


def _is_confined(container: dict[str, Any]) -> bool:
    return bool(
        container["securityContext"]
        == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    )


def _volume(pod: dict[str, Any], kind: str) -> dict[str, Any]:
    [volume] = [volume for volume in pod["volumes"] if kind in volume]
    return dict(volume)


def _mounted(pod: dict[str, Any], container: dict[str, Any], kind: str) -> set[str]:
    """Where the volume of this kind is mounted."""
    name = _volume(pod, kind)["name"]
    return {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == name}
