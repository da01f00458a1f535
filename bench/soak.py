"""The real daemon on a bucket with events, while all goes wrong: nothing lost, nothing done twice, memory flat.

Usage: python bench/soak.py [--minutes N] [--every SECONDS] [--kill-every SECONDS] [--seed N]

An emulator (ministack) is the bucket and its queue; the daemon reaches it through a proxy that answers 503, resets
connections and cuts answers. Small pictures come all the time, are overwritten and deleted; some events are taken out
of the queue before the daemon gets them. Every few minutes the daemon is killed and started again. Then all is well for
a while, and the accounts are made: each version that stands is imported once, no version more than once, every job has
ended. Memory is the daemon's resident size at the end of each of its lives. Exits with 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import botocore.session
import psutil
from botocore.config import Config

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests import samples  # noqa: E402  # found by the line above
from tests.daemon_process import Daemon  # noqa: E402
from tests.emulators import ministack  # noqa: E402
from tests.emulators.s3_server import S3Server, listening, running  # noqa: E402
from tests.fault_proxy import LOOPBACK, free_port  # noqa: E402
from tests.http_faults import Answer, Cut, Delay, Fault, HttpFaultProxy, Reset  # noqa: E402

BUCKET = "soak"
FAULTS: tuple[Fault, ...] = (Answer(503), Reset(), Reset(passed_on=True), Cut(100), Delay(3.0))
FAULT_SECONDS = 3.0
SAMPLE_SECONDS = 1.0
OVERWRITTEN, DELETED, UNTOLD = 0.15, 0.1, 0.1
"""How often what comes replaces something, something goes, and an event is taken away."""
SWEEP_SECONDS = 30
CALM_SECONDS = 240.0
MOST_GROWTH = 0.1
LEAST_LIVES = 4
_WAITING = """
select (select count(*) from windows where state = 'open')
     + (select count(*) from import_files where next_at is not null)
     + (select count(*) from run_items where next_at is not null)
     + (select count(*) from exports where next_at is not null)
"""


@contextmanager
def server() -> Iterator[S3Server]:
    """The emulator, in memory."""
    home = ministack.ROOT / f"ministack-{ministack.VERSION}"
    if not home.exists():
        ministack.ROOT.mkdir(exist_ok=True)
        ministack._install(home)  # noqa: SLF001  # as the tests do
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        at = {"GATEWAY_PORT": str(port), "BIND_HOST": LOOPBACK, "MINISTACK_HOST": LOOPBACK}
        command = [str(home / "bin" / "python"), "-m", "ministack"]
        ready = partial(listening, (LOOPBACK, port))
        with running(command, Path(folder) / "log", ready, {**at, "S3_DATA_DIR": folder}):
            yield S3Server(f"http://{LOOPBACK}:{port}")


def client(at: S3Server, service: str) -> Any:
    return botocore.session.get_session().create_client(
        service,
        endpoint_url=at.endpoint_url,
        region_name=at.region,
        aws_access_key_id=at.access_key_id,
        aws_secret_access_key=at.secret_access_key,
        config=Config(s3={"addressing_style": "path"}),
    )


@dataclass
class Producer:
    """Puts, overwrites and deletes small pictures, no two of which are equal. `stands`: key to version."""

    s3: Any
    sqs: Any
    queue_url: str
    folder: Path
    dice: random.Random
    stands: dict[str, str] = field(default_factory=dict)
    count: Counter[str] = field(default_factory=Counter)

    def step(self) -> None:
        if self.stands and self.dice.random() < DELETED:
            key = self.dice.choice(list(self.stands))
            self.s3.delete_object(Bucket=BUCKET, Key=key)
            del self.stands[key]
            self.count["deletes"] += 1
        if self.dice.random() < UNTOLD:
            self._take_events_away()
        replaced = self.stands and self.dice.random() < OVERWRITTEN
        self._put(self.dice.choice(list(self.stands)) if replaced else f"in/{self.count['puts']:06}.png")

    def _put(self, key: str) -> None:
        number = self.count["puts"]
        data = samples.blank_png(
            self.folder / "picture.png", (16 + number % 500, 16 + number // 500)
        ).read_bytes()
        etag = self.s3.put_object(Bucket=BUCKET, Key=key, Body=data)["ETag"].strip('"')
        self.count["overwrites" if key in self.stands else "objects"] += 1
        self.count["puts"] += 1
        self.stands[key] = f"{etag}:{len(data)}"

    def _take_events_away(self) -> None:
        found = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=1).get("Messages", [])
        for message in found:
            self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
            self.count["events dropped"] += 1


def often(work: Callable[[], object], seconds: float, ended: threading.Event) -> None:
    while not ended.wait(seconds):
        work()


@contextmanager
def meanwhile(*works: tuple[Callable[[], object], float]) -> Iterator[None]:
    """Each is done again and again, in a thread of its own. What one of them raises is raised at the end."""
    ended, raised = threading.Event(), []

    def guarded(work: Callable[[], object], seconds: float) -> None:
        try:
            often(work, seconds, ended)
        except Exception as error:  # noqa: BLE001  # told below
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=each) for each in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    if raised:
        raise raised[0]


def prepared(at: S3Server) -> tuple[Any, Any, str]:
    """The bucket, which tells the queue of everything."""
    s3, sqs = client(at, "s3"), client(at, "sqs")
    s3.create_bucket(Bucket=BUCKET)
    queue_url = sqs.create_queue(QueueName=BUCKET, Attributes={"VisibilityTimeout": "30"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    told = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [told]}
    )
    return s3, sqs, queue_url


def daemon_of(base: Path, at: S3Server, proxy: HttpFaultProxy, queue_url: str) -> Daemon:
    connectors = f"""
[connectors.in]
type = "s3"
bucket = "{BUCKET}"
endpoint_url = "{proxy.url}"
access_key_id = "{at.access_key_id}"
secret_access_key_env = "SOAK_SECRET"
[connectors.in.events]
queue = "{queue_url.replace(at.endpoint_url, proxy.url)}"
sweep_interval = "{SWEEP_SECONDS}s"
late_after = "10s"
[connectors.out]
type = "local"
path = "{base}/outgoing"
scopes = ["export"]
"""
    environ = {"SOAK_SECRET": at.secret_access_key}
    return Daemon(base, debounce="3s", connectors=connectors, environ=environ, warm=False)


@dataclass
class Lives:
    """The daemon's lives; `sizes` has the resident MiB that were sampled in each."""

    daemon: Daemon
    sizes: list[list[float]] = field(default_factory=list)

    def begin(self) -> None:
        self.sizes.append([])
        self.daemon.start()

    def kill(self) -> None:
        self.daemon.kill()

    def sample(self) -> None:
        process = self.daemon.process
        if process is not None:
            with suppress(psutil.NoSuchProcess):  # it is killed just now
                self.sizes[-1].append(psutil.Process(process.pid).memory_info().rss / 2**20)

    def ends(self) -> list[float]:
        """The typical size in the last quarter of each life."""
        quarters = [sorted(life[-max(len(life) // 4, 1) :]) for life in self.sizes if life]
        return [quarter[len(quarter) // 2] for quarter in quarters]

    def growth(self) -> float:
        """By which share the last life was larger at its end than the second, on the line through all but the first."""
        sizes = self.ends()[1:]
        if len(sizes) < LEAST_LIVES - 1:
            return 0.0
        middle, mean = (len(sizes) - 1) / 2, sum(sizes) / len(sizes)
        slope = sum((place - middle) * (size - mean) for place, size in enumerate(sizes))
        slope /= sum((place - middle) ** 2 for place in range(len(sizes)))
        return slope * (len(sizes) - 1) / mean


def rage(lives: Lives, arguments: argparse.Namespace) -> None:
    """Life after life, until the time is over."""
    until = time.monotonic() + 60 * arguments.minutes
    while (left := until - time.monotonic()) > 0:
        if lives.sizes:
            lives.kill()
        lives.begin()
        time.sleep(min(left, arguments.kill_every))


def calmed(daemon: Daemon, stands: dict[str, str]) -> float | None:
    """Seconds until everything that stands is imported and nothing is left to do; None when that does not come."""
    began = time.monotonic()
    while time.monotonic() - began < CALM_SECONDS:
        imported = set(daemon.rows("select key, version from media"))
        if set(stands.items()) <= imported and daemon.rows(_WAITING) == [(0,)]:
            return time.monotonic() - began
        time.sleep(0.5)
    return None


def accounts(daemon: Daemon, stands: dict[str, str]) -> dict[str, int]:
    """What must be nothing."""
    media = Counter(daemon.rows("select key, version from media"))
    files = Counter(daemon.rows("select key, version from import_files where status = 'imported'"))
    [(unended,)] = daemon.rows("select count(*) from import_jobs where completed_at is null")
    return {
        "versions lost": len(set(stands.items()) - set(media)),
        "versions imported twice": sum(count > 1 for count in media.values()),
        "versions in two manifests": sum(count > 1 for count in files.values()),
        "import jobs without an end": unended,
        "damage of the database": int(daemon.rows("pragma integrity_check") != [("ok",)]),
    }


def told(title: str, figure: object) -> None:
    print(f"{title:<36}{figure:>12}")


def report(daemon: Daemon, producer: Producer, lives: Lives, calm: float | None, faults: int) -> bool:
    for name, count in producer.count.items():
        told(name, count)
    told("faults", faults)
    told("lives of the daemon", len(lives.sizes))
    [(recovered,)] = daemon.rows("select coalesce(sum(recovered), 0) from reconciles")
    told("objects that a sweep recovered", recovered)
    told("media", daemon.rows("select count(*) from media")[0][0])
    told("seconds until all was done", "never" if calm is None else f"{calm:.1f}")
    told("resident MiB by life", " ".join(f"{size:.0f}" for size in lives.ends()))
    told("growth of memory", f"{lives.growth():.1%}")
    wrong = accounts(daemon, producer.stands)
    for name, count in wrong.items():
        told(name, count)
    good = not any(wrong.values()) and calm is not None and lives.growth() <= MOST_GROWTH
    print("held" if good else "BROKEN")
    return good


def main(arguments: argparse.Namespace) -> bool:
    dice = random.Random(arguments.seed)
    faults = 0
    with ExitStack() as stack:
        at = stack.enter_context(server())
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        proxy = stack.enter_context(HttpFaultProxy(at.address))
        s3, sqs, queue_url = prepared(at)
        producer = Producer(s3, sqs, queue_url, base, dice)
        lives = Lives(daemon_of(base / "daemon", at, proxy, queue_url))
        stack.callback(lives.kill)

        def fail() -> None:
            nonlocal faults
            times = random.randint(1, 3)
            proxy.fail(random.choice(FAULTS), times=times)
            faults += times

        with meanwhile((lives.sample, SAMPLE_SECONDS)):
            with meanwhile((producer.step, arguments.every), (fail, FAULT_SECONDS)):
                rage(lives, arguments)
            proxy.heal()
            calm = calmed(lives.daemon, producer.stands)
        return report(lives.daemon, producer, lives, calm, faults)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--every", type=float, default=1.5)
    parser.add_argument("--kill-every", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    sys.exit(0 if main(parser.parse_args()) else 1)
