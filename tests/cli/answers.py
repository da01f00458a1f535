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
    daemon.answers[f"GET {API}/indexes"] = [
        {"index_id": f"idx_{name}", "name": name.upper()} for name in automations
    ]
    for name, found in automations.items():
        daemon.answers[f"GET {API}/indexes/idx_{name}/automations/import"] = found


def file(file_id: int, status: str, message: str | None = None) -> dict[str, Any]:
    return {
        "file_id": str(file_id),
        "status": status,
        "size_bytes": 10,
        "path": f"{file_id}.mp4",
        "message": message,
        "failure": None,
        "skip_reason": None,
    }
