"""What stands between a bucket and its queue is found, told with what mends it, and mended."""

from __future__ import annotations

import json
import shlex
from collections.abc import AsyncIterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.s3_server import S3Server
from tests.http_faults import Answer, HttpFaultProxy
from tests.providers.s3.s3_queues import Place, direct, place_of, through_event_bridge, through_sns
from tests.providers.s3.test_queue import CREDENTIALS, refusal
from vvwatch.core.changes import EventKind
from vvwatch.errors import StorageUnavailable
from vvwatch.ports import Finding
from vvwatch.providers.s3.notifications import QUEUES, complete_configuration
from vvwatch.providers.s3.policy import add_statement, build_statement, lets_send
from vvwatch.providers.s3.queue import SqsQueue
from vvwatch.providers.s3.queue_checks import Route
from vvwatch.providers.s3.storage import S3Location

QUEUE = "arn:aws:sqs:us-east-1:123456789012:changes"
TOPIC = "arn:aws:sns:us-east-1:123456789012:changes"
OTHER = "arn:aws:sqs:us-east-1:123456789012:others"
BUCKET = "arn:aws:s3:::media"
WAY = Route(QUEUE, BUCKET)
POLICY = {"Statement": [build_statement(QUEUE, BUCKET)]}
ALL = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectRestore:Completed"]
Config = dict[str, Any]


def queue(*events: str, arn: str = QUEUE, **filters: str) -> Config:
    """One configuration of a queue."""
    rules = [{"Name": name, "Value": value} for name, value in filters.items()]
    return {"Id": "x", "QueueArn": arn, "Events": list(events)} | (
        {"Filter": {"Key": {"FilterRules": rules}}} if rules else {}
    )


def queues(*entries: Config) -> Config:
    return {"QueueConfigurations": list(entries)}


def topic(*events: str) -> Config:
    return {"TopicConfigurations": [{"Id": "t", "TopicArn": TOPIC, "Events": list(events)}]}


def states(findings: Sequence[Finding]) -> dict[str, str]:
    """The worst state of each subject."""
    order = ["ok", "warning", "problem"]
    found: dict[str, str] = {}
    for finding in findings:
        found[finding.subject] = max(found.get(finding.subject, "ok"), finding.state, key=order.index)
    return found


def told_by(config: Config, policy: Config | None = POLICY) -> list[Finding]:
    return [finding for finding in WAY.list_findings(config, policy) if finding.subject == "notifications"]


def notified(finding: Finding) -> Any:
    """The configuration in the command that mends it."""
    words = shlex.split(finding.fix)
    assert words[:5] == ["aws", "s3api", "put-bucket-notification-configuration", "--bucket", "media"]
    return json.loads(words[words.index("--notification-configuration") + 1])


# Notifications


def test_all_is_well_when_the_queue_hears_of_everything() -> None:
    assert states(WAY.list_findings(queues(queue(*ALL)), POLICY)) == {
        "queue policy": "ok",
        "notifications": "ok",
    }


@pytest.mark.parametrize(
    ("events", "missed"),
    [
        (["s3:ObjectCreated:Put"], "Post, Copy, CompleteMultipartUpload"),
        (
            ["s3:ObjectCreated:Put", "s3:ObjectCreated:Post", "s3:ObjectCreated:Copy"],
            "CompleteMultipartUpload",
        ),
    ],
)
def test_complete_multipart_event_missing_from_a_subscription_is_a_problem(
    events: list[str], missed: str
) -> None:
    config = queues(queue(*events, *ALL[1:]))
    (finding,) = told_by(config)
    assert (finding.state, finding.repairable) == ("problem", True)
    assert finding.detail.endswith(missed)
    assert notified(finding) == queues(queue(*ALL[1:], ALL[0]))


def test_complete_multipart_event_may_come_by_a_rule_of_its_own() -> None:
    ways = [f"s3:ObjectCreated:{way}" for way in ("Put", "Post", "Copy", "CompleteMultipartUpload")]
    config = queues(queue(*ways[:1]), queue(*ways[1:]), queue(*ALL[1:]))
    assert told_by(config) == [Finding("notifications", "ok", "the queue receives events of all new objects")]


def test_a_bucket_that_tells_nothing_can_be_made_to() -> None:
    (finding,) = told_by({})
    assert (finding.state, finding.repairable) == ("problem", True)
    assert notified(finding) == queues({"Id": "vvwatch", "QueueArn": QUEUE, "Events": ALL})


def test_glacier_then_restored_a_subscription_without_restores_is_a_warning() -> None:
    (finding,) = told_by(queues(queue(*ALL[:2])))
    assert (finding.state, finding.repairable) == ("warning", True)
    assert "s3:ObjectRestore:Completed" in finding.detail
    assert notified(finding) == queues(queue(*ALL))


def test_a_filter_is_shown() -> None:
    (finding,) = told_by(queues(queue(*ALL, prefix="in/"), queue(*ALL, Prefix="out/", Suffix=".mp4")))
    assert (finding.state, finding.repairable) == ("warning", False)
    assert "'in/*', 'out/*.mp4'" in finding.detail
    assert told_by(queues(queue(*ALL), queue("s3:ObjectTagging:*", prefix="in/")))[0].state == "ok"


def test_what_is_missing_is_added_and_nothing_else_touched() -> None:
    config = {
        "QueueConfigurations": [
            queue("s3:ObjectCreated:Put", "s3:ObjectTagging:*", prefix="in/"),
            queue("s3:ObjectCreated:*", "s3:ObjectRemoved:*", arn=OTHER, prefix="out/"),
        ],
        "LambdaFunctionConfigurations": [{"LambdaFunctionArn": "f", "Events": ["s3:ObjectRemoved:Delete"]}],
        "EventBridgeConfiguration": {},
    }
    before = deepcopy(config)
    wanted = complete_configuration(config, QUEUES, QUEUE)
    events = ["s3:ObjectTagging:*", "s3:ObjectCreated:*", "s3:ObjectRestore:Completed"]
    assert config == before
    assert wanted == {
        **before,
        "QueueConfigurations": [queue(*events, prefix="in/"), before["QueueConfigurations"][1]],  # type: ignore[index]
    }


@pytest.mark.parametrize(
    "config",
    [
        queues(queue("s3:ObjectCreated:*", arn=OTHER)),
        queues(queue("s3:ObjectCreated:Put"), queue("s3:ObjectCreated:Copy", arn=OTHER, prefix="in/")),
        topic("s3:ObjectCreated:Post"),
    ],
)
def test_what_the_service_would_not_take_is_not_tried(config: Config) -> None:
    (finding, *_) = told_by(config)
    assert (finding.state, finding.repairable) == ("problem", False)
    assert "EventBridge" in finding.fix


def test_through_a_topic_the_ends_are_seen() -> None:
    sns = {"Statement": [{**build_statement(QUEUE, TOPIC), "Principal": {"Service": "sns.amazonaws.com"}}]}
    assert states(WAY.list_findings(topic(*ALL), sns)) == {"notifications": "ok"}
    (finding,) = told_by(topic("s3:ObjectCreated:Put", *ALL[1:]), sns)
    assert (finding.state, finding.repairable) == ("problem", False)
    assert notified(finding) == topic(*ALL[1:], ALL[0])
    assert states(WAY.list_findings(topic(*ALL), {})) == {"notifications": "problem"}


def test_through_event_bridge_the_ends_are_seen() -> None:
    bridge = {
        "Statement": {**build_statement(QUEUE, BUCKET), "Principal": {"Service": "events.amazonaws.com"}}
    }
    config: Config = {"EventBridgeConfiguration": {}}
    assert states(WAY.list_findings(config, bridge)) == {"notifications": "ok"}
    assert states(WAY.list_findings(config, {})) == {"queue policy": "problem", "notifications": "problem"}


# Policies


@pytest.mark.parametrize(
    ("allowed", "changes"),
    [
        (True, {}),
        (True, {"Principal": "*"}),
        (True, {"Principal": {"AWS": "*"}}),
        (True, {"Principal": {"Service": ["sns.amazonaws.com", "s3.amazonaws.com"]}}),
        (True, {"Action": ["SQS:SendMessage", "sqs:ReceiveMessage"]}),
        (True, {"Action": "sqs:*", "Resource": "*"}),
        (True, {"Condition": {"ArnLike": {"AWS:SourceArn": ["arn:aws:s3:*:*:med?a"]}}}),
        (True, {"Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}}}),
        (False, {"Principal": {"Service": "sns.amazonaws.com"}}),
        (False, {"Principal": {"AWS": "arn:aws:iam::123456789012:root"}}),
        (False, {"Principal": None}),
        (False, {"Action": "sqs:ReceiveMessage"}),
        (False, {"Resource": OTHER}),
        (False, {"Resource": "arn:aws:sqs:us-east-1:123456789012:change[s]"}),
        (False, {"Condition": {"ArnEquals": {"aws:SourceArn": "arn:aws:s3:::others"}}}),
        (False, {"Effect": "Deny"}),
    ],
)
def test_whom_a_policy_lets_send(allowed: bool, changes: dict[str, Any]) -> None:
    policy = {"Statement": [{**build_statement(QUEUE, BUCKET), **changes}]}
    assert lets_send(policy, "s3.amazonaws.com", QUEUE, BUCKET) is allowed


def test_a_refusal_counts_unless_it_has_conditions() -> None:
    everyone = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": QUEUE}
    insecure = {**everyone, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    for refusing, allowed in ((everyone, False), (insecure, True)):
        policy = {"Statement": [refusing, build_statement(QUEUE, BUCKET)]}
        assert lets_send(policy, "s3.amazonaws.com", QUEUE, BUCKET) is allowed


def test_a_statement_is_added_once_and_all_others_are_kept() -> None:
    policy = {"Version": "2008-10-17", "Id": "ours", "Statement": [{"Sid": "theirs"}]}
    added = build_statement(QUEUE, "arn:aws:s3:::my.media")
    assert added["Sid"] == "vvwatch-my-media"
    once = add_statement(policy, added)
    assert once == {**policy, "Statement": [{"Sid": "theirs"}, added]}
    assert add_statement(once, added) == once
    assert add_statement({}, added) == {"Version": "2012-10-17", "Statement": [added]}


# On a server


@pytest.fixture
async def place(ministack: S3Server, tmp_path: Path) -> AsyncIterator[Place]:
    async with place_of(ministack, tmp_path) as place:
        yield place


async def configuration(place: Place) -> Config:
    found = await place.bucket.client.get_bucket_notification_configuration(Bucket=place.bucket.name)
    return {name: value for name, value in found.items() if name != "ResponseMetadata"}


@pytest.mark.anyio
async def test_repair_makes_a_new_queue_hear_of_all_objects(place: Place) -> None:
    assert states(await place.queue.examine()) == {
        "queue": "ok",
        "rights": "ok",
        "queue policy": "problem",
        "notifications": "problem",
    }
    assert set(states(await place.queue.repair()).values()) == {"ok"}
    await place.bucket.put("a.mp4", b"four")
    came = await place.drain(lambda messages: any(message.events for message in messages))
    (event,) = (event for message in came for event in message.events)
    assert (event.kind, event.keys) == (EventKind.CREATED, ("a.mp4",))
    before = await configuration(place)
    assert set(states(await place.queue.repair()).values()) == {"ok"}
    assert await configuration(place) == before


@pytest.mark.anyio
async def test_repair_keeps_what_others_have_set(place: Place) -> None:
    theirs = {
        "Sid": "theirs",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "sqs:ReceiveMessage",
        "Resource": place.arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [theirs]})
    await place.sqs.set_queue_attributes(QueueUrl=place.queue_url, Attributes={"Policy": policy})
    other = await place.sqs.create_queue(QueueName=f"{place.bucket.name}-other")
    answer = await place.sqs.get_queue_attributes(QueueUrl=other["QueueUrl"], AttributeNames=["QueueArn"])
    another = queue("s3:ObjectCreated:*", arn=answer["Attributes"]["QueueArn"], prefix="out/")
    ours = queue("s3:ObjectCreated:Put", arn=place.arn, prefix="in/") | {"Id": "ours"}
    await place.notifications(**queues(another, ours), EventBridgeConfiguration={})
    await place.queue.repair()
    found = {entry["Id"]: entry for entry in (await configuration(place))["QueueConfigurations"]}
    assert found["x"]["Events"] == another["Events"]
    assert set(found["ours"]["Events"]) == set(ALL)
    assert found["ours"]["Filter"]["Key"]["FilterRules"][0]["Value"] == "in/"
    assert "EventBridgeConfiguration" in await configuration(place)
    names = ["Policy"]
    answer = await place.sqs.get_queue_attributes(QueueUrl=place.queue_url, AttributeNames=names)
    assert json.loads(answer["Attributes"]["Policy"])["Statement"][0] == theirs


@pytest.mark.anyio
async def test_examining_changes_nothing_and_takes_nothing(place: Place) -> None:
    await direct(place)
    await place.send("one")
    before = await configuration(place)
    await place.queue.examine()
    assert await configuration(place) == before
    assert await place.waiting() == (2, 0)


@pytest.mark.anyio
@pytest.mark.parametrize(("way", "service"), [(through_sns, "sns"), (through_event_bridge, "events")])
async def test_repair_leaves_a_way_through_another_service_alone(
    place: Place, way: Any, service: str
) -> None:
    allowed = {
        **build_statement(place.arn, "arn:aws:*"),
        "Principal": {"Service": f"{service}.amazonaws.com"},
    }
    allowed["Condition"] = {}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    await place.sqs.set_queue_attributes(QueueUrl=place.queue_url, Attributes={"Policy": policy})
    await way(place)
    before = await configuration(place)
    assert set(states(await place.queue.repair()).values()) == {"ok"}
    assert await configuration(place) == before


@pytest.mark.anyio
async def test_a_queue_that_events_do_not_fit_into_is_told_with_its_command(
    ministack: S3Server, tmp_path: Path
) -> None:
    bad = {"MaximumMessageSize": "1024", "DelaySeconds": "60", "MessageRetentionPeriod": "60"}
    async with place_of(ministack, tmp_path, **bad, KmsMasterKeyId="alias/aws/sqs") as place:
        found = [finding for finding in await place.queue.examine() if finding.subject == "queue"]
    assert [finding.state for finding in found] == ["problem", "problem", "warning", "warning"]
    fixes = [finding.fix.rpartition(" ")[2] for finding in found]
    assert fixes == [
        "MaximumMessageSize=65536",
        "SqsManagedSseEnabled=true",
        "DelaySeconds=0",
        "MessageRetentionPeriod=345600",
    ]
    assert all(place.queue_url in shlex.split(finding.fix) for finding in found)


@pytest.mark.anyio
async def test_a_queue_that_does_not_exist_is_a_problem_with_its_command(ministack: S3Server) -> None:
    location = S3Location("media", "us-east-1", ministack.endpoint_url)
    queue = SqsQueue(f"{ministack.endpoint_url}/000000000000/no-such-queue", location, CREDENTIALS)
    (finding,) = await queue.examine()
    assert (finding.subject, finding.state) == ("queue", "problem")
    assert finding.fix == "aws sqs create-queue --queue-name no-such-queue --region us-east-1"
    await queue.aclose()


@pytest.mark.anyio
async def test_each_right_that_is_missing_is_told(
    place: Place, ministack: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.providers.s3.queue_client._ATTEMPTS", 1)
    with HttpFaultProxy(ministack.address) as proxy:
        url = place.queue_url.replace(ministack.endpoint_url, proxy.url)
        queue = SqsQueue(url, S3Location(place.bucket.name, "us-east-1", proxy.url), CREDENTIALS)
        proxy.fail(refusal(400, "AccessDeniedException"), times=4)
        proxy.fail(refusal(403, "AccessDenied"), times=1)
        found = await queue.examine()
        proxy.fail(refusal(500, "InternalError"))
        with pytest.raises(StorageUnavailable):
            await queue.examine()
        await queue.aclose()
    granted = [finding.fix.split()[1] for finding in found if finding.fix.startswith("grant")]
    assert granted == [
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:ChangeMessageVisibility",
        "s3:GetBucketNotification",
    ]


@pytest.mark.anyio
async def test_notifications_that_the_store_does_not_take_are_told(place: Place, ministack: S3Server) -> None:
    with HttpFaultProxy(ministack.address) as proxy:
        url = place.queue_url.replace(ministack.endpoint_url, proxy.url)
        queue = SqsQueue(url, S3Location(place.bucket.name, "us-east-1", proxy.url), CREDENTIALS)
        proxy.fail(Answer(400, b"<Error><Code>InvalidArgument</Code></Error>"), "^PUT .*notification")
        *_, untold, declined = await queue.repair()
        proxy.fail(Answer(501, b"<Error><Code>NotImplemented</Code></Error>"), "^GET .*notification")
        (*_, unseen) = await queue.examine()
        await queue.aclose()
    assert (untold.state, untold.repairable) == ("problem", True)
    assert (declined.state, declined.repairable) == ("problem", False)
    assert "try again" in declined.fix
    assert (unseen.subject, unseen.state) == ("notifications", "warning")
