"""Pages of lists, filters and what others wrote, without a browser."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.pages.browser import Browser, forms_of
from tests.store.pipeline import prepare
from vvwatch.api.pages.foreign import flatten, make_visible
from vvwatch.api.pages.wording import describe_amount
from vvwatch.store.db.database import Tx
from vvwatch.store.schema import import_files, import_jobs

pytestmark = pytest.mark.anyio

HOSTILE = "<script>alert(1)</script>\x07\u202e.mp4"


def _fill(tx: Tx, jobs: int) -> str:
    prepare(tx)
    ended: dict[str, Any] = {"created_at": tx.now, "completed_at": tx.now, "updated_at": tx.now}
    for number in range(jobs):
        its = {"index_id": "idx_main", "connector_id": "conn_in", "status": "completed", "total_files": 1}
        tx.insert(import_jobs, id=f"job_{number:03d}", failed=int(number == 7), **its, **ended)
    said = {"status": "failed", "reason": "media_unreadable", "message": HOSTILE}
    tx.insert(import_files, job_id="job_007", key=HOSTILE, version="v1", **said)
    return "job_007"


async def test_a_list_pages_through_all_rows(operator: Browser) -> None:
    await operator.context.database.write(_fill, 120)
    seen: list[str] = []
    path = "/jobs"
    while path:
        text = await operator.page(path)
        seen += [f"job_{number:03d}" for number in range(120) if f'href="/jobs/job_{number:03d}"' in text]
        _, _, rest = text.partition('rel="next" href="')
        path = f"/jobs{rest.partition(chr(34))[0].replace('&amp;', '&')}" if rest else ""
    assert sorted(seen) == [f"job_{number:03d}" for number in range(120)]


async def test_filters_show_what_needs_attention_alone(operator: Browser) -> None:
    await operator.context.database.write(_fill, 20)
    assert 'href="/jobs/job_007"' in await operator.page("/jobs?show=attention")
    assert 'href="/jobs/job_008"' not in await operator.page("/jobs?show=attention")
    assert "No import jobs here" in await operator.page("/jobs?show=open")


async def test_names_and_messages_are_escaped_and_shown_as_codes(operator: Browser) -> None:
    job_id = await operator.context.database.write(_fill, 10)
    for path in (f"/jobs/{job_id}", "/attention", "/attention/import_file?reason=media_unreadable"):
        text = await operator.page(path)
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;[U+0007][U+202E].mp4" in text


async def test_a_group_is_dismissed_after_a_question(operator: Browser) -> None:
    await operator.context.database.write(_fill, 10)
    form = await operator.form("/attention", "/actions/dismiss-group")
    asked = await operator.submit(form)
    assert "Dismiss these failures?" in asked.text
    [confirmed] = [each for each in forms_of(asked.text) if each.action == "/actions/dismiss-group"]
    assert (await operator.submit(confirmed)).status_code == 303
    assert "1 was dismissed" in await operator.page("/attention")
    assert "Nothing needs you" in await operator.page("/attention")


async def test_files_in_no_store_that_is_scanned_have_no_retry(operator: Browser) -> None:
    """The API refuses it: uploads are sent again, attachments retried with their job."""
    job_id = await operator.context.database.write(_fill, 10)
    paths = f"/jobs/{job_id}", "/attention", "/attention/import_file?reason=media_unreadable"
    for connector_id, offered in (("conn_in", True), ("conn__uploads", False)):
        await operator.context.database.write(_move, job_id, connector_id)
        for path in paths:
            actions = {form.action for form in forms_of(await operator.page(path))}
            assert bool(actions & {"/actions/retry-file", "/actions/retry-group"}) == offered, path


def _move(tx: Tx, job_id: str, connector_id: str) -> None:
    tx.update(import_jobs, job_id, connector_id=connector_id)


async def test_a_bad_cursor_is_an_error_page(operator: Browser) -> None:
    response = await operator.get("/jobs?cursor=nonsense")
    assert response.status_code == 400
    assert "start without a cursor" in response.text


def test_texts_are_cut_and_made_visible() -> None:
    assert make_visible("plain ü 漢") == "plain ü 漢"
    assert make_visible("a\u200fb\nc") == "a[U+200F]b\nc"
    assert make_visible("x" * 3_000) == "x" * 2_000 + "… (3,000 characters)"


def test_numbers_have_their_nouns() -> None:
    assert describe_amount(1, "delivery", "deliveries") == "1 delivery"
    assert describe_amount(0, "delivery", "deliveries") == "0 deliveries"
    assert describe_amount(2_000, "file") == "2,000 files"


def test_documents_become_rows() -> None:
    document = {"a": {"b": [1, 2], "c": None}, "d": [{"e": True}]}
    assert flatten(document) == [("a.b", "1, 2"), ("d.1.e", "true")]
    assert len(flatten({str(number): number for number in range(500)})) == 101
