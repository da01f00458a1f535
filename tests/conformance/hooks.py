"""What schemathesis is told besides the description: ids that exist, and what no answer may hold.

It loads this by name, in its own process; VVWATCH_TEST_IDS holds names of parameters and their ids, as JSON.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any
from urllib.parse import urlencode

import schemathesis
from hypothesis import strategies as st

IDS: dict[str, str] = json.loads(os.environ["VVWATCH_TEST_IDS"])
INTERNALS = re.compile(
    r"Traceback|File \"|/site-packages/|\.py\b|sqlalchemy|asyncpg|sqlite3|pydantic"
    r"|\bSELECT \S+ FROM\b|\bINSERT INTO\b|\bUPDATE \S+ SET\b|0x[0-9a-f]{8}",
)
MOST_OF_A_QUERY = 32_768
LOCAL = {"/api/v2/connectors/local"}  # it says below which folders a local connector may be
PLACES = re.compile(r"/(?:tmp|home|root|usr|var|proc)/[\w-]+")


@schemathesis.hook
def before_generate_path_parameters(context: Any, strategy: Any) -> Any:
    """Every second request is about something that is there, unless it would take it away."""
    operation = context.operation
    names = re.findall(r"\{(\w+)\}", operation.path)
    if operation.method == "delete" or not names or any(name not in IDS for name in names):
        return strategy
    there = {name: IDS[name] for name in names}
    return st.one_of(st.just(there), strategy)


@schemathesis.hook
def filter_headers(context: Any, headers: Any) -> bool:
    """What is no HTTP is refused by the server's parser, before there is an application."""
    return all(str(value).isprintable() for value in (headers or {}).values())


@schemathesis.hook
def filter_query(context: Any, query: Any) -> bool:
    """Nor is what is longer than the parser reads."""
    return len(urlencode(query or {}, doseq=True, errors="surrogatepass")) < MOST_OF_A_QUERY


@schemathesis.check
def no_leaked_internals(ctx: Any, response: Any, case: Any) -> None:
    """What the server is made of, and where it lies, is nobody's business."""
    if case.operation.path in {"/metrics", "/api/v2/openapi.json"}:
        return
    text = response.text if response.encoding or "json" in str(response.headers) else ""
    sent = json.dumps([case.path_parameters, case.query, str(case.body)], default=str)
    found = [match for match in INTERNALS.findall(text) if match not in sent]
    if response.status_code >= 400 and case.operation.path not in LOCAL:
        found += [match for match in PLACES.findall(text) if match not in sent]
    assert not found, f"the answer tells of the inside: {found[:3]}"
