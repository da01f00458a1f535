"""What the n8n node reads beyond the SDK: the life of its trigger, its own field names, and every id of a request."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

import httpx2

from tests.daemon_process import wait_until
from tests.receiver import Receiver, is_signed
from tests.sdk.world import World
from tests.wire.conftest import Make, refused, told

TECHNICAL = "prompt_technical"


def trigger(world: World, receiver: Receiver, **changes: Any) -> dict[str, Any]:
    """The request by which a trigger begins to listen."""
    metadata = {"n8n_workflow_id": world.name("flow"), "n8n_node_id": "node", "n8n_mode": "production"}
    events = ["export.ready", "import_job.completed"]
    return {
        "name": "n8n: desk",
        "url": receiver.url,
        "events": events,
        "index_ids": None,
        "metadata": metadata,
    } | changes


def keyed(body: Any) -> dict[str, str]:
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return {"Idempotency-Key": f"n8n-webhook-{digest}"}


def test_the_life_of_a_trigger(http: httpx2.Client, world: World) -> None:
    with Receiver() as receiver:
        body = trigger(world, receiver)
        first = told(http.post("/webhooks", json=body, headers=keyed(body)), 201)
        replay = http.post("/webhooks", json=body, headers=keyed(body))
        assert told(replay, 201) == first
        found = told(http.get(f"/webhooks/{first['webhook_id']}"))
        assert (found["status"], found["url"], found["index_ids"]) == ("active", receiver.url, None)
        assert sorted(found["events"]) == body["events"]
        assert found["metadata"] == body["metadata"]
        assert "secret" not in found
        gone = told(http.delete(f"/webhooks/{first['webhook_id']}", headers={"Idempotency-Key": "k"}))
        assert gone["message"]
        assert gone["status"] == "deleted"
        refused(http.delete(f"/webhooks/{first['webhook_id']}"), 404, "resource_webhook_not_found")
        refused(http.get(f"/webhooks/{first['webhook_id']}"), 404, "resource_webhook_not_found")
        again = told(http.post("/webhooks", json=body, headers=keyed(body)), 201)
        assert again["webhook_id"] == first["webhook_id"]
        assert again["secret"] != first["secret"]
        told(http.delete(f"/webhooks/{again['webhook_id']}", headers={"Idempotency-Key": "k"}))


def test_a_trigger_believes_what_it_is_sent(http: httpx2.Client, world: World) -> None:
    with Receiver() as receiver:
        index_id = world.index()
        body = trigger(world, receiver, index_ids=[index_id])
        hook = told(http.post("/webhooks", json=body, headers=keyed(body)), 201)
        tested = told(http.post(f"/webhooks/{hook['webhook_id']}/test", headers={"Idempotency-Key": "try"}))
        assert tested == {"success": True, "status_code": 200, "error": None}
        job = world.imported(index_id, world.prefix())
        wait_until(lambda: len(receiver.received) == 2, "the event")
        trial, delivery = receiver.received
        told(http.delete(f"/webhooks/{hook['webhook_id']}"))
    for each in (trial, delivery):
        assert is_signed(hook["secret"], each.body, each.headers["X-Webhook-Signature"])
        assert each.headers["X-Webhook-ID"] == hook["webhook_id"]
        assert each.headers["Content-Type"] == "application/json"
        canonical = json.dumps(each.event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert each.body == canonical.encode()
    assert trial.event["id"].startswith("evt_test_")
    event = delivery.event
    assert event.keys() == {"id", "event", "data", "api_version", "created_at", "metadata"}
    assert (event["event"], event["api_version"]) == ("import_job.completed", "2024-01")
    assert (event["data"]["job_id"], event["metadata"]) == (job["job_id"], body["metadata"])
    headers = delivery.headers
    assert headers["X-Event-Type"] == "import_job.completed"
    assert headers["X-Delivery-ID"] == headers["Idempotency-Key"]
    assert headers["X-Delivery-Attempt-Id"]


def test_another_content_under_a_key_is_refused(http: httpx2.Client, world: World) -> None:
    with Receiver() as receiver:
        body = trigger(world, receiver)
        headers = keyed(body)
        hook = told(http.post("/webhooks", json=body, headers=headers), 201)
        other = body | {"events": ["export.failed"]}
        refused(http.post("/webhooks", json=other, headers=headers), 409, "idempotency_request_mismatch")
        told(http.delete(f"/webhooks/{hook['webhook_id']}"))


def test_nothing_and_an_empty_object_are_the_same(http: httpx2.Client, world: World) -> None:
    headers = {"Idempotency-Key": world.name("key")}
    path = f"/exports/prompt-run/{world.run_id}"
    first = told(http.post(path, headers=headers), 202)
    assert told(http.post(path, headers=headers, json={}), 202) == first
    assert first.keys() >= {"export_id", "status"}
    refused(
        http.post(path, headers=headers, json={"destination_connector_id": "conn_out"}),
        409,
        "idempotency_request_mismatch",
    )


def test_a_key_counts_for_one_path(http: httpx2.Client, world: World) -> None:
    headers = {"Idempotency-Key": world.name("key")}
    run = told(http.post(f"/exports/prompt-run/{world.run_id}", headers=headers), 202)
    index = told(http.post(f"/exports/index/{world.index_id}", headers=headers), 202)
    assert run["export_id"] != index["export_id"]


def test_the_fields_of_a_form_count_and_not_what_stands_between_them(
    http: httpx2.Client, world: World
) -> None:
    headers = {"Idempotency-Key": world.name("key")}
    data, index_id = world.media["picture.png"], world.index()
    first, again = [
        http.post(
            "/workflow/upload",
            headers=headers,
            data={"title": "Still", "index_id": index_id},
            files={"file": ("a.png", data, "image/png")},
        )
        for _ in "ab"
    ]
    assert first.request.headers["Content-Type"] != again.request.headers["Content-Type"]
    assert first.content == again.content
    other = {"file": ("a.png", data + b"x", "image/png")}
    answer = http.post(
        "/workflow/upload", headers=headers, data={"title": "Still", "index_id": index_id}, files=other
    )
    refused(answer, 409, "idempotency_request_mismatch")


def test_a_reader_learns_nothing_of_what_it_may_not_touch(http: httpx2.Client, client_with: Make) -> None:
    key = told(http.post("/api-keys", json={"name": "reader", "scopes": ["read"]}), 201)["key"]
    reader = client_with(X_API_Key=key)
    refused(reader.delete("/webhooks/wh_none"), 403, "authorization_insufficient_scope")
    refused(reader.post("/prompt-runs/run_none/cancel"), 403, "authorization_insufficient_scope")
    refused(reader.delete("/webhooks/wh_none/nothing"), 404, "resource_route_not_found")


def test_a_key_is_tried_without_a_body(http: httpx2.Client, client_with: Make) -> None:
    answer = http.get("/auth/validate")
    assert (answer.status_code, answer.content) == (204, b"")
    refused(
        client_with(X_API_Key="sk_live_wrong").get("/auth/validate"), 401, "authentication_invalid_api_key"
    )


def test_a_request_keeps_its_id(http: httpx2.Client) -> None:
    answer = http.get("/webhooks/wh_none", headers={"X-Request-ID": "n8n-7"})
    assert refused(answer, 404, "resource_webhook_not_found")["request_id"] == "n8n-7"


def test_the_files_of_a_job_are_fetched_by_its_media(http: httpx2.Client, world: World) -> None:
    job = told(http.get(f"/import-jobs/{world.job_id}"))
    videos = told(http.post("/videos/batch", json={"video_ids": job["video_ids"]}))
    assert [video["video_id"] for video in videos] == job["video_ids"]
    assert {video["title"] for video in videos} == {"clip.mp4", "sound.wav", "picture.png"}


def test_jobs_are_narrowed_down(http: httpx2.Client, world: World) -> None:
    of_index = told(http.get("/import-jobs", params={"index_id": world.index_id, "limit": 200}))
    assert [job["job_id"] for job in of_index] == [world.job_id]
    by_automation = told(http.get("/import-jobs", params={"automation_only": "true"}))
    assert world.job_id not in {job["job_id"] for job in by_automation}
    assert all(job["automation_id"] for job in by_automation)


def test_new_only_leaves_out_what_is_known(http: httpx2.Client, world: World) -> None:
    prefix, index_id = world.prefix(), world.index()
    request = {"connector_id": world.connector_id, "index_id": index_id, "source_prefix": prefix}
    for name, override, imported in (
        ("a.png", "new_only", 1),
        ("b.png", "new_only", 1),
        ("b.png", "new_only", 0),
        ("b.png", "all", 2),
    ):
        world.put(prefix + name, world.media["picture.png"])
        body = request | {"import_mode_override": override}
        job = told(http.post("/import-jobs", json=body), 202)
        ended = world.ended(f"/import-jobs/{job['job_id']}")
        assert (name, ended["status"], ended["progress"]["imported"]) == (name, "completed", imported)


def test_what_is_made_is_answered_as_made(http: httpx2.Client, world: World) -> None:
    prompt = {"name": "Shots", "prompt_text": "Describe every shot.", "json_schema": {"type": "object"}}
    told(http.post("/indexes", json={"name": world.name("n8n")}), 201)
    told(http.post("/prompts", json=prompt), 201)
    job = {"connector_id": world.connector_id, "index_id": world.index(), "source_prefix": world.prefix()}
    told(http.post("/import-jobs", json=job), 202)
    told(http.post("/exports/index/" + world.index_id, json={}), 202)


def test_an_upload_tells_the_media_and_where_it_went(http: httpx2.Client, world: World) -> None:
    files = {"file": ("still.png", world.media["picture.png"], "image/png")}
    index_name = world.name("n8n")
    form = {"title": "Still", "index_name": index_name}
    made = told(http.post("/workflow/upload", data=form, files=files), 201)
    goes_to = made["destination"]
    assert (goes_to["type"], goes_to["index_name"], goes_to["index_created"]) == ("index", index_name, True)
    ended = world.ended(f"/import-jobs/{made['job_id']}")
    assert ended["video_ids"] == [made["video"]["video_id"]]
    without = told(http.post("/workflow/upload", files=files), 201)
    assert without["destination"]["type"] == "playground"


def test_media_are_processed_and_their_results_read(http: httpx2.Client, world: World) -> None:
    body = {
        "prompt_id": TECHNICAL,
        "index_id": world.index_id,
        "video_segmentation_type": "fixed",
        "video_segment_duration": 3,
        "enable_transcription": False,
    }
    begun = told(http.post("/workflow/process", json=body), 202)
    run_id = begun["run_id"]
    assert begun["run"]["run_id"] == run_id
    assert begun["status_url"] == f"/api/v2/prompt-runs/{run_id}"
    assert (begun["run"]["video_segmentation_type"], begun["run"]["enable_transcription"]) == ("fixed", False)
    world.ended(f"/prompt-runs/{run_id}")
    results_path = urlsplit(begun["results_url"]).path.removeprefix("/api/v2")
    results = told(http.get(results_path, params={"limit": 3}))
    assert (results["run_id"], results["status"], results["result_level"]) == (run_id, "completed", "segment")
    assert results["selection_summary"].keys() >= {"status", "selected_media_count", "selected_segment_count"}
    stream = results["unfiltered"]
    assert len(stream["data"]) == 3
    assert stream["pagination"]["has_more"]
    cursor = {"unfiltered_cursor": stream["pagination"]["next_cursor"], "limit": 3}
    rest = told(http.get(results_path, params=cursor))["unfiltered"]
    assert len(rest["data"]) == 1
    assert rest["pagination"] == {"limit": 3, "has_more": False, "next_cursor": None}
    whole = told(http.get(results_path, params={"result_level": "video", "view": "unfiltered"}))
    assert {each["video_name"] for each in whole["unfiltered"]["data"]} == set(world.video_ids)


def test_media_are_lent_without_a_key(http: httpx2.Client, client_with: Make, world: World) -> None:
    body = {"video_id": world.video_ids["picture.png"], "intent": "download"}
    grant = told(http.post("/workflow/media-grants", json=body))
    assert grant["filename"] == "picture.png"
    assert grant["mime_type"] == "image/png"
    stranger = client_with()
    answer = stranger.get(grant["url"])
    assert (answer.status_code, answer.content) == (200, world.media["picture.png"])
    refused(stranger.get(grant["url"] + "A"), 401, "authentication_invalid_token")


def test_errors_of_every_kind_have_one_form(http: httpx2.Client, client_with: Make, world: World) -> None:
    refused(http.post("/indexes", json={"name": ""}), 422, "validation_error")
    half = http.post("/indexes", content=b"{", headers={"Content-Type": "application/json"})
    refused(half, 422, "validation_error")
    astray = http.get(f"/indexes/{world.index_id}/videos", params={"cursor": "nonsense"})
    refused(astray, 400, "invalid_cursor")
    refused(http.put("/indexes"), 405, "method_not_allowed")
    refused(client_with(Host="evil.example.com").get("/indexes"), 403, "host_not_allowed")
