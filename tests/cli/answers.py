"""What a daemon answers, in the shapes of the API."""

from __future__ import annotations

from typing import Any

from tests.cli.fake_daemon import FakeDaemon

API = "/api/v2"
LONG_AGO = "2020-01-01T00:00:00.000Z"


def automation(name: str, **changed: Any) -> dict[str, Any]:
    return {
        "automation_id": f"auto_{name}",
        "index_id": f"idx_{name}",
        "status": "active",
        "last_scan_at": LONG_AGO,
        "last_import_job_id": None,
        "last_error": None,
        "last_error_hint": None,
    } | changed


def job(job_id: str, **changed: Any) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "source_kind": "connector",
        "target_index_id": "idx_a",
        "status": "completed",
        "progress": {"total_files": 3, "imported": 2, "failed": 1, "skipped": 0},
        "execution": {"run_id": "run_1"},
        "failed_files": [{"path": "bad\x1b.mp4", "error": "it is cut short"}],
        "error_message": None,
        "started_at": LONG_AGO,
        "completed_at": None,
    } | changed


def watching(daemon: FakeDaemon, **automations: dict[str, Any]) -> None:
    """Indexes of these names, each with this import automation and no export automation."""
    daemon.answers[f"GET {API}/automations"] = [
        index_summary(f"idx_{name}", name.upper(), import_automation=found)
        for name, found in automations.items()
    ]


def index_summary(index_id: str, name: str, **automations: dict[str, Any]) -> dict[str, Any]:
    return {
        "index_id": index_id,
        "index_name": name,
        "import_automation": None,
        "export_automation": None,
    } | automations


def file(file_id: int, status: str, message: str | None = None) -> dict[str, Any]:
    return {
        "file_id": str(file_id),
        "status": status,
        "size_bytes": 10,
        "path": f"{file_id}.mp4",
        "message": message,
        "failure": None,
        "skip_reason": None,
        "video_id": f"vid_{file_id}" if status == "imported" else None,
    }


def prompt_run(run_id: str, **changed: Any) -> dict[str, Any]:
    cost = {"calls": 8, "input_tokens": 8000, "output_tokens": 400, "usd": 0.0, "unpriced_calls": 8}
    return {
        "run_id": run_id,
        "status": "completed",
        "error_message": None,
        "cost": cost,
        "not_done": {"transcription": "the processor 'gpt' does not transcribe speech"},
    } | changed


def failed_segment(segment_id: str, start: float | None, why: str, answer: str | None) -> dict[str, Any]:
    end = None if start is None else start + 2.5
    return {
        "segment_id": segment_id,
        "failure_message": why,
        "answer_text": answer,
        "start_time": start,
        "end_time": end,
    }


def failed_segments(videos: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """One page, by media item."""
    found = [{"video_id": video_id, "segments": segments} for video_id, segments in videos.items()]
    return {"videos": found, "next_cursor": None}
