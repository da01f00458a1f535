from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.api.asking import Api, client_of
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.pipeline import POLICY, jobs_of
from vvwatch.api.http.context import ApiContext
from vvwatch.core.processors import ProcessorNames
from vvwatch.ports import Kind
from vvwatch.providers.local.storage import LocalStorage
from vvwatch.store.db.database import Database
from vvwatch.store.schema import connectors
from vvwatch.store.watching import automations, windows
from vvwatch.store.watching.automations import ExportSpec, ImportSpec

pytestmark = pytest.mark.anyio

NOW = "2026-09-21T14:13:20.000Z"
PRESET = {
    "video_segmentation_type": "smart",
    "video_segment_duration": None,
    "audio_segmentation_type": "content_aware",
    "audio_segment_duration": None,
    "processing_model": None,
    "enable_transcription": True,
    "enable_image_embedding": True,
}


async def minimal(api: Api, **preset: Any) -> dict[str, Any]:
    """The least that an import automation needs."""
    return {
        "connector_id": await api.connector("import"),
        "debounce_interval": "5m",
        "prompt_preset": {"prompt_id": await api.prompt(), **preset},
    }


async def test_the_same_request_again_does_not_ask_what_became_of_its_connector(
    api: Api, database: Database
) -> None:
    index, body = await api.index(), await minimal(api)
    options: dict[str, Any] = {"json": body, "headers": {"Idempotency-Key": "k1"}}
    path = f"/indexes/{index}/automations/import"
    first = await api.ask("PUT", path, **options)
    await database.write(lambda tx: tx.update(connectors, body["connector_id"], scopes=["export"]))
    assert await api.ask("PUT", path, **options) == first
    await api.error("PUT", path, 422, json=body)


async def test_all_indexes_are_listed_with_their_automations(api: Api, database: Database) -> None:
    watched, exporting, plain, gone = [await api.index() for _ in range(4)]
    made = await api.put(f"/indexes/{watched}/automations/import", await minimal(api))
    await api.post(f"/indexes/{watched}/automations/import/pause", status=200)
    body = {"destination_connector_id": await api.connector("export")}
    export = await api.put(f"/indexes/{exporting}/automations/export", body)
    await api.ask("DELETE", f"/indexes/{gone}", status=202)
    found = {each["index_id"]: each for each in await api.get("/automations")}
    assert found[watched]["import_automation"] == {
        "automation_id": made["automation_id"],
        "index_id": watched,
        "status": "paused",
    }
    assert found[watched]["export_automation"] is None
    assert found[exporting]["import_automation"] is None
    assert found[exporting]["export_automation"]["automation_id"] == export["automation_id"]
    assert (found[plain]["import_automation"], found[plain]["export_automation"]) == (None, None)
    assert gone not in found


async def test_what_is_not_said_has_a_default(api: Api) -> None:
    index, body = await api.index(), await minimal(api)
    saved = await api.put(f"/indexes/{index}/automations/import", body)
    assert saved == {
        "automation_id": saved["automation_id"],
        "index_id": index,
        "status": "active",
        "enabled": True,
        "paused": False,
        "connector_id": body["connector_id"],
        "source_prefix": "",
        "file_pattern": "*",
        "recursive": True,
        "exclude": [],
        "min_size_bytes": None,
        "max_size_bytes": None,
        "debounce_interval": "5m",
        "prompt_preset": {**PRESET, **body["prompt_preset"]},
        "prompt_version": 1,
        "import_mode_override": None,
        "path_fields": None,
        "facts": [],
        "declared": False,
        "last_scan_at": None,
        "last_triggered_at": None,
        "last_import_job_id": None,
        "last_run_id": None,
        "last_error": None,
        "last_error_hint": None,
        "next_scan_at": NOW,
        "next_run_at": None,
        "warnings": [],
        "created_at": NOW,
        "updated_at": NOW,
    }
    assert await api.get(f"/indexes/{index}/automations/import") == saved


async def test_a_regular_expression_is_warned_of(api: Api) -> None:
    index, body = await api.index(), await minimal(api) | {"file_pattern": r".*\.jpg"}
    path = f"/indexes/{index}/automations/import"
    [warning] = (await api.put(path, body))["warnings"]
    assert "looks like a regular expression" in warning
    assert (await api.get(f"{path}/preview"))["warnings"] == [warning]


async def test_what_is_said_is_kept(api: Api) -> None:
    index = await api.index()
    preset = {
        "video_segmentation_type": "fixed",
        "video_segment_duration": 300,
        "audio_segmentation_type": "fixed",
        "audio_segment_duration": 1,
        "processing_model": "other",
        "enable_transcription": False,
        "enable_image_embedding": False,
    }
    body = {
        **await minimal(api, **preset),
        "enabled": False,
        "paused": True,
        "source_prefix": "incoming/daily/",
        "file_pattern": "*.{mp4,mov}",
        "recursive": False,
        "exclude": ["proxies/**", "*_draft.mov"],
        "min_size_bytes": 1_000,
        "max_size_bytes": 1_000_000_000_000,
        "debounce_interval": "1d",
        "import_mode_override": "new_only",
        "path_fields": "{show}/{camera}_{*}.mxf",
        "facts": ["sidecar", "metadata"],
    }
    saved = await api.put(f"/indexes/{index}/automations/import", body)
    assert {name: saved[name] for name in body} == body
    assert (saved["status"], saved["next_scan_at"]) == ("disabled", None)


async def test_replacing_keeps_the_automation_and_forgets_nothing_else(api: Api, clock: FakeClock) -> None:
    index, body = await api.index(), await minimal(api)
    first = await api.put(f"/indexes/{index}/automations/import", {**body, "source_prefix": "a/"})
    clock.advance(60)
    second = await api.put(f"/indexes/{index}/automations/import", body)
    assert second["automation_id"] == first["automation_id"]
    assert second["created_at"] == first["created_at"]
    assert second["updated_at"] != first["updated_at"]
    assert second["source_prefix"] == ""


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"debounce_interval": "3s"}, "body.debounce_interval"),
        ({"debounce_interval": 300}, "body.debounce_interval"),
        ({"debounce_intervall": "5m"}, "body.debounce_intervall"),
        ({"connector_id": None}, "body.connector_id"),
        ({"connector_id": ""}, "body.connector_id"),
        ({"enabled": "yes"}, "body.enabled"),
        ({"paused": 1}, "body.paused"),
        ({"recursive": "true"}, "body.recursive"),
        ({"source_prefix": "a/../../b"}, "body.source_prefix"),
        ({"source_prefix": "a\0"}, "body.source_prefix"),
        ({"source_prefix": "a" * 1025}, "body.source_prefix"),
        ({"file_pattern": ""}, "body.file_pattern"),
        ({"file_pattern": "[a"}, "body.file_pattern"),
        ({"file_pattern": "{a"}, "body.file_pattern"),
        ({"file_pattern": "../*.mp4"}, "body.file_pattern"),
        ({"import_mode_override": "some"}, "body.import_mode_override"),
        ({"path_fields": "{a}{b}.mxf"}, "body.path_fields"),
        ({"path_fields": ""}, "body.path_fields"),
        ({"facts": ["weather"]}, "body.facts.0"),
        ({"facts": "sidecar"}, "body.facts"),
        ({"prompt_preset": None}, "body.prompt_preset"),
        ({"prompt_preset": {}}, "body.prompt_preset.prompt_id"),
        ({"prompt_preset": "technical"}, "body.prompt_preset"),
        ({"prompt_preset": {"prompt_id": "p", "temperature": 1}}, "body.prompt_preset.temperature"),
    ],
)
async def test_what_cannot_be_is_refused_and_named(api: Api, change: dict[str, Any], where: str) -> None:
    index, body = await api.index(), await minimal(api)
    error = await api.error("PUT", f"/indexes/{index}/automations/import", 422, json={**body, **change})
    assert error["code"] == "validation_error"
    assert [each["where"] for each in error["details"]["errors"]] == [where]
    assert (await api.error("GET", f"/indexes/{index}/automations/import", 404))["code"] == (
        "resource_automation_not_found"
    )


@pytest.mark.parametrize(
    ("preset", "what"),
    [
        ({"video_segmentation_type": "fixed", "audio_segment_duration": 0}, "1 or more"),
        ({"video_segmentation_type": "fixed", "video_segment_duration": 301}, "300 or less"),
        ({"video_segmentation_type": "fixed", "video_segment_duration": 10.5}, "must be a whole number"),
        ({"audio_segmentation_type": "smart"}, "content_aware, fixed"),
        ({"enable_transcription": None}, "must be true or false"),
    ],
)
async def test_a_preset_is_checked(api: Api, preset: dict[str, Any], what: str) -> None:
    index, body = await api.index(), await minimal(api, **preset)
    error = await api.error("PUT", f"/indexes/{index}/automations/import", 422, json=body)
    assert what in " ".join(error["details"]["errors"][0].values())


async def test_a_preset_of_the_hosted_service_is_taken_over(api: Api) -> None:
    """A processor answers to its models, and its fixed segments may have no length."""
    moved = {"processing_model": "gemini-2.5-flash", "video_segmentation_type": "fixed"}
    index, body = await api.index(), await minimal(api, **moved)
    preset = (await api.put(f"/indexes/{index}/automations/import", body))["prompt_preset"]
    assert (preset["processing_model"], preset["video_segment_duration"]) == ("gemini-2.5-flash", 10)
    assert preset["audio_segment_duration"] is None


async def test_the_name_of_a_prompt_stands_for_its_id(api: Api) -> None:
    prompt = await api.prompt()
    index, body = await api.index(), await minimal(api, prompt_id=prompt.removeprefix("prompt_"))
    saved = await api.put(f"/indexes/{index}/automations/import", body)
    assert saved["prompt_preset"]["prompt_id"] == prompt


async def test_what_was_asked_for_and_is_not_done_is_a_warning(api: Api) -> None:
    index, body = await api.index(), await minimal(api, enable_image_embedding=True)
    saved = await api.put(f"/indexes/{index}/automations/import", body)
    assert saved["warnings"] == [
        "enable_image_embedding: the processor 'technical' makes no image embeddings"
    ]
    assert (await api.get(f"/indexes/{index}/automations/import"))["warnings"] == []


async def test_an_automation_whose_model_nobody_answers_to_any_more_says_so(
    api: Api, context: ApiContext
) -> None:
    index, body = await api.index(), await minimal(api, processing_model="gpt-5")
    assert (await api.put(f"/indexes/{index}/automations/import", body))["warnings"] == []
    context.database.processors = ProcessorNames()
    [warning] = (await api.get(f"/indexes/{index}/automations/import"))["warnings"]
    assert warning == "no processor answers to the model 'gpt-5': its runs fail; use one of: technical"


async def test_a_prefix_that_the_connector_cannot_have_is_refused(api: Api, context: ApiContext) -> None:
    local = replace(
        context, storages=lambda row: LocalStorage(Path(row.settings["root"]), allowed_roots=[Path("/")])
    )
    async with client_of(local, headers=api.client.headers) as client:
        index, body = await api.index(), await minimal(api)
        path = f"/api/v2/indexes/{index}/automations/import"
        for prefix, status in (("/etc", 422), ("a//b", 422), ("a/b/", 200), ("a/b", 200)):
            response = await client.put(path, json={**body, "source_prefix": prefix})
            assert response.status_code == status
            if status == 422:
                [found] = response.json()["error"]["details"]["errors"]
                assert found["where"] == "body.source_prefix"


async def test_a_processor_may_refuse_the_prompt(api: Api) -> None:
    index, body = await api.index(), await minimal(api)
    moody = {"type": "object", "properties": {"mood": {"type": "string"}}}
    body["prompt_preset"]["prompt_id"] = await api.prompt(json_schema=moody)
    error = await api.error("PUT", f"/indexes/{index}/automations/import", 422, json=body)
    assert error["message"] == "no field 'mood' can be filled"
    assert error["details"] == {"hint": "name a model as processing_model"}


async def test_an_unknown_processor_is_named_with_those_there_are(api: Api) -> None:
    index, body = await api.index(), await minimal(api, processing_model="gemini")
    error = await api.error("PUT", f"/indexes/{index}/automations/import", 422, json=body)
    assert error["code"] == "model_not_configured"
    assert "gemini" in error["message"]
    assert "technical, other, gemini-2*" in error["details"]["hint"]


async def test_what_it_names_must_exist(api: Api) -> None:
    index, body = await api.index(), await minimal(api)
    path = f"/indexes/{index}/automations/import"
    for change, code in (
        ({"connector_id": "conn_none"}, "resource_connector_not_found"),
        ({"prompt_preset": {"prompt_id": "prompt_none"}}, "resource_prompt_not_found"),
    ):
        assert (await api.error("PUT", path, 404, json={**body, **change}))["code"] == code
    error = await api.error("PUT", "/indexes/idx_none/automations/import", 404, json=body)
    assert error["code"] == "resource_index_not_found"


async def test_the_connector_needs_the_right_scope(api: Api) -> None:
    index, body = await api.index(), await minimal(api)
    export_only = await api.connector("export")
    changed = {**body, "connector_id": export_only}
    error = await api.error("PUT", f"/indexes/{index}/automations/import", 422, json=changed)
    assert "lacks the scope 'import'" in error["message"]
    export = {"destination_connector_id": body["connector_id"]}
    error = await api.error("PUT", f"/indexes/{index}/automations/export", 422, json=export)
    assert "lacks the scope 'export'" in error["message"]


async def test_pause_and_resume_keep_everything_and_may_be_repeated(api: Api, database: Database) -> None:
    index, body = await api.index(), await minimal(api)
    path = f"/indexes/{index}/automations/import"
    saved = await api.put(path, body)
    jobs_of(database).take(Kind.SCAN)
    for _ in range(2):
        paused = await api.post(f"{path}/pause")
        assert paused == {**saved, "paused": True, "status": "paused", "next_scan_at": None}
    assert jobs_of(database).take(Kind.SCAN) == []
    for _ in range(2):
        assert await api.post(f"{path}/resume") == saved
    assert jobs_of(database).take(Kind.SCAN)[-1].run_at == database.clock.now()


async def test_pausing_leaves_enabled_alone(api: Api) -> None:
    index, body = await api.index(), await minimal(api)
    path = f"/indexes/{index}/automations/import"
    await api.put(path, {**body, "enabled": False})
    assert (await api.post(f"{path}/pause"))["enabled"] is False
    resumed = await api.post(f"{path}/resume")
    assert (resumed["enabled"], resumed["paused"], resumed["status"]) == (False, False, "disabled")


@pytest.mark.parametrize("kind", ["import", "export"])
async def test_without_an_automation_there_is_nothing_to_ask(api: Api, kind: str) -> None:
    index = await api.index()
    for method, tail in (("GET", ""), ("POST", "/pause"), ("POST", "/resume")):
        error = await api.error(method, f"/indexes/{index}/automations/{kind}{tail}", 404)
        assert error["code"] == "resource_automation_not_found"
        assert error["message"] == f"index {index!r} has no {kind} automation"
        assert "PUT" in error["details"]["hint"]
        error = await api.error(method, f"/indexes/idx_none/automations/{kind}{tail}", 404)
        assert error["code"] == "resource_index_not_found"


async def test_an_export_automation_is_kept(api: Api) -> None:
    index, connector = await api.index(), await api.connector("export", export_base_path="exports/")
    body = {"destination_connector_id": connector, "destination_subpath": "review-team"}
    path = f"/indexes/{index}/automations/export"
    saved = await api.put(path, body)
    assert saved == {
        "automation_id": saved["automation_id"],
        "index_id": index,
        "status": "active",
        "enabled": True,
        "paused": False,
        **body,
        "options": None,
        "declared": False,
        "last_triggered_at": None,
        "last_export_id": None,
        "last_error": None,
        "created_at": NOW,
        "updated_at": NOW,
    }
    assert await api.get(path) == saved
    paused = {**saved, "paused": True, "status": "paused"}
    for _ in range(2):
        assert await api.post(f"{path}/pause") == paused
    for _ in range(2):
        assert await api.post(f"{path}/resume") == saved
    replaced = await api.put(path, {"destination_connector_id": connector})
    assert replaced["automation_id"] == saved["automation_id"]
    assert replaced["destination_subpath"] is None


@pytest.mark.parametrize("subpath", ["../up", "/abs", "a/../../b", "a\\b", "a\nb", "x" * 1025, 7])
async def test_results_stay_below_the_base_path(api: Api, subpath: object) -> None:
    index, connector = await api.index(), await api.connector("export")
    body = {"destination_connector_id": connector, "destination_subpath": subpath}
    error = await api.error("PUT", f"/indexes/{index}/automations/export", 422, json=body)
    assert error["details"]["errors"][0]["where"] == "body.destination_subpath"


async def test_what_the_file_declares_is_changed_in_the_file(api: Api, database: Database) -> None:
    index, body = await api.index(), await minimal(api)
    connector = await api.connector("export")
    preset = body["prompt_preset"]
    spec = ImportSpec(body["connector_id"], "", "*", True, "3s", POLICY, 1.0, 1.0, preset, declared=True)
    await database.write(automations.save_import, index, spec)
    await database.write(automations.save_export, index, ExportSpec(connector, declared=True))
    for kind, change in (("import", body), ("export", {"destination_connector_id": connector})):
        path = f"/indexes/{index}/automations/{kind}"
        error = await api.error("PUT", path, 409, json=change)
        assert "configuration file" in error["details"]["hint"]
        assert (await api.post(f"{path}/pause"))["status"] == "paused"
        assert (await api.post(f"{path}/resume"))["status"] == "active"
    assert (await api.get(f"/indexes/{index}/automations/import"))["debounce_interval"] == "3s"


async def test_the_scale_makes_intervals_shorter(scaled: Api, database: Database) -> None:
    index, body = await scaled.index(), await minimal(scaled)
    saved = await scaled.put(f"/indexes/{index}/automations/import", body)
    assert saved["debounce_interval"] == "5m"
    row = await database.read(automations.get_import, index)
    assert (row.quiet_seconds, row.max_wait_seconds, row.max_objects) == (3.0, 18.0, 10_000)
    assert (row.scan_seconds, row.settle_seconds, row.process_existing) == (1.0, 0.2, True)


@pytest.mark.parametrize(
    ("interval", "quiet", "longest", "scan"),
    [("5m", 300, 1800, 60), ("10m", 600, 3600, 120), ("1h", 3600, 21600, 300), ("1d", 86400, 86400, 900)],
)
async def test_each_interval_has_its_ceiling_and_cadence(
    api: Api, database: Database, interval: str, quiet: float, longest: float, scan: float
) -> None:
    index, body = await api.index(), await minimal(api)
    await api.put(f"/indexes/{index}/automations/import", {**body, "debounce_interval": interval})
    row = await database.read(automations.get_import, index)
    assert (row.quiet_seconds, row.max_wait_seconds, row.scan_seconds) == (quiet, longest, scan)
    assert row.settle_seconds == 5.0


async def test_the_open_window_can_be_watched(
    api: Api, database: Database, storage: FakeStorage, clock: FakeClock
) -> None:
    index, body = await api.index(), await minimal(api)
    path = f"/indexes/{index}/automations/import"
    await api.put(path, body)
    assert await api.get(f"{path}/window") == {"window": None}
    row = await database.read(automations.get_import, index)
    found = [storage.put("a.mp4", b"aaaa")]
    await database.write(windows.accept_objects, row.id, row.generation, found)
    window = (await api.get(f"{path}/window"))["window"]
    assert window == {
        "window_id": window["window_id"],
        "automation_id": row.id,
        "index_id": index,
        "import_job_id": window["import_job_id"],
        "state": "open",
        "held": False,
        "object_count": 1,
        "size_bytes": 4,
        "opened_at": NOW,
        "last_change_at": NOW,
        "due_at": "2026-09-21T14:18:20.000Z",
        "reason": None,
        "closed_at": None,
        "quiet_at": "2026-09-21T14:18:20.000Z",
        "latest_at": "2026-09-21T14:43:20.000Z",
        "max_objects": 10_000,
    }
    assert (await api.get(path))["next_run_at"] == window["due_at"]
    assert (await api.post(f"{path}/pause"))["next_run_at"] is None
    assert (await api.error("GET", "/indexes/idx_none/automations/import/window", 404))["code"] == (
        "resource_index_not_found"
    )


async def test_a_scan_can_be_asked_for(api: Api, database: Database, clock: FakeClock) -> None:
    index, body = await api.index(), await minimal(api)
    path = f"/indexes/{index}/automations/import"
    await api.put(path, body)
    jobs_of(database).take(Kind.SCAN)
    await api.post(f"{path}/scan", status=202)
    [job] = jobs_of(database).take(Kind.SCAN)
    assert job.run_at == clock.now()
    await api.post(f"{path}/pause")
    assert "paused" in (await api.error("POST", f"{path}/scan", 409))["message"]


@pytest.mark.parametrize("side", ["import", "export"])
async def test_a_put_that_is_repeated_with_its_key_changes_nothing_more(api: Api, side: str) -> None:
    path = f"/indexes/{await api.index()}/automations/{side}"
    destination = {"destination_connector_id": await api.connector("export")}
    body = await minimal(api) if side == "import" else destination
    keyed = {"Idempotency-Key": "k"}
    first = await api.ask("PUT", path, json=body, headers=keyed)
    paused = await api.post(f"{path}/pause")
    assert await api.ask("PUT", path, json=body, headers=keyed) == first
    assert await api.get(path) == paused
