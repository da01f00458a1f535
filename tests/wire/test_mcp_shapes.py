"""What the MCP server reads beyond the SDK, and would break on: closed key sets, arrays that are always there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx2
import pytest

from tests.api.route_scopes import SCOPES
from tests.daemon_process import ADMIN_KEY
from tests.receiver import Receiver
from tests.sdk.world import World
from tests.wire.conftest import Make, refused, told

KEY = re.compile(r"sk_live_[0-9a-f]{48}")
EXPORT_KEYS = {
    *("export_id", "export_type", "target_id", "status", "queue_status", "attempts", "max_attempts"),
    *("created_at", "available_at", "started_at", "completed_at", "updated_at"),
    *("destination_type", "destination_connector_id", "destination_base_path", "destination_subpath"),
    *("destination_uri", "gcs_uri", "download_url", "file_size_bytes"),
    *("error_message", "last_error", "export_params"),
}
REPEATED = ("destination_connector_id", "destination_base_path", "destination_subpath")
MINTED_KEYS = {"export_id", "status", "destination_type", "destination_connector_id", "download_url"}
WEBHOOK_NULLS = ("index_ids", "metadata", "last_failure_at", "last_success_at", "created_at", "updated_at")
NO_JSON = {
    "GET /processing/events/stream",
    "GET /media/{video_id}/content",
    "GET /videos/{video_id}/poster.jpg",
    "GET /videos/{video_id}/storyboard.jpg",
    "GET /videos/{video_id}/storyboard.vtt",
}


@pytest.fixture(scope="module")
def exports(world: World, http: httpx2.Client) -> dict[str, Any]:
    """Ended exports: one to download, one of chosen runs, one that was delivered."""
    connector = world.connector("export", export_base_path="mcp")
    bodies: dict[str, Any] = {
        "download": None,
        "runs": {"prompt_run_ids": [world.run_id]},
        "delivered": {"destination_connector_id": connector, "destination_subpath": "a/b"},
    }
    made = {
        name: told(http.post(f"/exports/index/{world.index_id}", json=body), 202)["export_id"]
        for name, body in bodies.items()
    }
    return {name: world.ended(f"/exports/{export_id}") for name, export_id in made.items()}


def filled(name: str, world: World) -> str:
    """The path of a route with the ids of what the world has, and with unknown ones for the rest."""
    ids = {
        "index_id": world.index_id,
        "connector_id": world.connector_id,
        "job_id": world.job_id,
        "run_id": world.run_id,
        "video_id": world.video_ids["clip.mp4"],
        "prompt_id": "prompt_technical",
    }
    return re.sub(r"\{(\w+)\}", lambda found: ids.get(found[1], "none"), name.partition(" ")[2])


@pytest.mark.parametrize(
    "name", sorted(name for name in SCOPES if name.startswith("GET ") and name not in NO_JSON)
)
def test_no_answer_is_empty_or_unmarked(http: httpx2.Client, world: World, name: str) -> None:
    answer = http.get(filled(name, world))
    assert answer.status_code < 500
    assert answer.headers["X-Request-ID"]
    if name == "GET /auth/validate":
        assert (answer.status_code, answer.content) == (204, b"")
    else:
        assert answer.content
        assert answer.headers["Content-Type"].startswith("application/json")
        assert "request_id" in answer.json() or answer.status_code == 200


def test_keys_have_the_form_that_is_asked_for(http: httpx2.Client) -> None:
    made = told(http.post("/api-keys", json={"name": "mcp"}), 201)
    rotated = told(http.post(f"/api-keys/{made['key_id']}/rotate"))
    for key in (ADMIN_KEY, made["key"], rotated.get("new_key", rotated)["key"]):
        assert KEY.fullmatch(key)


def test_a_key_may_come_in_either_header(client_with: Make) -> None:
    told(client_with(Authorization=f"Bearer {ADMIN_KEY}").get("/indexes"))
    told(client_with(X_API_Key=ADMIN_KEY, Authorization="Bearer of.another.kind").get("/indexes"))


def shows(export: Any, world: World) -> Iterator[str]:
    """What the strictest reader would refuse in an export."""
    yield from EXPORT_KEYS - export.keys()
    params = export["export_params"] or {}
    yield from params.keys() - {"prompt_run_ids", *REPEATED}
    yield from (name for name in REPEATED if name in params and params[name] != export[name])
    for name in ("created_at", "available_at", "started_at", "completed_at", "updated_at"):
        if export[name] is not None:
            datetime.fromisoformat(export[name])


def test_an_export_has_every_key_and_no_strange_parameter(
    http: httpx2.Client, world: World, exports: dict[str, Any]
) -> None:
    for export in [*exports.values(), *told(http.get("/exports", params={"limit": 100}))]:
        assert list(shows(export, world)) == []
        assert export["attempts"] >= 0
        assert export["max_attempts"] >= 1
        assert export["queue_status"] in {
            None,
            "queued",
            "leased",
            "running",
            "failed",
            "succeeded",
            "dead_letter",
        }


def test_where_an_export_went_is_told_without_contradiction(exports: dict[str, Any]) -> None:
    for name in ("download", "runs"):
        export = exports[name]
        assert (export["destination_type"], export["destination_connector_id"]) == ("download", None)
        assert export["destination_uri"] is None
        assert export["download_url"] == f"/api/v2/exports/{export['export_id']}/download"
        assert export["gcs_uri"]
    delivered = exports["delivered"]
    assert delivered["destination_type"] == "connector"
    assert delivered["destination_connector_id"] == delivered["destination_connector_id"].strip() != ""
    assert delivered["destination_uri"] == delivered["gcs_uri"]
    assert delivered["download_url"] is None
    assert exports["runs"]["export_params"]["prompt_run_ids"]


def test_a_link_has_five_keys(http: httpx2.Client, exports: dict[str, Any]) -> None:
    for name, export in exports.items():
        minted = told(http.post(f"/exports/{export['export_id']}/download-url"))
        assert minted.keys() == MINTED_KEYS
        assert minted["export_id"] == export["export_id"]
        assert minted["status"] == "completed"
        assert minted["download_url"] is None, name  # nothing is given away over http


def test_a_download_is_whole_and_as_it_is(http: httpx2.Client, exports: dict[str, Any]) -> None:
    answer = http.get(exports["download"]["download_url"].removeprefix("/api/v2"))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert "Content-Encoding" not in answer.headers
    assert (
        int(answer.headers["Content-Length"]) == len(answer.content) == exports["download"]["file_size_bytes"]
    )
    assert re.fullmatch(r'attachment; filename="[^"]+\.json"', answer.headers["Content-Disposition"])


def test_a_job_has_its_arrays_wherever_it_is_shown(http: httpx2.Client, world: World) -> None:
    world.imported(world.index(), world.prefix())
    jobs = [told(http.get(f"/import-jobs/{world.job_id}")), *told(http.get("/import-jobs"))]
    assert len(jobs) > 2
    for job in jobs:
        for name in ("failed_files", "skipped_files", "video_ids"):
            assert isinstance(job[name], list)
        progress = job["progress"]
        for name in ("total_files", "imported", "failed", "skipped", "bytes_transferred"):
            assert type(progress[name]) is int
        assert {"items", "next_cursor", "total"} <= job["outputs"].keys()
    assert [failed["path"] for failed in jobs[0]["failed_files"]] == ["shoot/broken.mp4"]
    assert [(skipped["path"], bool(skipped["reason"])) for skipped in jobs[0]["skipped_files"]] == [
        ("shoot/notes.txt", True)
    ]


def test_connectors_and_their_files_lack_nothing(http: httpx2.Client, world: World) -> None:
    assert all(connector["scopes"] for connector in told(http.get("/connectors")))
    world.put("odd/no-extension", b"x")
    files = told(http.post(f"/connectors/{world.connector_id}/browse", json={"prefix": "odd/"}))
    assert [(file["name"], file["extension"]) for file in files] == [("no-extension", "")]


def test_the_counters_of_a_run_are_numbers(http: httpx2.Client, world: World) -> None:
    runs = [told(http.get(f"/prompt-runs/{world.run_id}")), *told(http.get("/prompt-runs"))]
    for run in runs:
        for kind in ("videos", "audios", "images"):
            for state in ("total", "completed", "failed", "partial", "cancelled"):
                assert type(run[f"{state}_{kind}"]) is int
        for name in ("total_segments", "completed_segments", "field_extraction_failures"):
            assert type(run[name]) is int
    manifest = told(http.get(f"/prompt-runs/{world.run_id}/failed-segments"))
    assert manifest["videos"] == []
    assert set(manifest["operation_counts"]) >= {"field_extraction", "transcription", "image_embedding"}


def test_a_webhook_says_what_it_has_not(http: httpx2.Client, world: World) -> None:
    with Receiver() as receiver:
        body = {"name": "mcp", "url": receiver.url, "events": ["export.ready"]}
        made = told(http.post("/webhooks", json=body), 201)
    for hook in (made, told(http.get(f"/webhooks/{made['webhook_id']}")), *told(http.get("/webhooks"))):
        assert set(WEBHOOK_NULLS) <= hook.keys()
        assert isinstance(hook["events"], list)
    assert made["index_ids"] is None
    told(http.delete(f"/webhooks/{made['webhook_id']}"))


@pytest.mark.parametrize("path", ["/nothing", "/indexes/", "/connectors/"])
def test_no_address_leads_elsewhere(http: httpx2.Client, path: str) -> None:
    refused(http.get(path), 404, "resource_route_not_found")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/indexes/x", "index"),
        ("/videos/x", "video"),
        ("/prompts/x", "prompt"),
        ("/prompt-runs/x", "run"),
        ("/connectors/x", "connector"),
        ("/import-jobs/x", "import_job"),
        ("/exports/x", "export"),
        ("/webhooks/x", "webhook"),
    ],
)
def test_what_is_not_there_is_named(http: httpx2.Client, path: str, kind: str) -> None:
    error = told(http.get(path), 404)["error"]
    assert re.fullmatch(r"resource_\w+_not_found", error["code"])
    assert kind in error["code"]
