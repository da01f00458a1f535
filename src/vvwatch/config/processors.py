"""The processor tables of `vvwatch.toml`, one per type, with prices and budgets."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from vvwatch.core.budgets import Budget as Limits
from vvwatch.core.budgets import Budgets
from vvwatch.core.money import Price
from vvwatch.core.processors import ProcessorInfo, Rates
from vvwatch.options.fields import AbsolutePath, Endpoint, List, Proxy, VariableName, refuse
from vvwatch.options.tables import Table, TableKind, TypedTable

_CHAT: Final = "/chat/completions"
_ITEM_SECONDS: Final = 600.0
_SEGMENT_SECONDS: Final = 120.0


def _require_printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise refuse("holds spaces at an end, or what cannot be printed", "a name or a glob, e.g. gpt-*")
    return text


def _check_program(words: tuple[str, ...]) -> tuple[str, ...]:
    """Require a program on PATH or an absolute path; a relative path has no fixed base."""
    if "/" in words[0] and not words[0].startswith("/"):
        raise refuse(f"{words[0]!r} is a relative path", "an absolute path, or a name that is found on PATH")
    if any("\0" in word for word in words):
        raise refuse("holds a null character")
    return words


def _check_base_url(address: str) -> str:
    if address.endswith(_CHAT):
        raise refuse("is the address of one call", "the address before it", f"leave out {_CHAT}")
    return address


Usd = Annotated[float, Field(ge=0, le=1e9)]
ModelName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_require_printable)]
UpstreamId = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_require_printable)]
Seconds = Annotated[float, Field(ge=0.1, le=604_800)]
PerMinute = Annotated[int, Field(ge=1, le=1_000_000_000)]
FrameWidth = Annotated[int, Field(ge=16, le=7680)]
Command = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=4096)], ...],
    List,
    Field(min_length=1, max_length=200),
    AfterValidator(_check_program),
]


class Budget(Table):
    """The most that calls may cost, in US dollars; None for any amount. What reaches it waits, and is not skipped."""

    per_item_usd: Usd | None = None
    per_run_usd: Usd | None = None
    per_day_usd: Usd | None = None
    per_month_usd: Usd | None = None

    @property
    def holds_dollars(self) -> bool:
        """Whether there is any limit in dollars."""
        return any(value is not None for name, value in self if name.endswith("_usd"))

    @property
    def limits(self) -> Limits:
        """The limits, as the ledger of calls takes them."""
        return Limits(**self.model_dump())


class ProcessorBudget(Budget):
    """The budget of one processor, which may also count its calls."""

    per_day_calls: int | None = Field(default=None, ge=0)


class PriceTable(Table):
    """What one model costs, in US dollars; at least one of the three is given."""

    input_usd_per_million: Usd = 0.0
    output_usd_per_million: Usd = 0.0
    usd_per_call: Usd = 0.0

    @property
    def price(self) -> Price:
        """The price, as the ledger of calls takes it."""
        return Price(**self.model_dump())


class ProcessorTable(TypedTable):
    """A processor; the other keys are those of its type."""

    kinds: ClassVar[dict[str, TableKind]] = {}

    type: str = "technical"
    models: Annotated[tuple[ModelName, ...], List, Field(max_length=100)] = ()

    def info(self, name: str) -> ProcessorInfo:
        """Return what is known of this processor without asking it."""
        return ProcessorInfo(name, self.type, self.models)


class TechnicalProcessorTable(ProcessorTable):
    """The built-in processor, which is there without a table as well."""

    type: Literal["technical"] = "technical"


class PaidProcessor(ProcessorTable):
    """What the processors have in common whose work may cost money."""

    concurrency: int = Field(default=4, ge=1, le=1000)
    prices: dict[ModelName, PriceTable] = Field(default_factory=dict)
    budget: ProcessorBudget = ProcessorBudget()

    @property
    def rates(self) -> Rates:
        """What its endpoint allows."""
        return Rates(in_flight=self.concurrency)

    def price_of(self, model: str) -> Price | None:
        """Return the price of a model: of its own name, else of the first glob that fits; None when nobody knows."""
        if model in self.prices:
            return self.prices[model].price
        return next((each.price for glob, each in self.prices.items() if fnmatchcase(model, glob)), None)


class CommandProcessor(PaidProcessor):
    """A program that is run for each item or segment, or that is fed by lines."""

    required = ("type", "command")

    type: Literal["command"] = "command"
    command: Command = ()
    level: Literal["item", "segment"] = "segment"
    mode: Literal["once", "worker"] = "once"
    concurrency: int = Field(default=2, ge=1, le=1000)
    frames: int = Field(default=1, ge=0, le=64)
    frame_width: FrameWidth = 1280
    audio: bool = False
    timeout_seconds: Seconds | None = None
    kill_grace_seconds: float = Field(default=5, ge=0, le=600)
    pass_env: Annotated[tuple[VariableName, ...], List, Field(max_length=100)] = ()
    memory_bytes: int = Field(default=4 << 30, ge=1 << 26, le=1 << 50)
    stdout_bytes: int = Field(default=16 << 20, ge=1 << 10, le=1 << 30)

    @property
    def call_seconds(self) -> float:
        """How long one answer may take."""
        if self.timeout_seconds is not None:
            return self.timeout_seconds
        return _ITEM_SECONDS if self.level == "item" else _SEGMENT_SECONDS


class OpenAIProcessor(PaidProcessor):
    """An endpoint that speaks the chat protocol of OpenAI, hosted or on this machine."""

    required = ("type", "base_url", "model")

    type: Literal["openai"] = "openai"
    base_url: Annotated[Endpoint, AfterValidator(_check_base_url)] = ""
    model: ModelName = ""
    api_key_file: str | None = None
    api_key_env: VariableName | None = None
    requests_per_minute: PerMinute | None = None
    tokens_per_minute: PerMinute | None = None
    max_in_flight: int = Field(default=8, ge=1, le=1000)
    timeout_seconds: Seconds = 120.0
    frames_per_segment: int = Field(default=5, ge=0, le=64)
    frame_width: FrameWidth = 640
    max_output_tokens: int = Field(default=2000, ge=16, le=1_000_000)
    context_tokens: int | None = Field(default=None, ge=1_000, le=100_000_000)
    send_audio: bool = False
    ca_file: AbsolutePath | None = None
    proxy: Proxy | None = None

    @property
    def rates(self) -> Rates:
        """What its endpoint allows."""
        return Rates(self.requests_per_minute, self.tokens_per_minute, self.max_in_flight)


class VideoVectorProcessor(PaidProcessor):
    """A hosted VideoVector, or another vvwatch, that does the work.

    `connectors` names connectors of the upstream that see the same store as ours do, `prompt_id` a prompt there that
    stands for each of ours. `usd_per_minute` is for forecasts; the upstream itself is asked before an item is run.
    """

    required = ("type", "base_url", "index_id")

    type: Literal["videovector"] = "videovector"
    base_url: Endpoint = ""
    index_id: UpstreamId = ""
    api_key_file: str | None = None
    api_key_env: VariableName | None = None
    model: ModelName | None = None
    connectors: dict[str, UpstreamId] | None = None
    prompt_id: UpstreamId | None = None
    uploads_in_flight: int = Field(default=2, ge=1, le=100)
    segment_retries: int = Field(default=1, ge=0, le=10)
    timeout_seconds: Seconds = 60.0
    deadline_seconds: Seconds = 43_200.0
    usd_per_mt: Usd | None = None
    usd_per_minute: Usd | None = None

    def info(self, name: str) -> ProcessorInfo:
        """Return what is known of this processor without asking it."""
        return ProcessorInfo(name, self.type, self.models, transcribes=True, embeds_images=True)


_TABLES: Final = (TechnicalProcessorTable, CommandProcessor, OpenAIProcessor, VideoVectorProcessor)
KINDS: Final[Mapping[str, type[ProcessorTable]]] = {
    str(table.model_fields["type"].default): table for table in _TABLES
}
"""The table of each type."""
ProcessorTable.kinds.update(KINDS)

if TYPE_CHECKING:
    AnyProcessor = ProcessorTable
else:

    class AnyProcessor(ProcessorTable):
        """A processor of any type."""

        kinds: ClassVar[dict[str, TableKind]] = ProcessorTable.kinds

        type: Literal[tuple(KINDS)] = "technical"


def budgets_of(overall: Budget, processors: Mapping[str, ProcessorTable]) -> Budgets:
    """Return what may be spent, over all processors and with each."""
    paid = {name: each for name, each in processors.items() if isinstance(each, PaidProcessor)}
    return Budgets(overall.limits, {name: each.budget.limits for name, each in paid.items()})
