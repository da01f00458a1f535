"""config/ deploys three replicas: each file is sound, they agree, and what they set up loses nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest

from tests import deployments
from tests.daemon_process import ADMIN_KEY
from tests.deployments import CONFIG, REPLICAS, ROOT, Deployed
from vvwatch.api.http.guards import PROBES
from vvwatch.api.routes.probes import router
from vvwatch.cli.root import vvwatch as cli
from vvwatch.config import Config, ConfigInvalid, load
from vvwatch.config.loading import _OTHER_VARIABLES, ENVIRONMENT
from vvwatch.core.content_types import ANY_BYTES, content_type
from vvwatch.daemon.lifecycle import _CLOSING_SECONDS
from vvwatch.store.admin.secret_keys import find_keys

DAEMON_BYTES = 1 << 28  # what it takes itself, above what its decoding children may
SECRET_KEY = "c2l4dGVlbi1ieXRlcy1hbmQtc2l4dGVlbi1ieXRlcyE="
SERVICE_KEYS = {
    *("build", "image", "command", "depends_on", "deploy", "environment", "secrets", "ports", "volumes"),
    *("healthcheck", "restart", "stop_grace_period", "user", "read_only", "cap_drop"),
    "security_opt",
}
"""What Compose knows of a service, as far as it is used here."""


@pytest.fixture(params=[deployments.compose(), deployments.kubernetes()], ids=lambda each: each.name)
def replicas(request: pytest.FixtureRequest) -> Deployed:
    found: Deployed = request.param
    return found


@pytest.fixture
def environ(replicas: Deployed, tmp_path: Path) -> dict[str, str]:
    """A container's environment, its secrets in files of this machine."""
    secrets = {
        "database-url": "postgresql://vvwatch:word@postgres/vvwatch",
        "secret-key": SECRET_KEY,
        "admin-key": ADMIN_KEY,
    }
    return replicas.environ | written(secrets, replicas.environ, tmp_path)


def written(secrets: dict[str, str], variables: dict[str, str], folder: Path) -> dict[str, str]:
    """Each `_FILE` variable, with a file here that holds what the file of that name is to hold."""
    moved = {}
    for name, path in variables.items():
        if name.endswith("_FILE"):
            file = folder / Path(path).name
            file.write_text(secrets[file.name] + "\n")
            file.chmod(0o400)
            moved[name] = str(file)
    return moved


@pytest.fixture
def config(environ: dict[str, str]) -> Config:
    return load(REPLICAS, environ)


def parsed(line: list[str]) -> click.Context:
    """What the command line `vvwatch …` means. Raises click's errors when it means nothing."""
    assert line[0] == "vvwatch"
    command = cli.get_command(click.Context(cli), line[1])
    assert command is not None, line
    return command.make_context(line[1], line[2:])


def test_there_are_three_replicas(replicas: Deployed) -> None:
    assert replicas.count == 3


def test_the_configuration_of_the_replicas_has_no_problems(config: Config, environ: dict[str, str]) -> None:
    assert config.replicated
    assert config.admin_key is not None
    assert config.admin_key.reveal() == ADMIN_KEY
    assert find_keys(config.state_dir, environ).text.strip() == SECRET_KEY.encode()
    assert {warning.key for warning in config.warnings if "no folder" not in warning.what} == {"listen"}


def test_every_replica_reads_the_same_file_and_reaches_the_same_folders(
    replicas: Deployed, config: Config
) -> None:
    assert replicas.environ["VVWATCH_CONFIG"] == replicas.config
    assert {str(root) for root in config.local.roots} == replicas.shared
    assert all(connector.location.get("shared") for connector in config.connectors.values())


def test_a_replicas_state_lies_on_a_disk(replicas: Deployed) -> None:
    """What passes through the spool may be as large as a day's recording: no tmpfs holds that."""
    service = deployments.compose_file()["services"]["vvwatch"]
    volumes = deployments.kubernetes_objects()["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert "tmpfs" not in service
    assert all(volume.get("emptyDir", {}).get("medium") != "Memory" for volume in volumes)


def test_a_replicas_state_is_its_own_and_all_else_is_read_only(replicas: Deployed, config: Config) -> None:
    assert replicas.own == {str(config.state_dir)}
    assert replicas.confined


def test_every_variable_has_a_meaning(replicas: Deployed) -> None:
    known = {*ENVIRONMENT, *_OTHER_VARIABLES}
    assert {name for name in replicas.environ if name.startswith("VVWATCH_")} <= known


def test_every_secret_is_where_its_variable_says(replicas: Deployed) -> None:
    files = {value for name, value in replicas.environ.items() if name.endswith("_FILE")}
    assert files == replicas.secrets
    assert len(files) == 3


def test_a_replica_has_the_time_that_it_takes_to_drain(replicas: Deployed, config: Config) -> None:
    assert replicas.stop_seconds > config.drain_seconds + _CLOSING_SECONDS


def test_the_port_is_the_one_that_is_listened_on(replicas: Deployed, config: Config) -> None:
    assert config.address == ("0.0.0.0", replicas.port)
    assert int(deployments.instruction("EXPOSE")) == replicas.port


def test_a_replica_has_room_for_what_it_does_at_once(replicas: Deployed, config: Config) -> None:
    wanted = config.processing
    assert replicas.cpus == wanted.concurrency
    assert replicas.memory_bytes >= wanted.concurrency * wanted.memory_bytes + DAEMON_BYTES


def test_the_image_and_those_who_run_it_agree(replicas: Deployed) -> None:
    assert replicas.user == deployments.instruction("USER") == "65532:65532"
    assert Path(replicas.image.partition(":")[0]).name == "vvwatch"
    folders = " ".join(rest for word, rest in deployments.instructions() if word == "RUN")
    assert all(folder in folders for folder in replicas.own | replicas.shared)


def test_command_lines_are_commands(replicas: Deployed) -> None:
    entry = json.loads(deployments.instruction("ENTRYPOINT"))
    check = json.loads(deployments.instruction("HEALTHCHECK").partition(" CMD ")[2])
    health = deployments.compose_file()["services"]["vvwatch"]["healthcheck"]["test"]
    assert parsed([*entry, *replicas.args]).info_name == "run"
    assert parsed([*entry, *json.loads(deployments.instruction("CMD"))]).info_name == "run"
    assert health[0] == "CMD"
    assert parsed(health[1:]).info_name == parsed(check).info_name == "health"


def test_old_builders_know_every_flag_of_the_image() -> None:
    """buildah 4.3 refuses `--start-interval`; Compose's own health check has it."""
    flags = {word for word in deployments.instruction("HEALTHCHECK").split() if word.startswith("--")}
    assert {flag.partition("=")[0] for flag in flags} <= {
        "--interval",
        "--timeout",
        "--start-period",
        "--retries",
    }


def test_the_image_is_built_from_all_that_the_package_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    needed |= {Path(name).parts[0] for name in (*wheel["packages"], *wheel["shared-data"])}
    copied = [rest.split() for word, rest in deployments.instructions() if word == "COPY"]
    assert {Path(name).parts[0] for words in copied[:-1] for name in words[:-1]} == needed
    assert all((ROOT / name).exists() for name in needed)


def test_no_secret_gets_into_the_image() -> None:
    copied = {
        name for word, rest in deployments.instructions() if word == "COPY" for name in rest.split()[:-1]
    }
    files = [secret["file"] for secret in deployments.compose_file()["secrets"].values()]
    folders = {(CONFIG / file).resolve().relative_to(ROOT).parts[0] for file in files}
    assert folders.isdisjoint({Path(name).parts[0] for name in copied})
    assert {f"/{folder}/" for folder in folders} <= set((ROOT / ".gitignore").read_text().splitlines())


def test_the_image_has_what_postgresql_and_every_store_need() -> None:
    locked = (CONFIG / "requirements" / "image.txt").read_text()
    for package in ("aiobotocore", "gcloud-aio-storage", "azure-storage-blob", "asyncpg", "videovector"):
        assert f"\n{package}==" in f"\n{locked}"
    assert deployments.instruction("ARG") == "BASE=python:3.11-slim"


def test_compose_knows_every_key_and_every_reference_leads_somewhere() -> None:
    document = deployments.compose_file()
    assert set(document) == {"name", "services", "secrets", "volumes"}
    for service in document["services"].values():
        assert set(service) <= SERVICE_KEYS
        assert set(service["secrets"]) <= set(document["secrets"])
        assert set(service.get("depends_on", {})) <= set(document["services"])
        named = {
            mount.split(":")[0] for mount in service["volumes"] if ":" in mount and not mount.startswith("./")
        }
        assert named <= set(document["volumes"])
    build = document["services"]["vvwatch"]["build"]
    assert (CONFIG / build["context"] / build["dockerfile"]).is_file()


def test_compose_waits_for_the_database_and_gives_each_replica_a_port() -> None:
    services = deployments.compose_file()["services"]
    assert services["vvwatch"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["postgres"]["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]
    assert int(services["postgres"]["image"].removeprefix("postgres:")) >= 16
    host, ports, _ = services["vvwatch"]["ports"][0].split(":")
    first, last = map(int, ports.split("-"))
    assert host == "127.0.0.1"
    assert last - first + 1 == services["vvwatch"]["deploy"]["replicas"]


def test_the_secrets_of_compose_are_made_by_the_commands_at_its_head(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("NOT TESTED: the commands that make secrets, because openssl is missing")
    head = deployments.COMPOSE_FILE.read_text().split("name:")[0]
    commands = [line.removeprefix("#   ") for line in head.splitlines() if line.startswith("#   ")]
    script = "\n".join(commands).replace("sudo chown 65532:65532", "ls")
    root = tmp_path / "root"
    (root / "config").mkdir(parents=True)
    subprocess.run(["bash", "-euc", script], cwd=root, check=True, capture_output=True)

    document = deployments.compose_file()
    made = {name: root / "config" / secret["file"] for name, secret in document["secrets"].items()}
    assert all(file.stat().st_mode & 0o777 == 0o400 for file in made.values())
    environ = {
        name: str(made[Path(path).name]) if name.endswith("_FILE") else path
        for name, path in deployments.compose().environ.items()
    }
    config = load(REPLICAS, environ)
    password = made["postgres-password"].read_text().strip()
    account = document["services"]["postgres"]["environment"]
    user, database = account["POSTGRES_USER"], account["POSTGRES_DB"]
    assert config.database_url == f"postgresql://{user}:{password}@postgres/{database}"
    assert find_keys(config.state_dir, environ).text.strip() == made["secret-key"].read_bytes().strip()


def kubernetes_mistakes(objects: list[dict[str, Any]], version: str) -> list[str]:
    mistakes = []
    for each in objects:
        try:
            kubernetes_validate.validate(each, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            mistakes.append(f"{each['kind']}: {error.message}")
    return mistakes


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_kubernetes_knows_every_field(version: str) -> None:
    assert kubernetes_mistakes(list(deployments.kubernetes_objects().values()), version) == []


def test_a_mistake_in_a_field_would_be_noticed() -> None:
    deployment = deployments.kubernetes_objects()["Deployment"]
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    assert "readynessProbe" in str(kubernetes_mistakes([deployment], "1.30"))


def test_kubernetes_has_the_same_configuration() -> None:
    assert deployments.kubernetes_objects()["ConfigMap"]["data"] == {REPLICAS.name: REPLICAS.read_text()}


def test_every_reference_in_kubernetes_leads_somewhere() -> None:
    objects = deployments.kubernetes_objects()
    pod = objects["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["config"]["configMap"]["name"] == objects["ConfigMap"]["metadata"]["name"]
    assert [item["key"] for item in volumes["config"]["configMap"]["items"]] == [REPLICAS.name]
    assert volumes["secrets"]["secret"]["secretName"] == objects["Secret"]["metadata"]["name"]
    claim = objects["PersistentVolumeClaim"]
    assert volumes["media"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for container in (*pod["spec"]["initContainers"], *pod["spec"]["containers"]):
        assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
    assert objects["Service"]["spec"]["selector"] == labels
    for spec in (objects["Deployment"]["spec"], objects["PodDisruptionBudget"]["spec"]):
        assert spec["selector"]["matchLabels"] == labels
    for constraint in pod["spec"]["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"] == labels


def test_kubernetes_asks_for_what_the_daemon_answers() -> None:
    objects = deployments.kubernetes_objects()
    [container] = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    paths = {getattr(route, "path", "") for route in router.routes}
    ports = {port["name"] for port in container["ports"]}
    asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {each["path"] for each in asked.values()} <= paths & PROBES
    assert {each["port"] for each in asked.values()} <= ports
    assert asked["readiness"]["path"] == "/readyz"
    assert asked["liveness"]["path"] == "/healthz"
    assert {port["targetPort"] for port in objects["Service"]["spec"]["ports"]} <= ports


def test_the_folders_of_the_connectors_are_made_on_kubernetes_and_in_the_image() -> None:
    folders = {table["path"] for table in tomllib.loads(REPLICAS.read_text())["connectors"].values()}
    pod = deployments.kubernetes_objects()["Deployment"]["spec"]["template"]["spec"]
    made = " ".join(rest for word, rest in deployments.instructions() if word == "RUN")
    assert set(pod["initContainers"][0]["command"][2:]) == folders
    assert all(folder in made for folder in folders)


def test_the_address_is_the_name_of_the_service(config: Config) -> None:
    service = deployments.kubernetes_objects()["Service"]
    address = f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert config.public_url == address
    assert service["metadata"]["name"] in deployments.compose_file()["services"]


def test_a_kubernetes_service_sets_no_variables_of_ours() -> None:
    """Links would: VVWATCH_PORT and others, which look like ours."""
    assert (
        deployments.kubernetes_objects()["Deployment"]["spec"]["template"]["spec"]["enableServiceLinks"]
        is False
    )


def test_a_rolling_update_leaves_as_many_replicas_as_there_were() -> None:
    objects = deployments.kubernetes_objects()
    strategy = objects["Deployment"]["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert objects["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_secrets_that_nobody_has_replaced_are_refused(tmp_path: Path) -> None:
    given = deployments.kubernetes_objects()["Secret"]["stringData"]
    assert all("REPLACE" in value for value in given.values())
    environ = written(given, deployments.kubernetes().environ, tmp_path)
    with pytest.raises(ConfigInvalid, match="does not hold an API key"):
        load(REPLICAS, environ)


def test_the_drop_in_for_postgresql_hands_over_the_same_secrets() -> None:
    lines = (ROOT / "systemd" / "30-postgresql.conf").read_text().splitlines()
    loaded = {line.split("=")[1].split(":")[0] for line in lines if line.startswith("LoadCredential=")}
    variables = dict(line.split("=")[1:] for line in lines if line.startswith("Environment="))
    containers = deployments.compose().environ
    assert variables.keys() == {name for name in containers if name.endswith("_FILE")}
    assert {value.removeprefix("%d/") for value in variables.values()} == loaded


def test_no_other_file_deploys_anything() -> None:
    files = {path.name for path in CONFIG.iterdir() if path.suffix in (".yaml", ".yml")}
    assert {name for name in files if not name.startswith("prometheus-")} == {
        "compose.yaml",
        "kubernetes.yaml",
        "sidecar.yaml",  # see test_helm.py
    }


@pytest.mark.parametrize("name", ["replicas.toml", "kubernetes.yaml"])
def test_shipped_patterns_name_supported_types_alone(name: str) -> None:
    """Day two: a pattern named a type that nothing could read."""
    patterns = re.findall(r'(?m)^\s*#?\s*pattern = "\*\.\{?([a-z0-9,]+)\}?"', (CONFIG / name).read_text())
    named = {ending for pattern in patterns for ending in pattern.split(",")}
    assert {ending for ending in named if content_type(f"a.{ending}") == ANY_BYTES} == set()
    assert named
