"""What all pages have in common: headers, assets, errors, live updates, and the overview."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import anyio
import httpx2
import pytest

from tests.api.asking import ADMIN_KEY, Api
from tests.api.pages.browser import HTML, Browser
from tests.api.serving import served
from tests.api.story import INDEX, Story
from vvwatch.api.http.context import ApiContext
from vvwatch.api.pages.rendering import POLICY
from vvwatch.store.admin import keys
from vvwatch.store.db.database import Tx
from vvwatch.store.schema import import_automations, indexes

pytestmark = pytest.mark.anyio

VENDORED = {
    "htmx-4.0.1.min.js": "Qp9rdC8H7EqOoX+nR0P3RPG2Noji+qdwJlGpfzwQJsfOpp3sGwIdSP9xO3+UlEhn",
}
"""Name and version of each file of others, with its sha384 as npm's package has it (0BSD)."""
PATHS = (
    "/",
    "/automations",
    "/connectors",
    "/connectors/new",
    "/automations/new",
    "/nothing",
    "/login?code=x",
)
_FORBIDDEN = re.compile(r"<script(?![^>]* src=\"/static/)|<style|\son\w+=|\sstyle=|(src|href)=\"(?!/|#|\?)")
MAX_STYLE_BYTES = 12_000


async def test_every_page_forbids_inline_code_and_other_hosts(browser: Browser) -> None:
    paths = ("/", "/automations", "/connectors", "/connectors/new", "/automations/new", "/nothing")
    answers = [("/login?code=x", await browser.get("/login?code=x"))]
    assert (await browser.log_in()).status_code == 303
    answers += [(path, await browser.get(path)) for path in paths]
    for path, answer in answers:
        assert answer.headers["content-security-policy"] == POLICY, path
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(
            r"<script(?![^>]* src=\"/static/)|<style|\son\w+=|\sstyle=|(src|href)=\"(?!/|#|\?)", answer.text
        )


def test_the_files_of_others_are_those_that_they_published() -> None:
    folder = files("vvwatch.api.pages") / "static"
    scripts = {each.name for each in folder.iterdir() if each.name.endswith(".js")} - {"pages.js"}
    assert scripts == VENDORED.keys()
    for name, digest in VENDORED.items():
        content = (folder / name).read_bytes()
        assert base64.b64encode(hashlib.sha384(content).digest()).decode() == digest
        assert "Zero-Clause BSD" in (folder / f"{name.removesuffix('.min.js')}.LICENSE.txt").read_text()


def test_the_style_sheet_stays_small() -> None:
    assert len((files("vvwatch.api.pages") / "static" / "pages.css").read_bytes()) <= MAX_STYLE_BYTES


async def test_assets_are_cached_for_ever_under_the_hash_of_their_content(browser: Browser) -> None:
    text = (await browser.get("/login")).text
    urls = re.findall(r'"(/static/[^"]+)"', text)
    assert len(urls) >= 2
    for url in urls:
        answer = await browser.client.get(url)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert hashlib.sha256(answer.content).hexdigest().startswith(url.split("/")[2])
    for gone in ("/static/0000000000000000/pages.css", f"{urls[0]}x", "/static/x/../../pages.py"):
        assert (await browser.client.get(gone)).status_code == 404


async def test_errors_are_pages_for_browsers_and_json_for_the_rest(operator: Browser) -> None:
    page = await operator.get("/nothing")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    for path, headers in (("/nothing", {"Accept": "*/*"}), ("/api/v2/nothing", HTML)):
        answer = await operator.client.get(path, headers=headers)
        assert answer.json()["error"]["code"] == "resource_route_not_found"


async def test_a_value_that_no_page_takes_is_a_page(operator: Browser) -> None:
    answer = await operator.get("/?page=0")
    assert answer.status_code == 422
    assert "query.page" in answer.text


async def test_pages_are_not_in_the_description_of_the_api(api: Api) -> None:
    paths = (await api.client.get("/openapi.json")).json()["paths"]
    assert {path for path in paths if not path.startswith("/api/v2/")} <= {
        "/healthz",
        "/livez",
        "/readyz",
        "/metrics",
    }


async def test_the_overview_shows_the_whole_way(story: Story, operator: Browser) -> None:
    text = await operator.page("/")
    for link in (
        f"/automations/{story.automation_id}",
        f"/jobs/{story.job_id}",
        f"/runs/{story.run_id}",
    ):
        assert f'href="{link}"' in text
    assert "b.mp4" in text  # needs a person
    assert 'aria-label="Last 1 window: 1 with failures"' in text


async def test_names_from_outside_are_escaped(story: Story, operator: Browser, context: ApiContext) -> None:
    name = "<img src=x onerror=alert(1)>\"'&"
    await context.database.write(lambda tx: tx.update(indexes, INDEX, name=name))
    for path in ("/", "/automations", f"/automations/{story.automation_id}"):
        text = await operator.page(path)
        assert "<img src=x" not in text
        assert "&lt;img src=x onerror=alert(1)&gt;" in text


async def test_the_overview_finds_by_words_and_by_state(story: Story, operator: Browser, api: Api) -> None:
    lane = f'href="/automations/{story.automation_id}"'
    for query, is_there in (
        ("q=main", True),
        ("q=nothing", False),
        ("show=paused", False),
        ("show=nonsense", True),
    ):
        assert (lane in await operator.page(f"/?{query}")) == is_there, query
    await api.post(f"/indexes/{INDEX}/automations/import/pause")
    assert lane in await operator.page("/?show=paused")


async def test_every_page_says_what_is_wrong(story: Story, operator: Browser, context: ApiContext) -> None:
    assert 'class="banner' not in (await operator.page("/connectors")).replace('id="stale" class="banner', "")

    def break_it(tx: Tx) -> None:
        doubt = {"since": 1.0, "times": 1, "missing": 9, "why": "all are missing", "proven": True}
        values = {"last_error": "the bucket is gone", "failing_since": 1.0, "doubt": doubt}
        tx.update(import_automations, story.automation_id, **values)

    async def ailing() -> dict[str, object]:
        return {
            "database": {"writable": False, "error": "disk full"},
            "nodes": [{"name": "n2", "loss": "is lost"}],
        }

    await context.database.write(break_it)
    operator.client._transport.described.state.context = replace(context, status=ailing)  # type: ignore[attr-defined]
    text = await operator.page("/connectors")
    for said in (
        "1 automation is failing",
        "1 automation misses known objects",
        "The database is not writable: disk full",
        "The node n2 is lost",
    ):
        assert said in text


async def test_a_change_reaches_an_open_page_within_two_seconds(context: ApiContext) -> None:
    await context.database.write(keys.seed_admin, ADMIN_KEY)
    async with served(context) as server, httpx2.AsyncClient(base_url=server.url, timeout=10) as client:
        await client.post("/login", data={"key": ADMIN_KEY})
        async with client.stream("GET", "/live") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            lines = response.aiter_lines()
            assert [await anext(lines) for _ in range(3)] == ["retry: 2000", "data: open", ""]
            assert server.app.state.open_pages.count == 1
            with anyio.fail_after(2.0):
                await context.database.write(keys.seed_admin, "sk_live_" + "b" * 48, "key_other")
                assert await anext(lines) == "data: changed"


async def test_open_pages_end_when_the_server_stops(context: ApiContext) -> None:
    await context.database.write(keys.seed_admin, ADMIN_KEY)
    async with httpx2.AsyncClient(timeout=10) as client, served(context) as server:
        await client.post(f"{server.url}/login", data={"key": ADMIN_KEY})
        async with client.stream("GET", f"{server.url}/live") as response:
            server.web.stop()
            with anyio.fail_after(5):
                async for _ in response.aiter_lines():
                    pass
    assert server.app.state.open_pages.count == 0


def test_templates_and_assets_are_in_the_package() -> None:
    folder = Path(str(files("vvwatch.api.pages")))
    assert {each.suffix for each in (folder / "templates").iterdir()} == {".html"}
