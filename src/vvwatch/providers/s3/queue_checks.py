"""Check that a bucket's events reach an SQS queue completely, and that we may receive them.

Three routes lead to the queue: the bucket itself, an SNS topic and EventBridge. Of the latter two only the ends are
visible: the bucket's notifications and the queue's policy.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vvwatch.errors import AccessDenied
from vvwatch.ports import Finding
from vvwatch.providers.s3.errors import unexpected_response
from vvwatch.providers.s3.notifications import (
    CREATED,
    EVENT_BRIDGE,
    QUEUES,
    TOPICS,
    Rule,
    complete_configuration,
    list_unheard,
    read_configuration,
    rules_of,
)
from vvwatch.providers.s3.policy import add_statement, build_statement, lets_send
from vvwatch.providers.s3.queue_client import SqsClient
from vvwatch.providers.s3.queue_errors import Missing, NotTaken

_NO_RECEIPT: Final = "vvwatch-looks-whether-it-may"
_EVENT_BYTES: Final = 65_536
_LEAST_RETENTION_SECONDS: Final = 86_400
_ELSEWHERE: Final = (
    "another destination receives these events: let the bucket notify an SNS topic or EventBridge, and both from "
    "there; the queue's policy has to let sns.amazonaws.com or events.amazonaws.com send"
)


class Examination:
    """Examines a queue and its bucket's notifications, and repairs them. Raises the errors of `queue_errors`."""

    def __init__(self, client: SqsClient) -> None:
        self._client = client
        self._way = Route(client.address.arn, f"arn:{client.address.partition}:s3:::{client.location.bucket}")

    async def examine(self) -> list[Finding]:
        """As `EventQueue.examine`."""
        try:
            attributes = await self._attributes()
        except Missing as error:
            return [Finding("queue", "problem", error.message, error.hint)]
        except AccessDenied as error:
            found = [Finding("queue", "problem", error.message, error.hint)]
            policy = None
        else:
            found = self._of_attributes(attributes)
            policy = self._policy(attributes)
        found += await self._of_rights()
        try:
            config = await self._configuration()
        except (AccessDenied, Missing, NotTaken) as error:
            return [*found, Finding("notifications", "warning", error.message, error.hint)]
        return [*found, *self._way.list_findings(config, policy)]

    async def repair(self) -> list[Finding]:
        """As `EventQueue.repair`. A simultaneous change of the same settings by others would be lost."""
        policy = self._policy(await self._attributes())
        config = await self._configuration()
        found = self._way.list_findings(config, policy)
        subjects = {finding.subject for finding in found if finding.repairable}
        if "queue policy" in subjects:
            wanted = add_statement(policy, build_statement(self._way.queue_arn, self._way.bucket_arn))
            attributes = {"Policy": json.dumps(wanted)}
            await self._client.of_queue(
                "set_queue_attributes", "sqs:SetQueueAttributes", Attributes=attributes
            )
        declined = await self._notify(config) if "notifications" in subjects else []
        return [*await self.examine(), *declined]

    async def _notify(self, config: Mapping[str, Any]) -> list[Finding]:
        """Let the bucket notify the queue of everything; return what prevents it."""
        wanted = complete_configuration(config, QUEUES, self._way.queue_arn)
        name, permission = "put_bucket_notification_configuration", "s3:PutBucketNotification"
        try:
            await self._client.of_bucket(name, permission, NotificationConfiguration=wanted)
        except NotTaken as error:
            fix = "the queue's new policy may need a minute: try again then; else another configuration overlaps"
            return [Finding("notifications", "problem", error.message, fix)]
        return []

    async def _attributes(self) -> dict[str, str]:
        answer = await self._client.of_queue(
            "get_queue_attributes", "sqs:GetQueueAttributes", AttributeNames=["All"]
        )
        return dict(answer.get("Attributes", {}))

    async def _configuration(self) -> dict[str, Any]:
        name, permission = "get_bucket_notification_configuration", "s3:GetBucketNotification"
        return read_configuration(await self._client.of_bucket(name, permission))

    def _policy(self, attributes: Mapping[str, str]) -> dict[str, Any]:
        try:
            policy = json.loads(attributes.get("Policy") or "{}")
        except ValueError:
            policy = None
        if not isinstance(policy, dict):
            raise unexpected_response(
                f"queue {self._client.address.url!r} cannot be used", "its policy is no JSON object"
            )
        return policy

    def _of_attributes(self, attributes: Mapping[str, str]) -> list[Finding]:
        found = []
        if _read_number(attributes, "MaximumMessageSize", _EVENT_BYTES) < _EVENT_BYTES:
            why = f"events of more than {attributes['MaximumMessageSize']} bytes do not fit into it"
            found.append(self._report_setting("problem", why, f"MaximumMessageSize={_EVENT_BYTES}"))
        if attributes.get("KmsMasterKeyId", "").endswith("alias/aws/sqs"):
            why = "it is encrypted with a key of AWS, which S3 and SNS may not use"
            found.append(self._report_setting("problem", why, "SqsManagedSseEnabled=true"))
        if _read_number(attributes, "DelaySeconds", 0):
            why = f"it holds every event back for {attributes['DelaySeconds']} s"
            found.append(self._report_setting("warning", why, "DelaySeconds=0"))
        retention = _read_number(attributes, "MessageRetentionPeriod", _LEAST_RETENTION_SECONDS)
        if retention < _LEAST_RETENTION_SECONDS:
            why = f"it forgets events after {retention} s; only a full scan finds changes from a longer downtime"
            found.append(self._report_setting("warning", why, "MessageRetentionPeriod=345600"))
        return found or [Finding("queue", "ok", "it is there")]

    def _report_setting(self, state: str, why: str, setting: str) -> Finding:
        address = self._client.address
        return Finding(
            "queue",
            state,
            why,
            f"aws sqs set-queue-attributes --region {address.region} --queue-url {shlex.quote(address.url)} "
            f"--attributes {setting}",
        )

    async def _of_rights(self) -> list[Finding]:
        """Check each permission on messages: peek at one, take none."""
        receipt = {"ReceiptHandle": _NO_RECEIPT}
        one = {"MaxNumberOfMessages": 1, "WaitTimeSeconds": 0, "VisibilityTimeout": 0}
        denied = [
            await self._check_permission("receive_message", "sqs:ReceiveMessage", one),
            await self._check_permission("delete_message", "sqs:DeleteMessage", receipt),
            await self._check_permission(
                "change_message_visibility",
                "sqs:ChangeMessageVisibility",
                {**receipt, "VisibilityTimeout": 0},
            ),
        ]
        found = [finding for finding in denied if finding]
        return found or [Finding("rights", "ok", "messages can be received, released and deleted")]

    async def _check_permission(
        self, name: str, permission: str, parameters: Mapping[str, Any]
    ) -> Finding | None:
        try:
            await self._client.of_queue(name, permission, **parameters)
        except AccessDenied as error:
            return Finding("rights", "problem", error.message, error.hint)
        except NotTaken:  # a missing permission is reported first
            pass
        return None


@dataclass(frozen=True, slots=True)
class Route:
    """A route from a bucket to a queue."""

    queue_arn: str
    bucket_arn: str

    def list_findings(self, config: Mapping[str, Any], policy: Mapping[str, Any] | None) -> list[Finding]:
        """Return the findings about it; an unknown `policy` is skipped."""
        direct = rules_of(config, QUEUES, self.queue_arn)
        if any(rule.has_event(CREATED) for rule in direct):
            return [*self._sender(policy), *self._of_rules(direct, QUEUES, config)]
        topics = rules_of(config, TOPICS)
        senders = [rule for rule in topics if self._may_send(policy, "sns.amazonaws.com", rule.arn)]
        if any(rule.has_event(CREATED) for rule in senders):
            return self._of_rules(senders, TOPICS, config)
        if EVENT_BRIDGE in config and self._may_send(policy, "events.amazonaws.com"):
            return [
                Finding(
                    "notifications",
                    "ok",
                    "EventBridge receives everything; one of its rules must send 'Object Created', 'Object Deleted' "
                    "and 'Object Restore Completed' to the queue",
                )
            ]
        silence = self._report_silence(config)
        return [*(self._sender(policy) if silence.repairable else ()), silence]

    def _may_send(self, policy: Mapping[str, Any] | None, service: str, source_arn: str = "") -> bool:
        return policy is None or lets_send(policy, service, self.queue_arn, source_arn)

    def _sender(self, policy: Mapping[str, Any] | None) -> list[Finding]:
        if policy is None:
            return []
        if self._may_send(policy, "s3.amazonaws.com", self.bucket_arn):
            return [Finding("queue policy", "ok", "the bucket may send to the queue")]
        fix = json.dumps(build_statement(self.queue_arn, self.bucket_arn))
        return [
            Finding("queue policy", "problem", "the bucket may not send to the queue", fix, repairable=True)
        ]

    def _of_rules(self, rules: Sequence[Rule], kind: str, config: Mapping[str, Any]) -> list[Finding]:
        """Return the findings about rules that bring new objects to the queue, or to topics that may send to it."""
        sending = [rule for rule in rules if rule.has_event(CREATED)]
        partly = [(rule, missed) for rule in sending if (missed := rule.list_missed_creations())]
        found = [
            self._report_rule(
                "problem",
                f"the queue receives no events of objects {rule.scope!r} that appear by {', '.join(missed)}",
                kind,
                rule.arn,
                config,
            )
            for rule, missed in partly
        ]
        if silent := list_unheard(rules):
            detail = f"the queue does not receive {' and '.join(silent)}; such changes wait for a full scan"
            found.append(self._report_rule("warning", detail, kind, sending[0].arn, config))
        scopes = [rule.scope for rule in sending if rule.scope != "*"]
        if len(scopes) == len(sending):
            detail = f"the queue receives events of {', '.join(map(repr, scopes))} only; all else waits for a full scan"
            found.append(Finding("notifications", "warning", detail))
        return found or [Finding("notifications", "ok", "the queue receives events of all new objects")]

    def _report_silence(self, config: Mapping[str, Any]) -> Finding:
        return self._report_rule(
            "problem", "the bucket does not notify the queue of new objects", QUEUES, self.queue_arn, config
        )

    def _report_rule(
        self, state: str, detail: str, kind: str, arn: str, config: Mapping[str, Any]
    ) -> Finding:
        """Return the finding with the repair of the notifications, if there is one."""
        wanted = complete_configuration(config, kind, arn)
        if wanted is None:
            return Finding("notifications", state, detail, _ELSEWHERE)
        if wanted == config:  # another destination receives what is missing here
            return Finding("notifications", state, detail)
        bucket = self.bucket_arn.rpartition(":")[2]
        fix = (
            f"aws s3api put-bucket-notification-configuration --bucket {bucket} "
            f"--notification-configuration {shlex.quote(json.dumps(wanted))}"
        )
        return Finding("notifications", state, detail, fix, repairable=kind == QUEUES)


def _read_number(attributes: Mapping[str, str], name: str, otherwise: int) -> int:
    said = attributes.get(name, "")
    return int(said) if said.isdecimal() else otherwise
