"""A request that is repeated with its key does nothing more, and is answered as the first time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast

import anyio
import httpx2
import pytest
from fastapi import Form, Request, Response, UploadFile

from tests.api.asking import ADMIN_KEY, BASE_URL, PROMPT, Api
from tests.api.routes.dying_answer import ask, context_over
from tests.api.story import Story
from tests.clock import FakeClock
from tests.store.pipeline import jobs_of
from vvwatch.api.app import create_app
from vvwatch.api.http.auditing import ACTIONS, Action
from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.idempotency import REPLAYED, Idempotent
from vvwatch.api.routes.indexes import Index, to_response
from vvwatch.core.deliveries import DeliveryStatus
from vvwatch.core.keys import Scope
from vvwatch.errors import StorageUnavailable
from vvwatch.ports import Kind
from vvwatch.store.admin import keys
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database
from vvwatch.store.db.idempotency import KEPT_SECONDS
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.store.schema import deliveries, exports, receipts, webhooks

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
HOOK = {"name": "n8n", "url": "https://example.com/hook", "events": ["export.ready"]}
JSON = {"Content-Type": "application/json"}


async def post(api: Api, path: str, key: str = "k", **options: Any) -> httpx2.Response:
    headers = {"Idempotency-Key": key, **options.pop("headers", {})}
    return await api.client.post(f"/api/v2{path}", headers=headers, **options)


def is_replay(first: httpx2.Response, again: httpx2.Response) -> bool:
    """Whether it is the same answer to the byte, and says that it is one again."""
    same = (again.status_code, again.content) == (first.status_code, first.content)
    return same and again.headers.get(REPLAYED) == "true" and REPLAYED not in first.headers


async def test_the_first_answer_is_given_again(api: Api) -> None:
    for path, body in (("/indexes", {"name": "films"}), ("/prompts", PROMPT), ("/webhooks", HOOK)):
        first, again = [await post(api, path, json=body) for _ in range(2)]
        assert first.status_code == 201
        assert is_replay(first, again), path
        listed = await api.get(path)
        assert len(listed["prompts"] if path == "/prompts" else listed) == 1


async def test_without_a_key_each_request_counts(api: Api) -> None:
    for key in ("", "  "):
        answers = [await post(api, "/indexes", key, json={"name": "films"}) for _ in range(2)]
        assert all(REPLAYED not in answer.headers for answer in answers)
    assert len(await api.get("/indexes")) == 4


async def test_another_content_under_the_same_key_is_refused(api: Api) -> None:
    for path, body in (("/indexes", {"name": "films"}), ("/webhooks", HOOK)):
        await post(api, path, json=body)
        for changed in ({"json": {**body, "name": "other"}}, {"json": body, "params": {"a": "1"}}):
            response = await post(api, path, **changed)
            assert response.status_code == 409
            assert response.json()["error"]["code"] == "idempotency_request_mismatch"
        assert len(await api.get(path)) == 1


@pytest.mark.parametrize("path", ["/indexes", "/webhooks"])
async def test_the_content_counts_and_not_its_spelling(api: Api, path: str) -> None:
    body = {**({} if path == "/indexes" else HOOK), "name": "Füße"}
    spellings = (
        json.dumps(body, ensure_ascii=False, indent=2),
        json.dumps(dict(reversed(body.items())), separators=(",", ":")),
    )
    first, again = [await post(api, path, content=each, headers=JSON) for each in spellings]
    assert is_replay(first, again)


async def test_a_key_belongs_to_its_path(api: Api) -> None:
    assert (await post(api, "/indexes", json={"name": "films"})).status_code == 201
    assert (await post(api, "/prompts", json=PROMPT)).status_code == 201


async def test_what_fails_may_be_tried_again(api: Api) -> None:
    assert (await post(api, "/indexes", json={"name": ""})).status_code == 422
    assert (await post(api, "/webhooks", json={**HOOK, "index_ids": ["idx_none"]})).status_code == 404
    assert (await post(api, "/indexes", json={"name": "films"})).status_code == 201
    assert (await post(api, "/webhooks", json=HOOK)).status_code == 201


async def test_a_key_counts_for_a_day(api: Api, clock: FakeClock) -> None:
    first = await post(api, "/indexes", json={"name": "films"})
    clock.advance(KEPT_SECONDS - 1)
    assert is_replay(first, await post(api, "/indexes", json={"name": "films"}))
    clock.advance(1)
    assert (await post(api, "/indexes", json={"name": "other"})).json()["name"] == "other"


async def test_a_webhook_belongs_to_its_key_as_long_as_it_is_there(api: Api, clock: FakeClock) -> None:
    first = await post(api, "/webhooks", json=HOOK)
    clock.advance(30 * KEPT_SECONDS)
    assert is_replay(first, await post(api, "/webhooks", json=HOOK))
    made = first.json()
    deleted = await api.ask("DELETE", f"/webhooks/{made['webhook_id']}")
    assert deleted["status"] == "deleted"
    assert made["webhook_id"] in deleted["message"]
    assert await api.get("/webhooks") == []
    await api.error("GET", f"/webhooks/{made['webhook_id']}", 404)
    await api.error("DELETE", f"/webhooks/{made['webhook_id']}", 404)
    again = await post(api, "/webhooks", json={**HOOK, "name": "another"})
    assert (again.status_code, REPLAYED in again.headers) == (201, False)
    assert again.json()["webhook_id"] == made["webhook_id"]
    assert again.json()["name"] == "another"
    assert again.json()["secret"] != made["secret"]
    assert is_replay(again, await post(api, "/webhooks", json={**HOOK, "name": "another"}))


async def test_what_waits_for_a_deleted_webhook_is_not_sent(
    api: Api, story: Story, database: Database
) -> None:
    await database.write(lambda tx: tx.update(webhooks, story.webhook_id, declared=True))
    error = await api.error("DELETE", f"/webhooks/{story.webhook_id}", 409)
    assert "configuration file" in error["details"]["hint"]
    [first, *_] = await api.get(f"/webhooks/{story.webhook_id}/deliveries")
    waiting = {"status": DeliveryStatus.RETRYING, "next_at": 1.0, "revision": 7}
    await database.write(lambda tx: tx.update(deliveries, first["delivery_id"], **waiting))
    await database.write(lambda tx: tx.update(webhooks, story.webhook_id, declared=False))
    await api.ask("DELETE", f"/webhooks/{story.webhook_id}")
    row = await database.read(lambda tx: tx.require(deliveries, "delivery", first["delivery_id"]))
    assert (row.status, row.error_message) == ("failed", "the webhook was deleted")
    assert (row.next_at, row.revision) == (None, 8)


async def test_no_stored_answer_can_be_read(api: Api, database: Database) -> None:
    secret = (await post(api, "/webhooks", json=HOOK)).json()["secret"]
    await post(api, "/indexes", json={"name": "hidden name"})
    kept = await database.read(lambda tx: [*tx.all(receipts.select()), *tx.all(webhooks.select())])
    assert secret not in str(kept)
    assert "hidden name" not in str(kept)


async def test_a_retry_is_begun_once(api: Api, story: Story, database: Database) -> None:
    await database.write(lambda tx: tx.update(exports, story.export_id, status="failed"))
    jobs_of(database).take(Kind.EXPORT)
    sent: tuple[dict[str, Any], ...] = ({}, {"content": b"", "headers": JSON}, {"json": {}})
    first, *others = [await post(api, f"/exports/{story.export_id}/retry", **each) for each in sent]
    assert first.status_code == 202
    assert all(is_replay(first, each) for each in others)
    assert len(jobs_of(database).take(Kind.EXPORT)) == 1
    for body in (b"null", b"[]", b"{", b"[" * 10_000):
        response = await post(api, f"/exports/{story.export_id}/retry", content=body, headers=JSON)
        assert response.status_code == 409
        assert response.json()["error"]["code"] == "idempotency_request_mismatch"


@pytest.mark.parametrize(("path", "body"), [("/indexes", {"name": "films"}), ("/webhooks", HOOK)])
async def test_of_many_at_once_one_is_done_and_all_are_answered_alike(
    api: Api, path: str, body: dict[str, Any]
) -> None:
    answers: list[httpx2.Response] = []

    async def one() -> None:
        answers.append(await post(api, path, json=body))

    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(one)
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert sum(REPLAYED not in answer.headers for answer in answers) == 1
    assert len(await api.get(path)) == 1


@pytest.mark.parametrize(("path", "body"), [("/indexes", {"name": "films"}), ("/webhooks", HOOK)])
async def test_a_crash_between_the_effect_and_the_answer_repeats_the_answer(
    tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    place = tmp_path / "vvwatch.db"
    database = SqliteDatabase(place, FakeClock())
    async with database.opened():
        await database.write(keys.seed_admin, ADMIN_KEY)
    request = "POST", path, json.dumps(body), "k"
    child = await anyio.run_process(
        [sys.executable, "-m", "tests.api.routes.dying_answer", str(place), *request],
        cwd=ROOT,
        check=False,
        stderr=subprocess.STDOUT,
    )
    assert child.returncode == -9, child.stdout.decode()
    database = SqliteDatabase(place, FakeClock())
    async with database.opened():
        app = create_app(context_over(database))
        answers = [await ask(app, *request) for _ in range(2)]
        [row] = (await ask(app, "GET", path, "", "")).json()
        assert [answer.status_code for answer in answers] == [201, 201]
        assert [answer.headers[REPLAYED] for answer in answers] == ["true", "true"]
        assert answers[0].content == answers[1].content
        assert row.items() <= answers[0].json().items()


async def upload(once: Idempotent, name: Annotated[str, Form()], file: UploadFile) -> Response:
    return await once(lambda tx: to_response(catalog.create_index(tx, f"{name} {file.size}")))


async def slow(request: Request, once: Idempotent) -> Response:
    """Makes something at once, and waits before it goes on with it."""

    async def then(made: Index) -> Index:
        await request.app.state.gate()
        return made.model_copy(update={"description": "done"})

    return await once.run_both(lambda tx: to_response(catalog.create_index(tx, "films")), then)


@pytest.fixture
async def own(context: ApiContext, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """A server that has these two routes as well, and takes large bodies."""
    for name in ("POST /test/upload", "POST /test/slow"):
        monkeypatch.setitem(cast("dict[str, Action]", ACTIONS), name, Action("index.created", "index_id"))
    large = replace(context, settings=replace(context.settings, max_body_bytes=16 << 20))
    app, router = create_app(large), resource_router("test")
    router.post("/test/upload", status_code=201, response_model=Index, **require(Scope.WRITE))(upload)
    router.post("/test/slow", status_code=201, response_model=Index, **require(Scope.WRITE))(slow)
    app.include_router(router)
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=BASE_URL) as client:
        yield await Api.prepared(client, large)


@pytest.mark.parametrize("size", [10, 3 << 20])
async def test_a_form_counts_by_its_fields_and_files(own: Api, size: int) -> None:
    def sent(name: str, content: bytes) -> dict[str, Any]:
        """With another boundary each time."""
        return {"data": {"name": name}, "files": {"file": ("a.json", content, "application/json")}}

    whole = bytes(size)
    first, again = [await post(own, "/test/upload", **sent("a", whole)) for _ in range(2)]
    assert first.json()["name"] == f"a {size}"
    assert first.request.headers["content-type"] != again.request.headers["content-type"]
    assert is_replay(first, again)
    for name, content in (("b", whole), ("a", whole[:-1] + b"1"), ("a", whole[:-1])):
        assert (await post(own, "/test/upload", **sent(name, content))).status_code == 409


async def test_while_the_first_goes_on_a_second_is_told_to_wait(own: Api) -> None:
    begun, gate = anyio.Event(), anyio.Event()

    async def wait() -> None:
        begun.set()
        await gate.wait()

    app_of(own).state.gate = wait
    first: list[httpx2.Response] = []

    async def ask_first() -> None:
        first.append(await post(own, "/test/slow"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask_first)
        await begun.wait()
        early = await post(own, "/test/slow")
        assert (early.status_code, early.headers["retry-after"]) == (409, "1")
        assert early.json()["error"]["code"] == "idempotency_request_in_progress"
        gate.set()
    assert first[0].json()["description"] == "done"
    assert is_replay(first[0], await post(own, "/test/slow"))
    assert len(await own.get("/indexes")) == 1


async def test_when_what_follows_fails_what_was_made_is_answered(own: Api) -> None:
    async def fail() -> None:
        raise StorageUnavailable("the bucket does not answer")

    app_of(own).state.gate = fail
    assert (await post(own, "/test/slow")).status_code == 503
    again = await post(own, "/test/slow")
    assert (again.status_code, again.json()["description"]) == (201, None)
    assert len(await own.get("/indexes")) == 1


async def test_what_follows_comes_without_a_key_too(own: Api) -> None:
    async def go() -> None:
        pass

    app_of(own).state.gate = go
    answers = [await post(own, "/test/slow", "") for _ in range(2)]
    assert [answer.json()["description"] for answer in answers] == ["done", "done"]
    assert len(await own.get("/indexes")) == 2


def app_of(api: Api) -> Any:
    transport: Any = api.client._transport
    return transport.app


async def test_the_description_tells_of_the_key_and_of_what_is_answered(context: ApiContext) -> None:
    described = create_app(context).openapi()["paths"]["/api/v2/webhooks"]["post"]
    assert [each["name"] for each in described["parameters"] if "name" in each] == ["Idempotency-Key"]
    answer = described["responses"]["201"]["content"]["application/json"]
    assert answer["schema"]["$ref"].endswith("/NewWebhook")
