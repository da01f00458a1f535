"""The doctor of a whole daemon, at a real bucket and a real queue."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from tests.daemon.test_cloud_wiring import started
from tests.emulators.s3_server import S3Server
from tests.providers.s3.s3_queues import Place, place_of
from vvwatch.ports import Finding

pytestmark = pytest.mark.anyio


def config(place: Place) -> str:
    server = place.bucket.server
    text = f'[connectors.rushes]\ntype = "s3"\nbucket = "{place.bucket.name}"\nregion = "{server.region}"\n'
    text += f'endpoint_url = "{server.endpoint_url}"\naccess_key_id = "{server.access_key_id}"\n'
    text += 'secret_access_key_file = "key"\n'
    return f'{text}[connectors.rushes.events]\nqueue = "{place.queue_url}"\n'


async def found(client: httpx2.AsyncClient) -> list[Finding]:
    answer = (await client.get("/api/v2/doctor", params={"connector_id": "conn_rushes"})).json()
    names = ("subject", "state", "detail", "fix", "repairable")
    return [Finding(**{name: each[name] for name in names}) for each in answer["findings"]]


async def test_complete_multipart_event_is_missed_until_the_doctor_mends_the_bucket(
    ministack: S3Server, tmp_path: Path
) -> None:
    (tmp_path / "bucket").mkdir()
    async with place_of(ministack, tmp_path / "bucket") as place:
        put_only = {"QueueArn": place.arn, "Events": ["s3:ObjectCreated:Put"]}
        await place.notifications(QueueConfigurations=[put_only])
        async with started(tmp_path, config(place), key=ministack.secret_access_key) as (_, client):
            missed = next(each for each in await found(client) if "CompleteMultipartUpload" in each.detail)
            assert (missed.subject, missed.state, missed.repairable) == ("notifications", "problem", True)
            assert missed.fix.startswith("aws s3api put-bucket-notification-configuration --bucket")
            done = (await client.post("/api/v2/doctor/repair")).json()
            assert missed.detail in {each["detail"] for each in done["repaired"]}
            assert {each.state for each in await found(client)} == {"ok"}
