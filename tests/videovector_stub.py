"""A VideoVector on loopback that does what a test wants: imports, runs and results, and every way of going wrong.

It counts what it makes by idempotency key, as the real one does: the same key again makes nothing new.
"""

from __future__ import annotations

import json
import re
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.loopback import LoopbackServer

KEY = "sk_live_" + "5" * 48
AT = "2026-01-01T00:00:00Z"
Answer = Callable[[BaseHTTPRequestHandler], None]


def says(body: Any, status: int = 200, **headers: str) -> Answer:
    """An answer: JSON of `body`, or bytes as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Content-Type": "application/json", "Content-Length": str(len(content))}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in given.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def refuses(status: int, code: str = "refused", message: str = "no", **headers: str) -> Answer:
    """An error as the API tells it."""
    return says({"error": {"code": code, "message": message, "details": {}}}, status, **headers)


def resets(handler: BaseHTTPRequestHandler) -> None:
    """Reset the connection."""
    handler.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Answer without an end."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * (1 << 20))


def segment(number: int, start: float, end: float, **fields: Any) -> dict[str, Any]:
    """A result of one segment."""
    return {
        "result_type": "segment",
        "segment_id": f"seg_{number}",
        "run_id": "run_1",
        "prompt_id": "prompt_1",
        "executed_at": AT,
        "start_time": start,
        "end_time": end,
        "metadata": {"topic": f"topic {number}"},
        "metadata_text": f"topic {number}",
        **fields,
    }


def failure(number: int, start: float, end: float, **fields: Any) -> dict[str, Any]:
    """A failed segment of the manifest."""
    told = {"failed_operations": ["field_extraction"], "field_extraction_error": "the model gave up"}
    times = {"start_time": start, "end_time": end}
    return {"segment_id": f"seg_{number}", "retryable": True, **told, **times, **fields}


@dataclass
class VideoVectorStub(LoopbackServer):
    """`parts` are the media that an import makes, with the second at which each begins; `segments` are what is found
    in each, a page at a time; `failures` what failed in each. A job or run takes `import_polls` and `run_polls` looks
    to end as `import_end` and `run_end`. `answers` replaces what is answered to "METHOD /path", `*` at an end fits
    all. `made` counts by path what was made; `asked` has every request.
    """

    parts: Mapping[str, float] = field(default_factory=lambda: {"vid_up": 0.0})
    segments: dict[str, list[list[dict[str, Any]]]] = field(
        default_factory=lambda: {"vid_up": [[segment(0, 0, 2), segment(1, 2, 4)]]}
    )
    failures: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    wholes: dict[str, dict[str, Any]] = field(default_factory=dict)
    prompts: list[dict[str, Any]] = field(default_factory=list)
    estimate: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    llm_calls: list[dict[str, Any]] = field(default_factory=list)
    import_polls: int = 1
    run_polls: int = 1
    import_end: str = "completed"
    run_end: str = "completed"
    run_ends: dict[str, str] = field(default_factory=dict)
    retry_end: str = "completed"
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    made: Counter[str] = field(default_factory=Counter)
    hanging: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    _given: dict[tuple[str, str], Any] = field(default_factory=dict)
    _looks: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # head and body in two packets would wait for an acknowledgement between them

            def handle_any(self) -> None:
                with suppress(BrokenPipeError, ConnectionResetError):
                    stub.answer(self)
                    if not self.wfile.closed:
                        self.wfile.flush()

            do_GET = do_POST = handle_any  # noqa: N815  # as http.server calls them

            def log_message(self, *args: object) -> None:
                pass

        self.serve_http(Handler)
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        super().__exit__()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v2"

    def count(self, request: str) -> int:
        """How often this "METHOD /path" was asked; `*` at its end fits all."""
        return sum(_fits(request, each) for each in self.asked)

    def hangs(self, handler: BaseHTTPRequestHandler) -> None:
        """Never answer."""
        self.hanging.set()
        self.released.wait(30)

    def drips(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a byte at a time, without an end."""
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        while not self.released.wait(0.05):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = self._body(handler)
        split = urlsplit(handler.path)
        path = split.path.removeprefix("/api/v2")
        asked = f"{handler.command} {path}"
        with self._lock:
            self.asked.append(asked)
            self.bodies.append(body)
        replaced = next((each for wanted, each in self.answers.items() if _fits(wanted, asked)), None)
        if replaced is not None:
            replaced(handler)
            return
        key = handler.headers.get("Idempotency-Key") or ""
        with self._lock:
            told = self._told(asked, path, parse_qs(split.query), body, key)
        says(told)(handler) if told is not None else refuses(404, "resource_unknown_not_found")(handler)

    def _body(self, handler: BaseHTTPRequestHandler) -> Any:
        content = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if "json" in (handler.headers.get("Content-Type") or ""):
            return json.loads(content)
        return content

    def _told(self, asked: str, path: str, query: Mapping[str, list[str]], body: Any, key: str) -> Any:
        makes = {
            "POST /workflow/upload": lambda: self._job(f"job_{self.made['imports']}"),
            "POST /import-jobs": lambda: self._job(f"job_{self.made['imports']}"),
            "POST /prompt-runs/execute": lambda: self._run(f"run_{self.made['runs']}"),
            "POST /prompts": lambda: self._prompt(body),
        }
        if asked in makes:
            if (path, key) not in self._given or not key:
                self.made[
                    {"prompts": "prompts", "prompt-runs": "runs"}.get(path.split("/")[1], "imports")
                ] += 1
                self._given[path, key] = makes[asked]()
            return self._given[path, key]
        for pattern, tell in self._reads().items():
            found = re.fullmatch(pattern, asked)
            if found:
                return tell(*found.groups(), **({"query": query} if "results" in pattern else {}))
        if asked.endswith("/retry"):
            if (path, key) not in self._given:
                self.made["retries"] += 1
                self._given[path, key] = self._retry(path)
            return self._given[path, key]
        return None

    def _reads(self) -> dict[str, Callable[..., Any]]:
        return {
            r"POST /auth/processing-activity": lambda: {"accepted": True},
            r"GET /indexes/(\w+)": lambda name: {
                "index_id": name,
                "name": "main",
                "user_id": "u",
                "created_at": AT,
            },
            r"GET /connectors/(\w+)": lambda name: {
                "connector_id": name,
                "name": "main",
                "provider": "s3",
                "status": "active",
                "scopes": ["import"],
                "import_mode": "all",
            },
            r"GET /import-jobs/(\w+)": lambda job: self._job(job, self._end(job, "import")),
            r"GET /import-jobs/\w+/outputs": self._outputs,
            r"GET /import-jobs/\w+/files": lambda: {"items": [], "next_cursor": None, "total": 0},
            r"GET /prompts": lambda: {"prompts": self.prompts, "total_count": 0, "active_count": 0},
            r"POST /prompt-runs/estimate": lambda: {
                "estimated_mt": 2.0,
                "breakdown": {},
                "sufficient_balance": True,
                "current_balance_mt": 100.0,
                **self.estimate,
            },
            r"GET /prompt-runs/(\w+)": lambda run: self._run(run, self._end(run, "run")),
            r"GET /prompt-runs/\w+/results": self._results,
            r"GET /prompt-runs/\w+/failed-segments": self._manifest,
            r"GET /prompt-runs/\w+/llm-calls": lambda: self.llm_calls,
            r"GET /prompt-runs/\w+/videos/(\w+)/video-result": self.wholes.get,
            r"GET /prompt-runs/\w+/videos/\w+/segments/(\w+)/retries/(\w+)": self._retry_standing,
            r"POST /prompt-runs/(\w+)/cancel": lambda run: self._run(run, "cancelled"),
            r"GET /videos/\w+/prompt-runs": lambda: [
                given for (path, _), given in self._given.items() if path == "/prompt-runs/execute"
            ],
        }

    def _end(self, name: str, kind: str) -> str:
        self._looks[name] += 1
        if self._looks[name] < getattr(self, f"{kind}_polls"):
            return "importing" if kind == "import" else "processing"
        return self.run_ends.get(name) or str(getattr(self, f"{kind}_end"))

    def _job(self, job_id: str, status: str = "pending") -> dict[str, Any]:
        progress = dict.fromkeys(("total_files", "imported", "failed", "skipped", "bytes_transferred"), 0)
        return {"job_id": job_id, "status": status, "progress": progress}

    def _run(self, run_id: str, status: str = "pending") -> dict[str, Any]:
        return {
            "run_id": run_id,
            "prompt_id": "prompt_1",
            "prompt_name": "p",
            "prompt_type": "custom",
            "executed_at": AT,
            "executed_by": "u",
            "status": status,
            "run_context": {},
            "total_segments": 2,
            "completed_segments": 1,
            **self.run,
        }

    def _prompt(self, body: Any) -> dict[str, Any]:
        made = {"prompt_id": f"prompt_{self.made['prompts']}", "user_id": "u", "created_at": AT, **body}
        self.prompts.append(made)
        return made

    def _outputs(self) -> dict[str, Any]:
        items = [
            {
                "file_id": "1",
                "file_name": "clip.mp4",
                "source_ordinal": 0,
                "part_index": number,
                "part_count": len(self.parts),
                "source_start_seconds": start,
                "source_end_seconds": start + 4,
                "video_id": name,
                "title": "clip",
                "status": "not_processed",
            }
            for number, (name, start) in enumerate(self.parts.items())
        ]
        return {"items": items, "next_cursor": None, "total": len(items)}

    def _results(self, query: Mapping[str, list[str]]) -> dict[str, Any]:
        pages = self.segments.get(query["video_id"][0], [[]])
        number = int(query.get("cursor", ["0"])[0])
        more = number + 1 < len(pages)
        told = {"limit": 100, "has_more": more, "next_cursor": str(number + 1) if more else None}
        return {"data": pages[number], "pagination": told}

    def _manifest(self) -> dict[str, Any]:
        videos = [{"video_id": name, "segments": segments} for name, segments in self.failures.items()]
        return {"run_id": "run_1", "status": self.run_end, "videos": videos}

    def _retry(self, path: str) -> dict[str, Any]:
        _, _, run_id, _, video_id, _, segment_id, _ = path.split("/")
        told = {"run_id": run_id, "video_id": video_id, "segment_id": segment_id, "created_at": AT}
        return {**told, "retry_id": f"retry_{self.made['retries']}", "status": "pending", "message": "begun"}

    def _retry_standing(self, segment_id: str, retry_id: str) -> dict[str, Any]:
        if self.retry_end == "completed":
            for name, failures in self.failures.items():
                here = [each for each in failures if each["segment_id"] == segment_id]
                for each in here:
                    failures.remove(each)
                    number = int(segment_id.removeprefix("seg_"))
                    self.segments[name][-1].append(segment(number, each["start_time"], each["end_time"]))
        told = {"run_id": "run_1", "video_id": "v", "segment_id": segment_id, "created_at": AT}
        return {**told, "retry_id": retry_id, "status": self.retry_end, "billing_actual_mt": 0.5}


def _fits(wanted: str, asked: str) -> bool:
    return asked.startswith(wanted[:-1]) if wanted.endswith("*") else asked == wanted
