"""Connectors of each type: their keys, their credentials in exactly one way, and what is watched there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vvwatch.config import CloudConnector, Config, Problem, Secret

Read = Callable[..., Config]
Problems = Callable[..., list[Problem]]

PLANTED = "pl4nted"
S3 = '[connectors.a]\ntype = "s3"\nbucket = "studio-rushes"\n'
GCS = '[connectors.a]\ntype = "gcs"\nbucket = "studio-stage"\n'
AZURE = '[connectors.a]\ntype = "azure"\nstorage_account = "studio"\ncontainer = "footage"\n'
APPLICATION = 'tenant_id = "t"\nclient_id = "c"\n'
AMBIENT = 'credentials = "ambient"\n'
ENVIRON = {"KEY": PLANTED, "OTHER": "other", "ACCOUNT_KEY": "cGw0bnRlZA=="}


def found(problems: list[Problem]) -> list[tuple[int | None, str]]:
    return [(problem.line, problem.key) for problem in problems]


@pytest.mark.parametrize(
    ("text", "location"),
    [
        (S3 + AMBIENT, {"bucket": "studio-rushes", "region": "us-east-1", "ambient": True}),
        (
            S3
            + 'access_key_id = "AKIA"\nsecret_access_key_env = "KEY"\nendpoint_url = "HTTPS://minio:9000/"\n'
            'path_style = true\nrequester_pays = true\nproxy = "http://proxy:3128/"\nregion = "eu-1"',
            {
                "bucket": "studio-rushes",
                "region": "eu-1",
                "endpoint_url": "https://minio:9000",
                "path_style": True,
                "requester_pays": True,
                "proxy": "http://proxy:3128",
            },
        ),
        (GCS + 'endpoint_url = "http://e:1"', {"bucket": "studio-stage", "endpoint_url": "http://e:1"}),
        (
            GCS + AMBIENT + 'project = "p"\nuser_project = "q"',
            {"bucket": "studio-stage", "project": "p", "user_project": "q", "ambient": True},
        ),
        (
            AZURE + APPLICATION + 'client_secret_env = "KEY"\nauthority_url = "https://login.example.org"',
            {
                "storage_account": "studio",
                "container": "footage",
                "authority_url": "https://login.example.org",
            },
        ),
    ],
)
def test_a_location_holds_what_was_given_and_no_credentials(
    read: Read, text: str, location: dict[str, Any]
) -> None:
    assert read(text, ENVIRON).connectors["a"].location == location


@pytest.mark.parametrize(
    ("text", "credentials"),
    [
        (
            S3 + 'access_key_id = "AKIA"\nsecret_access_key_env = "KEY"',
            {"access_key_id": "AKIA", "secret_access_key": PLANTED},
        ),
        (
            S3 + 'access_key_id = "${OTHER}"\nsecret_access_key_file = "secret"\nsession_token_env = "OTHER"',
            {"access_key_id": "other", "secret_access_key": PLANTED, "session_token": "other"},
        ),
        (GCS + 'credentials_file = "account.json"', {"type": "service_account", "private_key": PLANTED}),
        (
            AZURE + APPLICATION + 'client_secret_file = "secret"',
            {"tenant_id": "t", "client_id": "c", "client_secret": PLANTED},
        ),
        (AZURE + 'account_key_env = "ACCOUNT_KEY"', {"account_key": "cGw0bnRlZA=="}),
        (AZURE + AMBIENT, None),
    ],
)
def test_credentials_are_read_as_one_secret(
    read: Read, tmp_path: Path, text: str, credentials: dict[str, str] | None
) -> None:
    (tmp_path / "secret").write_text(f"{PLANTED}\n")
    (tmp_path / "account.json").write_text(json.dumps({"type": "service_account", "private_key": PLANTED}))
    for name in ("secret", "account.json"):
        (tmp_path / name).chmod(0o600)
    config = read(text, ENVIRON)
    assert config.warnings == ()
    kept = {name: json.loads(secret.reveal()) for name, secret in config.connector_secrets.items()}
    assert kept == ({} if credentials is None else {"a": credentials})
    assert PLANTED not in repr(config)
    assert config.connector_secrets == {name: Secret(json.dumps(document)) for name, document in kept.items()}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (S3, "has no credentials"),
        (GCS, "has no credentials"),
        (GCS + 'endpoint_url = "https://e"', "has no credentials"),
        (AZURE, "has no credentials"),
        (
            S3 + AMBIENT + 'access_key_id = "A"\nsecret_access_key_env = "KEY"',
            "has more than one way of credentials: access_key_id, secret_access_key_env, credentials",
        ),
        (
            GCS + AMBIENT + 'credentials_file = "account.json"',
            "has more than one way of credentials: credentials_file, credentials",
        ),
        (
            AZURE + APPLICATION + 'client_secret_env = "KEY"\naccount_key_env = "ACCOUNT_KEY"',
            "has more than one way of credentials: tenant_id, client_id, client_secret_env, account_key_env",
        ),
        (S3 + 'access_key_id = "A"', "has no secret_access_key"),
        (
            S3 + 'access_key_id = "A"\nsecret_access_key_env = "KEY"\nsecret_access_key_file = "secret"',
            "has both secret_access_key_file and secret_access_key_env",
        ),
        (AZURE + APPLICATION, "has no client_secret"),
    ],
)
def test_credentials_are_given_in_exactly_one_way(problems: Problems, text: str, what: str) -> None:
    [problem] = problems(text, ENVIRON)
    assert (problem.line, problem.key, problem.what) == (1, "connectors.a", what)
    assert problem.allowed or "both" in what


def test_what_is_lacking_of_a_way_is_named(problems: Problems) -> None:
    assert found(problems(S3 + 'secret_access_key_env = "KEY"', ENVIRON)) == [
        (1, "connectors.a.access_key_id")
    ]
    text = AZURE + 'client_secret_env = "KEY"'
    assert found(problems(text, ENVIRON)) == [(1, "connectors.a.tenant_id"), (1, "connectors.a.client_id")]


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        (
            S3 + 'access_key_id = "A"\nsecret_access_key_env = "GONE"',
            "secret_access_key_env",
            "the variable GONE",
        ),
        (
            S3 + 'access_key_id = "A"\nsecret_access_key_file = "gone"',
            "secret_access_key_file",
            "cannot be read",
        ),
        (
            S3 + 'access_key_id = "A"\nsecret_access_key_env = "LINES"',
            "secret_access_key_env",
            "is no such secret",
        ),
        (GCS + 'credentials_file = ""', "credentials_file", "cannot be read"),
        (GCS + 'credentials_file = "secret"', "credentials_file", "holds no key of a service account"),
        (AZURE + 'account_key_env = "LINES"', "account_key_env", "is not the key of a storage account"),
    ],
)
def test_an_unusable_secret_is_a_problem_that_does_not_show_it(
    problems: Problems, tmp_path: Path, text: str, key: str, what: str
) -> None:
    (tmp_path / "secret").write_text(f'{{"type": "{PLANTED}"}}')
    [problem] = problems(text, {"LINES": f"{PLANTED}\n{PLANTED}"})
    assert (problem.key, problem.what.startswith(what)) == (f"connectors.a.{key}", True)
    assert PLANTED not in str(problem)


def test_a_secret_that_others_can_read_is_a_warning(read: Read, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(PLANTED)
    (tmp_path / "secret").chmod(0o644)
    text = S3 + 'access_key_id = "A"\nsecret_access_key_file = "secret"'
    [warning] = read(text).warnings
    assert (warning.line, warning.key) == (5, "connectors.a.secret_access_key_file")


@pytest.mark.parametrize(
    ("text", "line", "owner"),
    [
        (S3 + AMBIENT + 'path = "/srv"', "path", 'type = "local"'),
        (S3 + AMBIENT + 'storage_account = "x"', "storage_account", 'type = "azure"'),
        (S3 + AMBIENT + 'user_project = "x"', "user_project", 'type = "gcs"'),
        (GCS + AMBIENT + 'region = "x"', "region", 'type = "s3"'),
        (GCS + AMBIENT + "shared = true", "shared", 'type = "local"'),
        (AZURE + AMBIENT + 'bucket = "x"', "bucket", 'type = "s3", type = "gcs"'),
    ],
)
def test_a_key_of_another_type_is_told_whose_it_is(
    problems: Problems, text: str, line: str, owner: str
) -> None:
    [problem] = problems(text)
    assert (problem.key, problem.hint) == (f"connectors.a.{line}", f"it belongs to {owner}")
    assert problem.what == "is not a known key"
    assert "scopes" in problem.allowed


def test_a_misspelt_key_is_told_with_the_one_that_was_meant(problems: Problems) -> None:
    [problem] = problems(S3 + AMBIENT + 'regon = "eu-1"')
    assert (problem.line, problem.hint) == (5, "did you mean 'region'?")


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ('[connectors.a]\ntype = "s3"\n' + AMBIENT, ["bucket"]),
        ('[connectors.a]\ntype = "gcs"\n' + AMBIENT, ["bucket"]),
        ('[connectors.a]\ntype = "azure"\n' + AMBIENT, ["storage_account", "container"]),
        ('[connectors.a]\ntype = "local"\n', ["path"]),
        ('[connectors.a]\nbucket = "studio"\npath_style = true', ["type"]),
    ],
)
def test_what_a_type_needs_is_said(problems: Problems, text: str, missing: list[str]) -> None:
    assert found(problems(text)) == [(1, f"connectors.a.{name}") for name in missing]


def test_a_type_that_is_not_known_hides_nothing_else_behind_it(problems: Problems) -> None:
    [first, second] = problems('[connectors.a]\ntype = "s4"\nbucket = "x"\nscopes = ["write"]')
    assert (first.key, first.allowed) == ("connectors.a.type", "local, s3, gcs, azure")
    assert second.key == "connectors.a.scopes[0]"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (S3, 'bucket = "A"'),
        (S3, 'bucket = "a/b"'),
        (S3, 'bucket = "10.0.0.1"'),
        (S3, 'region = "EU"'),
        (S3, 'endpoint_url = "minio:9000"'),
        (S3, 'endpoint_url = "https://user:pl4nted@minio"'),
        (S3, 'endpoint_url = "https://minio?x=1"'),
        (S3, 'endpoint_url = "ftp://minio"'),
        (S3, 'proxy = "http://user:pl4nted@proxy"'),
        (S3, 'proxy = "http://proxy/path"'),
        (S3, 'ca_file = "ca.pem"'),
        (S3, 'ca_file = "/nowhere/ca.pem"'),
        (S3, 'export_base_path = "../up"'),
        (S3, 'export_base_path = "/pl4nted"'),
        (S3, 'credentials = "pl4nted"'),
        (GCS, 'bucket = "a_"'),
        (GCS, 'project = "A B"'),
        (AZURE, 'storage_account = "a-b"'),
        (AZURE, 'container = "a--b"'),
        (AZURE, 'authority_url = "login"'),
    ],
)
def test_what_a_store_cannot_have_is_refused(problems: Problems, text: str, line: str) -> None:
    key = line.partition(" ")[0]
    kept = "".join(f"{each}\n" for each in text.splitlines() if not each.startswith(f"{key} "))
    credentials = "" if key == "credentials" else AMBIENT
    [problem] = [each for each in problems(kept + credentials + line) if "no credentials" not in each.what]
    assert problem.key == f"connectors.a.{key}"
    assert PLANTED not in str(problem)


def test_an_endpoint_for_all_who_name_none(read: Read, problems: Problems) -> None:
    text = '[storage.s3]\nendpoint_url = "http://m:1/"\npath_style = true\n[storage.gcs]\nendpoint_url = "http://g:1"\n'
    config = read(text + GCS)
    assert config.storage.model_dump()["s3"] == {"endpoint_url": "http://m:1", "path_style": True}
    assert config.connectors["a"].location == {"bucket": "studio-stage"}
    [problem] = problems('[storage.azure]\nca_file = "/nowhere/ca.pem"')
    assert (problem.line, problem.key) == (2, "storage.azure.ca_file")


def test_room_for_media_on_their_way(read: Read, problems: Problems) -> None:
    assert read("").processing.spool_bytes == 100 << 30
    assert read(f"[processing]\nspool_bytes = {64 << 20}").processing.spool_bytes == 64 << 20
    assert found(problems(f"[processing]\nspool_bytes = {(64 << 20) - 1}")) == [(2, "processing.spool_bytes")]


def automation(connector: str, prefix: str, target: str, subpath: str) -> str:
    return (
        f'[indexes.main]\n[automations.main]\nindex = "main"\nconnector = "{connector}"\nprefix = "{prefix}"\n'
        f'export = {{ connector = "{target}", subpath = "{subpath}" }}\n'
    )


def cloud(name: str, text: str, options: str = "") -> str:
    both = 'scopes = ["import", "export"]\n'
    return text.replace("[connectors.a]", f"[connectors.{name}]") + AMBIENT + both + options


@pytest.mark.parametrize("text", [S3, GCS, AZURE], ids=["s3", "gcs", "azure"])
def test_every_key_of_a_cloud_may_begin_a_prefix(read: Read, text: str) -> None:
    config = read(cloud("a", text) + automation("a", "/in//", "a", "out"))
    assert config.automations["main"].prefix == "/in//"
    assert config.warnings == ()


@pytest.mark.parametrize("text", [S3, GCS, AZURE], ids=["s3", "gcs", "azure"])
@pytest.mark.parametrize(
    ("options", "prefix", "subpath", "echoes"),
    [
        ("", "", "out", True),
        ("", "in/", "out", False),
        ("", "out", "out", True),
        ("", "out/", "./out//", True),
        ('export_base_path = "in"\n', "in/", "out", True),
        ('export_base_path = "elsewhere"\n', "in/", "in", False),
    ],
)
def test_exports_into_the_bucket_that_is_watched_are_told(
    read: Read, text: str, options: str, prefix: str, subpath: str, echoes: bool
) -> None:
    two = cloud("a", text) + cloud("b", text, options)
    warnings = read(two + automation("a", prefix, "b", subpath)).warnings
    assert [warning.key for warning in warnings] == ["automations.main.export"] * echoes


def test_equal_buckets_of_two_stores_are_no_echo(read: Read) -> None:
    two = cloud("a", S3) + cloud("b", S3, 'endpoint_url = "https://minio"\n')
    assert read(two + automation("a", "", "b", "out")).warnings == ()


def test_a_cloud_is_reached_by_every_node(read: Read) -> None:
    shared = {"VVWATCH_DATABASE_URL": "postgresql://h/media"}
    config = read(cloud("a", S3) + automation("a", "", "a", "out"), shared)
    assert [warning.key for warning in config.warnings] == ["automations.main.export"]


def test_no_token_goes_to_azure_in_clear(problems: Problems) -> None:
    clear = 'endpoint_url = "http://127.0.0.1:10000/devstoreaccount1"\n'
    assert found(problems(AZURE + AMBIENT + clear)) == [(6, "connectors.a.endpoint_url")]
    assert found(problems(f"[storage.azure]\n{clear}" + AZURE + AMBIENT)) == [
        (3, "connectors.a.endpoint_url")
    ]
    assert problems(AZURE + 'account_key_env = "ACCOUNT_KEY"\n' + clear, ENVIRON) == []


SQS = "https://sqs.eu-central-1.amazonaws.com/123456789012/rushes"
PUBSUB = "projects/studio/subscriptions/stage"
STORAGE_QUEUE = "https://studio.queue.core.windows.net/footage"
CLOUDS = {
    "s3": (S3 + AMBIENT, SQS),
    "gcs": (GCS + AMBIENT, PUBSUB),
    "azure": (AZURE + AMBIENT, STORAGE_QUEUE),
}


def events(provider: str, more: str = "", queue: str = "") -> str:
    connector, usual = CLOUDS[provider]
    return f'{connector}[connectors.a.events]\nqueue = "{queue or usual}"\n{more}'


@pytest.mark.parametrize("provider", CLOUDS)
def test_events_are_declared_with_their_queue_alone(read: Read, provider: str) -> None:
    connector = read(events(provider)).connectors["a"]
    assert isinstance(connector, CloudConnector)
    assert connector.events is not None
    assert connector.events.document == {
        "queue": CLOUDS[provider][1],
        "mode": "exclusive",
        "sweep_seconds": 3600.0,
        "late_seconds": 60.0,
    }
    assert "events" not in connector.location


def test_all_of_events_is_kept(read: Read) -> None:
    text = (
        'mode = "shared"\nsweep_interval = "15m"\nlate_after = "0s"\nendpoint_url = "http://127.0.0.1:8085/"'
    )
    connector = read(events("gcs", text)).connectors["a"]
    assert isinstance(connector, CloudConnector)
    assert connector.events is not None
    assert connector.events.document == {
        "queue": PUBSUB,
        "mode": "shared",
        "sweep_seconds": 900.0,
        "late_seconds": 0.0,
        "endpoint_url": "http://127.0.0.1:8085",
    }


@pytest.mark.parametrize(
    ("provider", "queue"),
    [
        ("s3", "http://127.0.0.1:4566/000000000000/rushes"),
        ("s3", "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/rushes"),
        ("azure", "http://127.0.0.1:10001/devstoreaccount1/footage"),
        ("gcs", "projects/example.org:studio/subscriptions/a.b~c"),
    ],
)
def test_queues_of_emulators_and_other_partitions_are_queues(read: Read, provider: str, queue: str) -> None:
    connector = read(events(provider, queue=queue)).connectors["a"]
    assert isinstance(connector, CloudConnector)
    assert connector.events is not None
    assert connector.events.queue == queue


@pytest.mark.parametrize(
    ("provider", "queue", "hint"),
    [
        ("s3", "arn:aws:sqs:eu-central-1:123456789012:rushes", "that is its ARN"),
        ("s3", "rushes", ""),
        ("s3", "https://sqs.eu-central-1.amazonaws.com/123456789012/a?b=c", ""),
        ("s3", "https://me:pl4nted@sqs.eu-central-1.amazonaws.com/123456789012/a", ""),
        ("gcs", "projects/studio/topics/stage", "that is a topic"),
        ("gcs", "stage", ""),
        ("azure", "https://studio.blob.core.windows.net/footage", "that is the address of blobs"),
        (
            "azure",
            "https://studio.queue.core.windows.net/footage?sv=1&sig=pl4nted",
            "a signature is of no use",
        ),
        ("azure", "https://studio.queue.core.windows.net/a--b", ""),
    ],
)
def test_what_is_no_queue_is_refused_with_what_was_meant(
    problems: Problems, provider: str, queue: str, hint: str
) -> None:
    [problem] = problems(events(provider, queue=queue))
    assert problem.key == "connectors.a.events.queue"
    assert "is no " in problem.what
    assert problem.allowed
    assert problem.hint.startswith(hint)
    assert bool(hint) == bool(problem.hint)
    assert PLANTED not in str(problem)


def test_strange_keys_of_events_are_refused(problems: Problems) -> None:
    [problem] = problems(events("s3", 'sweep_intervall = "1h"'))
    assert (problem.key, problem.hint) == (
        "connectors.a.events.sweep_intervall",
        "did you mean 'sweep_interval'?",
    )
    [problem] = problems(events("azure", 'mode = "exlusive"'))
    assert (problem.allowed, problem.hint) == ("exclusive, shared", "did you mean 'exclusive'?")
    [problem] = problems(f'{S3}{AMBIENT}[connectors.a.events]\nmode = "shared"')
    assert (problem.key, problem.what) == ("connectors.a.events.queue", "is required")


def test_a_folder_has_no_events(problems: Problems, media: Path) -> None:
    text = f'[local]\nroots = ["{media}"]\n[connectors.a]\ntype = "local"\npath = "{media}/incoming"\n'
    [problem] = problems(f'{text}[connectors.a.events]\nqueue = "{SQS}"')
    assert (problem.key, problem.what) == ("connectors.a.events", "is not a known key")
    assert problem.hint == 'it belongs to type = "s3", type = "gcs", type = "azure"'


def test_two_connectors_share_a_queue_only_if_both_leave_what_is_not_theirs(problems: Problems) -> None:
    other = (
        events("s3", 'mode = "shared"').replace("connectors.a", "connectors.b").replace("rushes", "lake", 1)
    )
    [problem] = problems(events("s3") + other)
    assert (problem.key, problem.what) == (
        "connectors.b.events.queue",
        "is the queue of the connector 'a' as well",
    )
    assert problems(events("s3", 'mode = "shared"\n') + other) == []
