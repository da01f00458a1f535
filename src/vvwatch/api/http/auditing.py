"""Audit trail: each change commits together with its entry.

Only accepted changes are recorded. A failed request has no entry; `note_refusal` counts requests without a valid key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Annotated, Any, Final, NamedTuple, TypeVar

from fastapi import Depends, Request

from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.errors import REQUEST_ID
from vvwatch.core.audit import Entry, Origin, Reason
from vvwatch.providers.registry import PROVIDERS
from vvwatch.store.admin import audit
from vvwatch.store.db.database import Tx

T = TypeVar("T")

RECORDED: Final = "vvwatch.audit_entry"
"""The scope key that holds the audit entry of a request."""

_LONGEST_ADDRESS: Final = 64
_UNKNOWN: Final = "unknown"
_RECORDED_FIELDS: Final = ("name", "scopes")
"""Fields of the result that an entry records besides the id."""


class Action(NamedTuple):
    """The name of an action (`RESOURCE.done`) and the path or response field that holds the resource's id."""

    name: str
    id_field: str


_IMPORT: Final = "/indexes/{index_id}/automations/import"
_EXPORT: Final = "/indexes/{index_id}/automations/export"
_CONNECTOR_CREATED: Final = Action("connector.created", "connector_id")

ACTIONS: Final[Mapping[str, Action]] = {
    "POST /indexes": Action("index.created", "index_id"),
    "PATCH /indexes/{index_id}": Action("index.changed", "index_id"),
    "DELETE /indexes/{index_id}": Action("index.deleted", "index_id"),
    f"PUT {_IMPORT}": Action("automation.saved", "automation_id"),
    f"POST {_IMPORT}/pause": Action("automation.paused", "automation_id"),
    f"POST {_IMPORT}/resume": Action("automation.resumed", "automation_id"),
    f"POST {_IMPORT}/scan": Action("automation.scan_requested", "automation_id"),
    f"POST {_IMPORT}/window/fire": Action("window.fired", "window_id"),
    f"POST {_IMPORT}/window/hold": Action("window.held", "window_id"),
    f"POST {_IMPORT}/window/release": Action("window.released", "window_id"),
    f"PUT {_EXPORT}": Action("automation.saved", "automation_id"),
    f"POST {_EXPORT}/pause": Action("automation.paused", "automation_id"),
    f"POST {_EXPORT}/resume": Action("automation.resumed", "automation_id"),
    **{f"POST /connectors/{kind}": _CONNECTOR_CREATED for kind in PROVIDERS},
    "PATCH /connectors/{connector_id}": Action("connector.changed", "connector_id"),
    "DELETE /connectors/{connector_id}": Action("connector.deleted", "connector_id"),
    "POST /connectors/{connector_id}/test": Action("connector.tested", "connector_id"),
    "POST /prompts": Action("prompt.created", "prompt_id"),
    "PUT /prompts/{prompt_id}": Action("prompt.changed", "prompt_id"),
    "DELETE /prompts/{prompt_id}": Action("prompt.deleted", "prompt_id"),
    "DELETE /videos/{video_id}": Action("video.deleted", "video_id"),
    "POST /videos": Action("import_job.created", "job_id"),
    "POST /videos/upload": Action("import_job.created", "job_id"),
    "POST /videos/{video_id}/process": Action("prompt_run.created", "run_id"),
    "POST /workflow/upload": Action("import_job.created", "job_id"),
    "POST /workflow/attachments": Action("import_job.created", "job_id"),
    "POST /import-jobs": Action("import_job.created", "job_id"),
    "POST /import-jobs/{job_id}/cancel": Action("import_job.cancelled", "job_id"),
    "POST /import-jobs/{job_id}/retry": Action("import_job.retried", "job_id"),
    "POST /import-jobs/{job_id}/files/{file_id}/retry": Action("import_file.retried", "file_id"),
    "POST /prompt-runs/execute": Action("prompt_run.created", "run_id"),
    "POST /prompt-runs/{run_id}/cancel": Action("prompt_run.cancelled", "run_id"),
    "POST /prompt-runs/{run_id}/videos/{video_id}/segments/{segment_id}/retry": Action(
        "segment.retried", "segment_id"
    ),
    "POST /workflow/process": Action("prompt_run.created", "run_id"),
    "POST /exports/index/{index_id}": Action("export.created", "export_id"),
    "POST /exports/prompt-run/{run_id}": Action("export.created", "export_id"),
    "POST /exports/{export_id}/retry": Action("export.retried", "export_id"),
    "POST /processors/{processor_id}/resume": Action("processor.resumed", "processor_id"),
    "POST /webhooks": Action("webhook.created", "webhook_id"),
    "PATCH /webhooks/{webhook_id}": Action("webhook.changed", "webhook_id"),
    "DELETE /webhooks/{webhook_id}": Action("webhook.deleted", "webhook_id"),
    "POST /webhooks/{webhook_id}/rotate-secret": Action("webhook.secret_rotated", "webhook_id"),
    "POST /webhooks/{webhook_id}/test": Action("webhook.tested", "webhook_id"),
    "POST /webhooks/deliveries/{delivery_id}/retry": Action("delivery.retried", "delivery_id"),
    "POST /attention/{attention_id}/dismiss": Action("failure.dismissed", "attention_id"),
    "POST /attention/groups/retry": Action("failure_group.retried", "kind"),
    "POST /attention/groups/dismiss": Action("failure_group.dismissed", "kind"),
    "POST /doctor/repair": Action("queue.repaired", "connector_id"),
    "POST /api-keys": Action("key.created", "key_id"),
    "DELETE /api-keys/{key_id}": Action("key.deleted", "key_id"),
    "POST /api-keys/{key_id}/revoke": Action("key.revoked", "key_id"),
    "POST /api-keys/{key_id}/rotate": Action("key.rotated", "key_id"),
}
"""Method and path of every route that changes something, and its action."""


def client_address(request: Request) -> str:
    """Return the client's address; behind a trusted proxy, the one that the proxy forwards."""
    host = request.client.host if request.client else ""
    try:
        return str(ip_address(host))[:_LONGEST_ADDRESS]
    except ValueError:
        return _UNKNOWN


def origin_of(request: Request) -> Origin:
    """Return who sent the request; the actor is empty until its key is checked."""
    state = request.state
    return Origin(
        getattr(state, "key_id", ""),
        getattr(state, "key_name", ""),
        getattr(request.scope.get("route"), "scope_name", ""),
        request.scope.get(REQUEST_ID, ""),
        client_address(request),
    )


def note_refusal(request: Request, reason: Reason, error: T) -> T:
    """Count a refused request and return `error` to be raised."""
    context: ApiContext = request.app.state.context
    context.refused.note(reason, origin_of(request))
    return error


class Audit:
    """Records the changes of one request. `details` go into the entry: names of changed fields, never secrets."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._context: ApiContext = request.app.state.context
        self.details: dict[str, Any] = {}

    async def write(self, effect: Callable[[Tx], T], id_of: Callable[[T], str | None] | None = None) -> T:
        """Run `effect` in one transaction with its audit entry and return its result.

        `id_of` returns the resource's id if neither the path nor the result has it; None means that nothing changed and
        writes no entry.
        """
        made = await self._context.database.write(self.recording(effect, id_of))
        self.report()
        return made

    def recording(
        self, effect: Callable[[Tx], T], id_of: Callable[[T], str | None] | None = None
    ) -> Callable[[Tx], T]:
        """Return `effect` with its entry, for callers that run the transaction themselves and then call `report`."""
        action = ACTIONS[self._request.scope["route"].scope_name]

        def act_and_record(tx: Tx) -> T:
            made = effect(tx)
            found = self._id(action, made) if id_of is None else id_of(made)
            self._request.scope[RECORDED] = None
            if found is None:
                return made
            shown = {name: getattr(made, name, None) for name in _RECORDED_FIELDS} | self.details
            entry = audit.record(tx, origin_of(self._request), action.name, found, shown)
            self._request.scope[RECORDED] = entry
            return made

        return act_and_record

    def _id(self, action: Action, made: object) -> str:
        named = self._request.path_params.get(action.id_field)
        return str(getattr(made, action.id_field) if named is None else named)

    def report(self) -> None:
        """Log the committed entry."""
        entry: Entry | None = self._request.scope[RECORDED]
        if entry is not None:
            self._context.telemetry.emit("audit.recorded", **entry.to_log_fields())


def report_link(request: Request, resource_id: str, expires_at: float) -> None:
    """Log that a key received a link that works without a key until `expires_at`."""
    origin = origin_of(request)
    request.app.state.context.telemetry.emit(
        "link.created",
        resource=resource_id,
        actor=origin.actor,
        route=origin.route,
        request_id=origin.request_id,
        address=origin.address,
        expires_at=expires_at,
    )


async def _get_audit(request: Request) -> Audit:
    return Audit(request)


Audited = Annotated[Audit, Depends(_get_audit)]
