"""The one route that performs what pages change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import UploadFile

from vvwatch.api.http.auditing import note_refusal
from vvwatch.api.http.errors import ApiError
from vvwatch.api.pages.access import Page, PageRequest, local_path, page_router
from vvwatch.api.pages.actions import ACTIONS, Action
from vvwatch.api.pages.calls import Answer, call_api
from vvwatch.api.pages.sessions import Flash, set_flash
from vvwatch.core.audit import Reason

router = page_router()

CSRF_FIELD: Final = "csrf"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The question before an action, and the form that answers it."""

    name: str
    action: Action
    back: str
    fields: Mapping[str, str]


async def read_form(page: PageRequest) -> dict[str, str]:
    """Return the texts of the request's form, several of one name as lines.

    Raises ApiError (403) if it does not come from a page of this session.
    """
    form = await page.request.form()
    values: dict[str, str] = {}
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            values[name] = f"{values[name]}\n{value}" if name in values else value
    if not page.session.owns(values.pop(CSRF_FIELD, "")):
        what = "this form is not of your session"
        error = ApiError(403, "csrf_token_invalid", what, "reload the page and try again")
        raise note_refusal(page.request, Reason.ORIGIN, error)
    return values


@router.post("/actions/{name}")
async def perform_action(page: Page, name: str) -> Response:
    """Perform an action and return to the page that it was begun on, with the outcome."""
    values = await read_form(page)
    action = ACTIONS.get(name)
    if action is None:
        raise ApiError(404, "resource_action_not_found", "there is no such action", "reload the page")
    back = local_path(values.pop("back", "/"))
    if action.confirm and not values.pop("confirmed", ""):
        asked = Confirmation(name, action, back, values)
        return await page.render("confirm.html", asked, action.label)
    answer = await _perform(page, action, values)
    response = RedirectResponse(back, 303)
    set_flash(page.request, response, _describe(action, answer))
    return response


async def _perform(page: PageRequest, action: Action, values: dict[str, str]) -> Answer:
    """Send the action's request. Raises ApiError (422) for a form that lacks something."""
    try:
        target, body = action.fill_path(values), action.build_body(values)
    except (KeyError, ValueError) as error:
        what = f"the form lacks or misstates something: {error}"
        raise ApiError(422, "validation_error", what, "reload the page and try again") from error
    return await call_api(
        page.request, page.session, action.method, target, body, values.get("request_key", "")
    )


def _describe(action: Action, answer: Answer) -> Flash:
    if answer.ok:
        trouble = action.find_trouble(answer.document)
        done = action.done if action.describe is None else action.describe(answer.document)
        return Flash("bad", trouble) if trouble else Flash("good", done)
    return Flash("bad", f"{action.label}: {answer.message}", answer.hint)
