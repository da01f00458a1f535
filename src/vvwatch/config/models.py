"""The options of `vvwatch.toml`, each with its default."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from vvwatch.config.connectors import Connector, StorageDefaults
from vvwatch.config.databases import DatabaseUrl, database_file, is_server
from vvwatch.config.fields import (
    AbsolutePath,
    Document,
    Duration,
    Kept,
    KeyPrefix,
    List,
    Listen,
    NodeName,
    Pattern,
    Pause,
    Subpath,
    VariableName,
    WebAddress,
    kept_seconds,
    refused,
    split_listen,
)
from vvwatch.config.findings import did_you_mean
from vvwatch.config.secrets import Secret
from vvwatch.config.tables import ImportMode, Table
from vvwatch.core.durations import parse_duration
from vvwatch.core.events import EVENT_TYPES
from vvwatch.core.media import RunSettings
from vvwatch.core.schedules import scan_seconds
from vvwatch.core.windows import default_max_wait
from vvwatch.errors import Problem


def _cpu_count() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _host_name() -> str:
    """The machine's name, with a dash for what the name of a node cannot hold."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:63] or "node"


def _event_type(name: str) -> str:
    if name not in EVENT_TYPES:
        raise refused(f"no event is called {name!r}", ", ".join(EVENT_TYPES), did_you_mean(name, EVENT_TYPES))
    return name


def _preset(value: object) -> object:
    """`prompt = "name"` is short for a table with that `prompt_id` alone."""
    return {"prompt_id": value} if isinstance(value, str) else value


EventType = Annotated[str, AfterValidator(_event_type)]
SegmentSeconds = Annotated[int, Field(ge=1, le=300)]
BUILT_IN_PROMPTS = ("technical",)
"""Prompts that exist without being declared."""


class Log(Table):
    """How the daemon logs; `keys = false` leaves object keys out."""

    format: Literal["auto", "console", "journal", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    keys: bool = True


class Node(Table):
    """This daemon among those that share its database: its name, and how long it may be silent."""

    name: NodeName = Field(default_factory=_host_name)
    heartbeat: Duration = "15s"

    @property
    def heartbeat_seconds(self) -> float:
        """The silence after which another node takes over what this one was doing."""
        return parse_duration(self.heartbeat)


class Local(Table):
    """Where local connectors may lie."""

    roots: Annotated[tuple[AbsolutePath, ...], List] = ()


class Api(Table):
    """How often one API key may ask, None for as often as it likes; how large a file may be that is sent in.

    With a certificate and its key the API is https. `download_urls`: whether addresses that need no key are also
    given to who came by plain http.
    """

    download_urls: Literal["https", "any"] = "https"
    tls_certificate: AbsolutePath | None = None
    tls_key: AbsolutePath | None = None
    requests_per_minute: int | None = Field(default=None, ge=1)
    requests_per_hour: int | None = Field(default=None, ge=1)
    max_upload_bytes: int = Field(default=10 << 30, ge=1 << 20)


class Debounce(Table):
    """A factor on the four public debounce intervals of the API."""

    scale: float = Field(default=1.0, gt=0, le=1000)


class Processing(Table):
    """How many items are processed at once, and what they may use; `spool_bytes` is room for media on their way."""

    concurrency: int = Field(default_factory=_cpu_count, ge=1, le=256)
    item_timeout_seconds: float = Field(default=43_200, ge=1)
    memory_bytes: int = Field(default=1 << 30, ge=1 << 28)
    max_pixels: int = Field(default=200_000_000, ge=1)
    attempts: int = Field(default=3, ge=1, le=100)
    spool_bytes: int = Field(default=100 << 30, ge=64 << 20)


class Retention(Table):
    """How long is kept what is over; what was imported stays known for ever."""

    events: Kept = "90d"
    deliveries: Kept = "30d"
    jobs: Kept = "forever"
    results: Kept = "forever"

    @property
    def events_seconds(self) -> float | None:
        """How long an event is kept; None for ever. One with a delivery that waits is kept as long as that."""
        return kept_seconds(self.events)

    @property
    def deliveries_seconds(self) -> float | None:
        """How long an ended delivery is kept, with its attempts; None for ever."""
        return kept_seconds(self.deliveries)

    @property
    def jobs_seconds(self) -> float | None:
        """How long a finished import job is kept, with its list of files; None for ever."""
        return kept_seconds(self.jobs)

    @property
    def results_seconds(self) -> float | None:
        """How long is kept what runs found out about media; None for ever."""
        return kept_seconds(self.results)


class Webhook(Table):
    """A receiver of events; its signing secret stands in a file or an environment variable."""

    required = ("url", "events")

    url: WebAddress = ""
    events: Annotated[tuple[EventType, ...], List, Field(min_length=1)] = ()
    indexes: Annotated[tuple[str, ...] | None, List, Field(min_length=1)] = None
    secret_file: str | None = None
    secret_env: VariableName | None = None
    metadata: Document | None = None
    enabled: bool = True


class Webhooks(Table):
    """How events are delivered; each further table is a webhook."""

    model_config = ConfigDict(extra="allow")
    entries = Webhook
    __pydantic_extra__: dict[str, Webhook] = Field(init=False)

    allow_http: bool = False
    allow_private_addresses: bool = False
    timeout_seconds: float = Field(default=10, ge=0.1, le=300)
    delays: Annotated[tuple[Duration, ...], List, Field(max_length=50)] = ("30s", "2m", "10m", "1h", "6h")
    disable_after: int = Field(default=20, ge=1)

    @property
    def hooks(self) -> dict[str, Webhook]:
        """The declared webhooks by name."""
        return dict(self.__pydantic_extra__)

    @property
    def delays_seconds(self) -> tuple[float, ...]:
        """The pauses before the second, third, … attempt."""
        return tuple(map(parse_duration, self.delays))


class IndexTable(Table):
    """An index that media are imported into; `name` is for people."""

    name: str | None = Field(default=None, min_length=1, max_length=100)
    description: str | None = Field(default=None, max_length=500)


class VideoLevel(Table):
    """What a prompt asks about a whole item."""

    required = ("instructions_text", "json_schema")

    instructions_text: str = Field(default="", min_length=1, max_length=12000)
    json_schema: dict[str, Any] = Field(default_factory=dict)
    json_schema_file: str | None = None


class PromptTable(Table):
    """A prompt; each schema stands in the file itself or in one of its own."""

    required = ("prompt_text", "json_schema")

    name: str | None = Field(default=None, min_length=3, max_length=100)
    description: str = Field(default="", max_length=500)
    prompt_text: str = Field(default="", min_length=10, max_length=5000)
    json_schema: dict[str, Any] = Field(default_factory=dict)
    json_schema_file: str | None = None
    video_level: VideoLevel | None = None


class PromptPreset(Table):
    """The prompt of an automation (its name or id) and how a run cuts and treats media."""

    prompt_id: str = "technical"
    video_segmentation_type: Literal["smart", "content_aware", "fixed"] = "smart"
    video_segment_duration: SegmentSeconds | None = None
    audio_segmentation_type: Literal["content_aware", "fixed"] = "content_aware"
    audio_segment_duration: SegmentSeconds | None = None
    processing_model: str | None = None
    enable_transcription: bool = True
    enable_image_embedding: bool = True

    @property
    def settings(self) -> RunSettings:
        """The run settings, without the prompt."""
        return RunSettings(**self.model_dump(exclude={"prompt_id"}))


class AutomationExport(Table):
    """Where the results of an automation's index go."""

    required = ("connector",)

    connector: str = ""
    subpath: Subpath | None = None
    enabled: bool = True


class Automation(Table):
    """What is watched, when a window closes, and what happens to it then."""

    required = ("index", "connector")

    index: str = ""
    connector: str = ""
    prefix: KeyPrefix = ""
    pattern: Pattern = "*"
    recursive: bool = True
    debounce: Duration = "10m"
    max_wait: Duration | None = None
    max_objects: int = Field(default=10_000, ge=1, le=1_000_000)
    concurrency: int = Field(default=16, ge=1, le=10_000)
    scan_interval: Duration | None = None
    max_list_calls_per_hour: int | None = Field(default=None, ge=1)
    settle: Pause = "5s"
    process_existing: bool = True
    import_mode: ImportMode | None = None
    enabled: bool = True
    paused: bool = False
    prompt: Annotated[PromptPreset, BeforeValidator(_preset)] = PromptPreset()
    export: AutomationExport | None = None

    @property
    def quiet_seconds(self) -> float:
        """The quiet time that closes a window."""
        return parse_duration(self.debounce)

    @property
    def max_wait_seconds(self) -> float:
        """The longest life of a window."""
        return parse_duration(self.max_wait) if self.max_wait else default_max_wait(self.quiet_seconds)

    @property
    def scan_seconds(self) -> float:
        """The time between two listings."""
        return parse_duration(self.scan_interval) if self.scan_interval else scan_seconds(self.quiet_seconds)

    @property
    def settle_seconds(self) -> float:
        """How long a local file must stand still before it counts as complete."""
        return parse_duration(self.settle)


class Settings(Table):
    """The whole file."""

    listen: Listen = "127.0.0.1:8787"
    state_dir: AbsolutePath = Path()
    database_url: DatabaseUrl = Field(default="sqlite:///vvwatch.db", repr=False)
    drain_seconds: float = Field(default=60, ge=0, le=86400)
    public_url: WebAddress | None = None
    log: Log = Log()
    node: Node = Field(default_factory=Node)
    local: Local = Local()
    api: Api = Api()
    storage: StorageDefaults = StorageDefaults()
    debounce: Debounce = Debounce()
    processing: Processing = Field(default_factory=Processing)
    retention: Retention = Retention()
    webhooks: Webhooks = Webhooks()
    connectors: dict[str, Connector] = Field(default_factory=dict)
    indexes: dict[str, IndexTable] = Field(default_factory=dict)
    prompts: dict[str, PromptTable] = Field(default_factory=dict)
    automations: dict[str, Automation] = Field(default_factory=dict)

    @property
    def replicated(self) -> bool:
        """Whether other nodes may share the database: on PostgreSQL, not with a file."""
        return is_server(self.database_url)


class Config(Settings):
    """A configuration without problems: the file, the environment and the flags in one."""

    path: Path | None = None
    admin_key: Secret | None = None
    webhook_secrets: dict[str, Secret] = Field(default_factory=dict)
    connector_secrets: dict[str, Secret] = Field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on; port 0 asks for a free one."""
        return split_listen(self.listen)

    @property
    def database_path(self) -> Path:
        """The database file; of meaning only where the configuration is not `replicated`."""
        return database_file(self.database_url, self.state_dir)
