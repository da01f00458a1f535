"""The real daemon beside a bucket that tells a queue of its objects: known within seconds, and no more than once."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config

from tests import samples
from tests.crash.dying import die_at
from tests.daemon_process import Daemon, wait_until
from tests.emulators.azurite import Azurite, make_container, make_queue
from tests.emulators.fake_gcs import make_bucket, notifying_gcs
from tests.emulators.pubsub import PubSub
from tests.emulators.s3_server import S3Server
from tests.providers.azure.test_events import change, encoded

pytestmark = pytest.mark.timeout(240)

SECONDS = 5
"""In which an event has to be followed on a machine that is busy with other tests."""


class SeldomListing(Daemon):
    """A daemon that would list for the second time in an hour."""

    def write_config(self) -> None:
        super().write_config()
        text = self.config.read_text().replace('scan_interval = "2s"', 'scan_interval = "1h"')
        self.config.write_text(text)


@dataclass
class Told:
    """A bucket with two folders, and the queue that it tells."""

    s3: Any
    sqs: Any
    bucket: str
    queue_url: str
    connectors: str

    def put(self, key: str, data: bytes) -> Any:
        return self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)

    def repeat(self, key: str, put: Any, size_bytes: int) -> None:
        """Tell again of what was put, as a queue may that delivers at least once."""
        told = {"key": key, "size": size_bytes, "eTag": put["ETag"].strip('"'), "sequencer": "00"}
        record = {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "eventTime": "2026-01-01T00:00:00.000Z",
            "s3": {"bucket": {"name": self.bucket}, "object": told},
        }
        self.sqs.send_message(QueueUrl=self.queue_url, MessageBody=json.dumps({"Records": [record]}))

    def waiting(self) -> int:
        """How many messages are there, seen or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)


@pytest.fixture
def told(ministack: S3Server) -> Iterator[Told]:
    session = botocore.session.get_session()
    where = {
        "endpoint_url": ministack.endpoint_url,
        "region_name": ministack.region,
        "aws_access_key_id": ministack.access_key_id,
        "aws_secret_access_key": ministack.secret_access_key,
    }
    s3: Any = session.create_client("s3", config=Config(s3={"addressing_style": "path"}), **where)
    sqs: Any = session.create_client("sqs", **where)
    name = f"b-{secrets.token_hex(8)}"
    s3.create_bucket(Bucket=name)
    queue_url = sqs.create_queue(QueueName=name)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    wanted = {
        "QueueArn": found["Attributes"]["QueueArn"],
        "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
    }
    s3.put_bucket_notification_configuration(
        Bucket=name, NotificationConfiguration={"QueueConfigurations": [wanted]}
    )
    table = f"""
type = "s3"
bucket = "{name}"
endpoint_url = "{ministack.endpoint_url}"
access_key_id = "{ministack.access_key_id}"
secret_access_key_env = "THE_SECRET"
"""
    connectors = f"""[connectors.in]{table}
[connectors.in.events]
queue = "{queue_url}"
[connectors.out]{table}scopes = ["export"]
"""
    yield Told(s3, sqs, name, queue_url, connectors)
    s3.close()
    sqs.close()


def daemon(base: Path, told: Told, **options: Any) -> Daemon:
    return SeldomListing(
        base,
        automation='prefix = "in/"\n',
        connectors=told.connectors,
        environ={"THE_SECRET": "secret"},
        **options,
    )


def imported(daemon: Daemon) -> Counter[str]:
    return Counter(key for (key,) in daemon.rows("select key from import_files"))


def health(daemon: Daemon) -> Any:
    return daemon.get("/status")["queues"].get("conn_in")


def test_an_object_is_in_a_window_at_once_though_no_listing_is_due(tmp_path: Path, told: Told) -> None:
    picture = samples.image(tmp_path / "picture.png").read_bytes()
    told.put("in/before.png", picture)
    with daemon(tmp_path / "daemon", told, debounce="1s") as running:
        wait_until(lambda: len(running.events("reconcile.finished")) == 1, "the first listing")
        for number in range(5):
            told.put(f"in/a b+{number} 🎬.png", picture)
        told.put("elsewhere/c.png", picture)
        wait_until(
            lambda: running.rows("select count(*) from objects") == [(6,)], "events to be followed", SECONDS
        )
        wait_until(lambda: running.rows("select count(*) from media") == [(6,)], "the import")
        wait_until(lambda: told.waiting() == 0, "an empty queue")
        assert health(running)["state"] == "healthy"
        aside = running.get("/connectors/conn_in/quarantine")
        assert {each["reason"] for each in aside} == {"unmatched"}
        assert any("elsewhere/c.png" in each["excerpt"] for each in aside)
        assert len(running.events("scan.finished")) == 1
    assert set(imported(running).values()) == {1}


def test_kill_9_between_commit_and_acknowledgement_doubles_nothing(tmp_path: Path, told: Told) -> None:
    """Trap 17 (slow_job_no_redelivery): what was committed and not deleted comes again, and is known."""
    picture = samples.image(tmp_path / "picture.png").read_bytes()
    mortal = daemon(tmp_path / "daemon", told, debounce="3s")
    with mortal:
        wait_until(lambda: len(mortal.events("reconcile.finished")) == 1, "the first listing")
        wait_until(lambda: health(mortal) is not None, "a consumer")
        mortal.stop()
    puts = {}
    for moment in ("after", "before"):
        for number in range(3):
            key = f"in/{moment} {number}.png"
            puts[key] = told.put(key, picture)
        die_at(mortal, moment, "windows.accept_objects")
    for key, put in puts.items():
        told.repeat(key, put, len(picture))
    with mortal:
        wait_until(lambda: mortal.rows("select count(*) from media") == [(6,)], "the import", 60)
        told.put("in/last.png", picture)
        wait_until(lambda: mortal.rows("select count(*) from media") == [(7,)], "what came last", 60)
    assert imported(mortal) == dict.fromkeys([*puts, "in/last.png"], 1)


def test_a_queue_that_is_gone_is_told_and_listings_go_on(tmp_path: Path, told: Told) -> None:
    told.sqs.delete_queue(QueueUrl=told.queue_url)
    with daemon(tmp_path / "daemon", told) as running:
        wait_until(lambda: (health(running) or {}).get("state") in ("degraded", "failed"), "the bad news")
        told_of = health(running)
        assert told_of["reason"]
        assert told_of["hint"]
        assert datetime.fromisoformat(told_of["since"]).timestamp() > 0
        wait_until(lambda: len(running.events("queue.degraded", "queue.failed")) == 1, "the event")


def followed(base: Path, connectors: str, put: Callable[[str], object], secret: str) -> None:
    """What is put while the daemon runs is imported without another listing, once."""
    running = SeldomListing(base, debounce="1s", connectors=connectors, environ={"THE_SECRET": secret})
    put("before.png")
    with running:
        wait_until(lambda: len(running.events("reconcile.finished")) == 1, "the first listing")
        put("a b+c é.png")
        wait_until(
            lambda: running.rows("select count(*) from objects") == [(2,)], "an event to be followed", SECONDS
        )
        wait_until(lambda: health(running)["state"] == "healthy", "a healthy queue")
        assert running.get("/connectors/conn_in/quarantine") == []
        assert len(running.events("scan.finished")) == 1
    assert imported(running) == {"before.png": 1, "a b+c é.png": 1}


def test_gcs_tells_pubsub(tmp_path: Path, pubsub: PubSub) -> None:
    topic = pubsub.make_topic()
    subscription = pubsub.subscribe(topic)
    (tmp_path / "gcs").mkdir()
    with notifying_gcs(tmp_path / "gcs", pubsub, topic) as server:
        bucket = make_bucket(server, "watched")
        table = f'type = "gcs"\nbucket = "{bucket}"\nendpoint_url = "{server.endpoint_url}"\n'
        connectors = f"""[connectors.in]
{table}[connectors.in.events]
queue = "{subscription}"
endpoint_url = "{pubsub.endpoint_url}"
[connectors.out]
{table}scopes = ["export"]
"""
        followed(tmp_path / "daemon", connectors, lambda key: server.put(bucket, key, b"x"), "")


def test_azure_tells_a_storage_queue(tmp_path: Path, azurite: Azurite, azurite_queues: str) -> None:
    container, queue = make_container(azurite), make_queue(azurite_queues)
    table = f"""type = "azure"
storage_account = "{azurite.account}"
container = "{container.name}"
endpoint_url = "{azurite.endpoint_url}"
account_key_env = "THE_SECRET"
"""
    connectors = f"""[connectors.in]
{table}[connectors.in.events]
queue = "{queue.url}"
[connectors.out]
{table}scopes = ["export"]
"""

    def put(key: str) -> None:
        container.put(key, b"x")
        blob = container.client.get_blob_client(key)
        etag = blob.get_blob_properties().etag
        said: dict[str, Any] = {"eTag": etag, "contentLength": 1, "api": "PutBlob", "url": blob.url}
        event = change(key=key, container=container.name, **said)
        event["topic"] = event["topic"].rpartition("/")[0] + f"/{azurite.account}"
        queue.send(encoded(event))

    with queue.client:
        followed(tmp_path / "daemon", connectors, put, azurite.account_key)
