"""The policies and roles of `config/permissions` allow what is needed, and no more."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.emulators.moto import make_user
from tests.emulators.s3_server import S3Server, make_bucket, raw_client
from tests.providers.s3.s3_buckets import adapter
from vvwatch.errors import AccessDenied
from vvwatch.providers.s3.policy import build_statement
from vvwatch.providers.s3.queue import SqsQueue
from vvwatch.providers.s3.storage import S3Credentials, S3Location, S3Storage

PERMISSIONS = Path(__file__).parents[1] / "config" / "permissions"
BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"


def statements(name: str, bucket: str) -> list[dict[str, Any]]:
    text = (PERMISSIONS / name).read_text().replace("BUCKET", bucket).replace("EXPORT_BASE_PATH", "exports")
    found: list[dict[str, Any]] = json.loads(text)["Statement"]
    return found


@asynccontextmanager
async def as_user(server: S3Server, policy: str, folder: Path) -> AsyncIterator[S3Storage]:
    """The adapter as a user who has just this policy, over a bucket with one object."""
    name = f"b-{secrets.token_hex(4)}"
    await make_bucket(server, name)
    async with raw_client(server) as client:
        await client.put_object(Bucket=name, Key="in/a.mp4", Body=b"bytes")
    user = await make_user(server, name, *statements(policy, name))
    credentials = S3Credentials(user.access_key_id, user.secret_access_key)
    async with adapter(folder, S3Location(name, user.region, user.endpoint_url), credentials) as storage:
        yield storage


@pytest.mark.anyio
async def test_the_policy_for_import_lists_and_reads_and_does_not_write(
    moto_iam: S3Server, tmp_path: Path
) -> None:
    async with as_user(moto_iam, "s3-import.json", tmp_path) as storage:
        await storage.check(read=True, write_below=None)
        obj = await storage.stat("in/a.mp4")
        async with storage.descriptor(obj.key, obj.version):
            pass
        with pytest.raises(AccessDenied) as denied:
            await storage.check(read=False, write_below="exports")
        assert "s3:PutObject" in denied.value.hint


@pytest.mark.anyio
async def test_the_policy_for_export_writes_below_its_path_and_nowhere_else(
    moto_iam: S3Server, tmp_path: Path
) -> None:
    async with as_user(moto_iam, "s3-export.json", tmp_path) as storage:
        await storage.check(read=False, write_below="exports")
        source = tmp_path / "export.json"
        source.write_bytes(b"{}" * (5 << 20))  # in parts
        written = await storage.write("exports/results/1.json", source, content_type="application/json")
        with pytest.raises(AccessDenied):
            await storage.delete("exports/results/1.json", written.version)
        with pytest.raises(AccessDenied):
            await storage.check(read=False, write_below="elsewhere")
        with pytest.raises(AccessDenied) as denied:
            await storage.check(read=True, write_below=None)
        assert "s3:ListBucket" in denied.value.hint


@pytest.mark.anyio
async def test_the_policy_for_events_takes_messages_and_changes_no_queue(moto_iam: S3Server) -> None:
    name = f"b-{secrets.token_hex(4)}"
    await make_bucket(moto_iam, name)
    async with raw_client(moto_iam, "sqs") as sqs:
        url = (await sqs.create_queue(QueueName=name))["QueueUrl"]
        await sqs.send_message(QueueUrl=url, MessageBody="one")
    arn = f"arn:aws:sqs:us-east-1:123456789012:{name}"
    policy = json.loads(json.dumps(statements("s3-events.json", name)).replace("QUEUE_ARN", arn))
    user = await make_user(moto_iam, name, *policy)
    key = S3Credentials(user.access_key_id, user.secret_access_key)
    queue = SqsQueue(url, S3Location(name, user.region, user.endpoint_url), key)
    found = {finding.subject: finding.state for finding in await queue.examine()}
    assert found == {"queue": "ok", "rights": "ok", "queue policy": "problem", "notifications": "problem"}
    assert len(await queue.receive()) == 1
    with pytest.raises(AccessDenied) as denied:
        await queue.repair()
    assert denied.value.hint == f"grant sqs:SetQueueAttributes on {arn}"
    await queue.aclose()


def test_the_policy_of_a_queue_is_what_repair_makes() -> None:
    arn = "arn:aws:sqs:us-east-1:123456789012:changes"
    text = (PERMISSIONS / "sqs-queue-policy.json").read_text()
    (found,) = json.loads(text.replace("QUEUE_ARN", arn).replace("BUCKET", "media"))["Statement"]
    assert found == build_statement(arn, "arn:aws:s3:::media")


@pytest.mark.parametrize(
    ("name", "permissions"),
    [
        ("gcs-import.yaml", {"list", "get"}),
        ("gcs-export.yaml", {"create", "get", "delete"}),
    ],
)
def test_a_role_of_google_cloud_names_objects_alone(name: str, permissions: set[str]) -> None:
    role = yaml.safe_load((PERMISSIONS / name).read_text())
    assert set(role["includedPermissions"]) == {f"storage.objects.{each}" for each in permissions}


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        ("azure-import.json", {"read"}),
        ("azure-export.json", {"read", "add/action", "write", "delete"}),
    ],
)
def test_a_role_of_azure_names_blobs_alone(name: str, actions: set[str]) -> None:
    role = json.loads((PERMISSIONS / name).read_text())
    assert set(role["DataActions"]) == {f"{BLOBS}/{each}" for each in actions}
    assert role["Actions"] == []


def test_the_role_of_google_cloud_for_events_names_subscriptions_alone() -> None:
    role = yaml.safe_load((PERMISSIONS / "gcs-events.yaml").read_text())
    assert set(role["includedPermissions"]) == {f"pubsub.subscriptions.{each}" for each in ("consume", "get")}


def test_the_role_of_azure_for_events_names_messages_alone() -> None:
    role = json.loads((PERMISSIONS / "azure-events.json").read_text())
    messages = "Microsoft.Storage/storageAccounts/queueServices/queues/messages"
    assert set(role["DataActions"]) == {f"{messages}/read", f"{messages}/process/action"}
    assert role["Actions"] == []
