"""The options of `vvwatch.toml`, each with its default."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from vvwatch.config.alerting import Alerts
from vvwatch.config.connectors import AnyConnector, StorageDefaults
from vvwatch.config.databases import DatabaseUrl, database_file, is_server
from vvwatch.config.outgoing import Attachments, Webhooks
from vvwatch.config.processors import AnyProcessor, Budget, TechnicalProcessorTable
from vvwatch.config.prompts import PromptPreset, PromptTable
from vvwatch.config.transcription import Transcription
from vvwatch.core.absence import Confirmation
from vvwatch.core.cadence import scan_seconds
from vvwatch.core.durations import parse_duration
from vvwatch.core.exports import JSON, ExportOptions
from vvwatch.core.facts import describe_wanted
from vvwatch.core.processors import TECHNICAL, ProcessorNames
from vvwatch.core.retries import Bound, Patience
from vvwatch.core.windows import default_max_wait
from vvwatch.errors import Problem
from vvwatch.options.fields import (
    AbsolutePath,
    Duration,
    Excluded,
    FieldTemplate,
    Kept,
    KeyPrefix,
    List,
    Listen,
    NodeName,
    Pattern,
    Pause,
    Positive,
    ProxyNetwork,
    Subpath,
    WebAddress,
    retention_seconds,
    split_listen,
)
from vvwatch.options.secrets import Secret
from vvwatch.options.tables import FactSource, ImportMode, Table


def _cpu_count() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _host_name() -> str:
    """Return the machine's name, with dashes for characters that a node name cannot have."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:63] or "node"


def _expand_preset(value: object) -> object:
    """Expand `prompt = "name"` to a table with that `prompt_id`."""
    return {"prompt_id": value} if isinstance(value, str) else value


class Log(Table):
    """How the daemon logs; `keys = false` leaves object keys out."""

    format: Literal["auto", "console", "journal", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    keys: bool = True


class Node(Table):
    """This daemon among those that share its database: its name, and its longest silence."""

    name: NodeName = Field(default_factory=_host_name)
    heartbeat: Duration = "15s"

    @property
    def heartbeat_seconds(self) -> float:
        """The silence after which another node takes over this one's work."""
        return parse_duration(self.heartbeat)


class Local(Table):
    """The allowed folders of local connectors."""

    roots: Annotated[tuple[AbsolutePath, ...], List] = ()


class Api(Table):
    """How often one API key may ask, None for as often as it likes; how large a file may be that is sent in.

    `max_connections` are open at once in all, `max_connections_per_address` from one address (IPv6: one /64; loopback
    addresses excepted), and `max_streams_per_key` event streams of one API key.

    Requests from `trusted_proxies` name their client's address and scheme in X-Forwarded-For and X-Forwarded-Proto.
    With a certificate and its key the API is https. `download_urls`: whether addresses that need no key are also
    given to who came by plain http.
    """

    download_urls: Literal["https", "any"] = "https"
    tls_certificate: AbsolutePath | None = None
    tls_key: AbsolutePath | None = None
    requests_per_minute: int | None = Field(default=None, ge=1)
    requests_per_hour: int | None = Field(default=None, ge=1)
    max_upload_bytes: int = Field(default=10 << 30, ge=1 << 20)
    uploads_bytes: int = Field(default=100 << 30, ge=1 << 20)
    max_connections: int = Field(default=1000, ge=8, le=1_000_000)
    max_connections_per_address: int = Field(default=200, ge=1, le=1_000_000)
    max_streams_per_key: int = Field(default=100, ge=1, le=1_000_000)
    trusted_proxies: Annotated[tuple[ProxyNetwork, ...], List] = ("127.0.0.1/32", "::1/128")


class Debounce(Table):
    """A factor on the four public debounce intervals of the API."""

    scale: float = Field(default=1.0, gt=0, le=1000)


class Processing(Table):
    """Who processes when nobody says, how many items at once, what they may use and cost.

    `spool_bytes` is room for media on their way.
    """

    default: str = TECHNICAL
    concurrency: int = Field(default_factory=_cpu_count, ge=1, le=256)
    item_timeout_seconds: float = Field(default=43_200, ge=1)
    probe_seconds: float = Field(default=60, ge=1, le=43_200)
    memory_bytes: int = Field(default=1 << 30, ge=1 << 28)
    max_pixels: int = Field(default=200_000_000, ge=1)
    attempts: int = Field(default=3, ge=1, le=100)
    spool_bytes: int = Field(default=100 << 30, ge=64 << 20)
    budget: Budget = Budget()


class PictureSettings(Table):
    """Whether pictures of media are kept, their width, and how many bytes those of one item may have."""

    enabled: bool = True
    width: int = Field(default=320, ge=64, le=1920)
    max_bytes: int = Field(default=8 << 20, ge=1 << 18, le=1 << 30)


class Imports(Table):
    """How often an object is tried while its store serves others, and when it is retried automatically."""

    object_attempts: int = Field(default=3, ge=1, le=1000)
    object_seconds: Pause = "30s"
    retry_after: Duration = "15s"
    longest_retry: Duration = "1d"
    missing_scans: int = Field(default=3, ge=1, le=1000)
    missing_after: Pause = "1h"

    @property
    def bound(self) -> Bound:
        """When an unavailable object has failed."""
        return Bound(self.object_attempts, parse_duration(self.object_seconds))

    @property
    def confirmation(self) -> Confirmation:
        """When a mass loss counts as real."""
        return Confirmation(self.missing_scans, parse_duration(self.missing_after))

    @property
    def patience(self) -> Patience:
        """The pauses between automatic retries."""
        return Patience(parse_duration(self.retry_after), parse_duration(self.longest_retry))


class Retention(Table):
    """How long finished records are kept; what was imported stays known for ever."""

    events: Kept = "90d"
    deliveries: Kept = "30d"
    jobs: Kept = "forever"
    results: Kept = "forever"
    audit: Kept = "365d"

    @property
    def events_seconds(self) -> float | None:
        """How long an event is kept; None for ever. One with a delivery that waits is kept as long as that."""
        return retention_seconds(self.events)

    @property
    def deliveries_seconds(self) -> float | None:
        """How long an ended delivery is kept, with its attempts; None for ever."""
        return retention_seconds(self.deliveries)

    @property
    def jobs_seconds(self) -> float | None:
        """How long a finished import job is kept, with its list of files; None for ever."""
        return retention_seconds(self.jobs)

    @property
    def results_seconds(self) -> float | None:
        """How long is kept what runs found out about media; None for ever."""
        return retention_seconds(self.results)

    @property
    def audit_seconds(self) -> float | None:
        """How long an entry of the audit trail is kept; None for ever."""
        return retention_seconds(self.audit)


class IndexTable(Table):
    """An index that media are imported into; `name` is for people."""

    name: str | None = Field(default=None, min_length=1, max_length=100)
    description: str | None = Field(default=None, max_length=500)


class AutomationExport(Table):
    """Where the results of an automation's index go, in which formats and under which names."""

    required = ("connector",)

    connector: str = ""
    subpath: Subpath | None = None
    formats: Annotated[tuple[str, ...], List, Field(min_length=1, max_length=50)] = (JSON,)
    name: str | None = Field(default=None, max_length=300)
    files: Literal["run", "item"] = "run"
    sidecars: bool = False
    pretty: bool = False
    latest: bool = False
    enabled: bool = True

    @property
    def options(self) -> ExportOptions:
        """The formats and the layout."""
        return ExportOptions(self.formats, self.name, self.files, self.sidecars, self.pretty, self.latest)


class Automation(Table):
    """What to watch, when a window closes, and what happens then."""

    required = ("index", "connector")

    index: str = ""
    connector: str = ""
    prefix: KeyPrefix = ""
    pattern: Pattern = "*"
    recursive: bool = True
    exclude: Annotated[tuple[Excluded, ...], List, Field(max_length=100)] = ()
    min_size_bytes: Positive | None = None
    max_size_bytes: Positive | None = None
    debounce: Duration = "10m"
    max_wait: Duration | None = None
    max_objects: int = Field(default=10_000, ge=1, le=1_000_000)
    concurrency: int = Field(default=16, ge=1, le=10_000)
    scan_interval: Duration | None = None
    max_list_calls_per_hour: Positive | None = None
    settle: Pause = "5s"
    process_existing: bool = True
    import_mode: ImportMode | None = None
    enabled: bool = True
    paused: bool = False
    path_fields: FieldTemplate | None = None
    facts: Annotated[tuple[FactSource, ...], List] = ()
    prompt: Annotated[PromptPreset, BeforeValidator(_expand_preset)] = PromptPreset()
    export: AutomationExport | None = None

    @property
    def wanted_facts(self) -> dict[str, object] | None:
        """What is to be read about each file; None: nothing."""
        return describe_wanted(self.path_fields, self.facts)

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


class Search(Table):
    """Search by meaning: a sentence model in a folder of the user's; None compares words alone."""

    model_dir: AbsolutePath | None = None


class Settings(Table):
    """The whole file."""

    listen: Listen = "127.0.0.1:8787"
    state_dir: AbsolutePath = Path()
    allow_network_state_dir: bool = False
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
    processors: dict[str, AnyProcessor] = Field(default_factory=dict)
    pictures: PictureSettings = PictureSettings()
    transcription: Transcription = Transcription()
    search: Search = Search()
    imports: Imports = Imports()
    retention: Retention = Retention()
    webhooks: Webhooks = Webhooks()
    attachments: Attachments = Attachments()
    alerts: Alerts = Alerts()
    connectors: dict[str, AnyConnector] = Field(default_factory=dict)
    indexes: dict[str, IndexTable] = Field(default_factory=dict)
    prompts: dict[str, PromptTable] = Field(default_factory=dict)
    automations: dict[str, Automation] = Field(default_factory=dict)

    @property
    def replicated(self) -> bool:
        """Whether other nodes may share the database: on PostgreSQL, not with a file."""
        return is_server(self.database_url)

    @property
    def processor_names(self) -> ProcessorNames:
        """Return the processors, the built-in one included, and the default."""
        built_in = {} if TECHNICAL in self.processors else {TECHNICAL: TechnicalProcessorTable()}
        infos = {name: table.info(name) for name, table in (built_in | self.processors).items()}
        return ProcessorNames(infos, self.processing.default)


class Config(Settings):
    """A valid configuration: file, environment and flags combined."""

    path: Path | None = None
    admin_key: Secret | None = None
    webhook_secrets: dict[str, Secret] = Field(default_factory=dict)
    alert_secrets: dict[str, Secret] = Field(default_factory=dict)
    alert_signing_secrets: dict[str, Secret] = Field(default_factory=dict)
    connector_secrets: dict[str, Secret] = Field(default_factory=dict)
    processor_secrets: dict[str, Secret] = Field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on; port 0 asks for a free one."""
        return split_listen(self.listen)

    @property
    def database_path(self) -> Path:
        """The database file; of meaning only where the configuration is not `replicated`."""
        return database_file(self.database_url, self.state_dir)
