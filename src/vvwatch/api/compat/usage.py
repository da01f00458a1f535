"""Usage by month. Nothing is billed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import Query

from vvwatch.api.http.auth import PUBLIC, require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.wire import USER_ID, Resource
from vvwatch.core.events import to_iso
from vvwatch.core.keys import Scope
from vvwatch.errors import InvalidInput
from vvwatch.store.runs import usage_queries
from vvwatch.store.runs.usage_queries import METRICS

router = resource_router("usage")

Figures = dict[str, float]
_NAMES: Final = tuple(metric.name for metric in METRICS)
_UNITS: Final = {metric.name: metric.unit for metric in METRICS}
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9998

Moment = Annotated[datetime | None, Query(description="a date or a time, UTC unless it has a time zone")]


class UsageTotals(Resource):
    """Usage under the names that clients know. Tokens, searches and storage are not counted here."""

    total_tokens: int = 0
    total_searches: int = 0
    total_storage_bytes: int | None = None
    total_videos_uploaded: int
    total_videos_processed: int
    total_segments_created: int


class Usage(Resource):
    """Usage of the current month."""

    user_id: str
    period_start: str
    period_end: str
    metrics: Figures
    model_usage: dict[str, Figures]
    auth_usage: dict[str, dict[str, str | float]]
    totals: UsageTotals


class UsagePeriod(Resource):
    """Usage of one month."""

    summary_id: str
    period_start: str
    period_end: str
    metrics: Figures
    model_usage: dict[str, Figures]
    auth_usage: dict[str, dict[str, str | float]]
    totals: dict[str, int]


class UsageHistory(Resource):
    """Months, newest first."""

    user_id: str
    periods: list[UsagePeriod]


class UsageBreakdown(Resource):
    """Usage of a period."""

    user_id: str
    period_start: str
    period_end: str
    breakdown: Figures
    totals: UsageTotals


class UsageDetail(Resource):
    """One counted action."""

    event_id: str
    metric_type: str
    value: float
    unit: str
    timestamp: str
    metadata: dict[str, Any]


class MetricType(Resource):
    """A metric."""

    type: str
    description: str
    unit: str


@router.get("/usage", **require(Scope.READ))
async def get_usage(context: Context) -> Usage:
    """Return this month's usage."""
    since, until = _month_of(_to_date(context.clock.now()))
    figures = await context.database.read(usage_queries.sum_metrics, since, until)
    return Usage(
        user_id=USER_ID,
        period_start=to_iso(since),
        period_end=to_iso(until),
        metrics=figures,
        model_usage={},
        auth_usage={},
        totals=_to_totals(figures),
    )


@router.get("/usage/history", **require(Scope.READ))
async def get_usage_history(
    context: Context,
    start_date: Moment = None,
    end_date: Moment = None,
    limit: Annotated[int, Query(ge=1, le=24, description="maximum number of months")] = 12,
) -> UsageHistory:
    """List usage by month, newest first; a month without usage has zeros."""
    now = context.clock.now()
    first, last = _parse_period(start_date, end_date, 0.0, now)
    months = list(_list_months(first, min(last, now), limit))
    found = await context.database.read(usage_queries.sum_periods, months)
    shown = [_to_period(since, until, figures) for (since, until), figures in zip(months, found, strict=True)]
    return UsageHistory(user_id=USER_ID, periods=shown)


@router.get("/usage/details", **require(Scope.READ))
async def list_usage_details(
    context: Context,
    metric_type: Annotated[str | None, Query(description="a metric of GET /usage/metric-types")] = None,
    start_date: Moment = None,
    end_date: Moment = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[UsageDetail]:
    """List what was counted, newest first, for one metric or all."""
    if metric_type is not None and metric_type not in _NAMES:
        raise InvalidInput("there is no such metric", f"the metrics are {', '.join(_NAMES)}")
    since, until = _parse_period(start_date, end_date, *_month_of(_to_date(context.clock.now())))
    found: list[UsageDetail] = []
    for metric in (metric_type,) if metric_type else _NAMES:
        rows = await context.database.read(usage_queries.list_details, metric, since, until, limit)
        found += [_to_detail(metric, row) for row in rows]
    return sorted(found, key=lambda detail: detail.timestamp, reverse=True)[:limit]


@router.get("/usage/breakdown", **require(Scope.READ))
async def get_usage_breakdown(
    context: Context, start_date: Moment = None, end_date: Moment = None
) -> UsageBreakdown:
    """Return the usage of a period; without dates, of this month."""
    since, until = _parse_period(start_date, end_date, *_month_of(_to_date(context.clock.now())))
    figures = await context.database.read(usage_queries.sum_metrics, since, until)
    return UsageBreakdown(
        user_id=USER_ID,
        period_start=to_iso(since),
        period_end=to_iso(until),
        breakdown=figures,
        totals=_to_totals(figures),
    )


@router.get("/usage/metric-types", **require(PUBLIC))
async def list_metric_types() -> list[MetricType]:
    """List all metrics."""
    return [MetricType(type=metric.name, description=metric.meaning, unit=metric.unit) for metric in METRICS]


def _parse_period(
    start: datetime | None, end: datetime | None, first: float, last: float
) -> tuple[float, float]:
    """Return the period in epoch seconds; `first` and `last` replace a missing start and end."""
    since = first if start is None else _to_epoch(start)
    until = last if end is None else _to_epoch(end)
    if since > until:
        raise InvalidInput("start_date is after end_date", "swap them")
    return since, until


def _to_epoch(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _to_date(epoch: float) -> datetime:
    return datetime.fromtimestamp(max(epoch, 0.0), UTC)


def _month_of(moment: datetime) -> tuple[float, float]:
    """Return the start of the month and of the next one."""
    year = min(max(moment.year, _FIRST_YEAR), _LAST_YEAR)
    until = datetime(year + moment.month // 12, moment.month % 12 + 1, 1, tzinfo=UTC)
    return datetime(year, moment.month, 1, tzinfo=UTC).timestamp(), until.timestamp()


def _list_months(first: float, last: float, limit: int) -> Iterator[tuple[float, float]]:
    """Yield the newest months that overlap the period, at most `limit`, newest first."""
    since, until = _month_of(_to_date(last))
    while limit and until > max(first, 0.0):
        yield since, until
        since, until = _month_of(_to_date(since - 1)) if since > 0 else (0.0, 0.0)
        limit -= 1


def _to_totals(figures: Figures) -> UsageTotals:
    return UsageTotals(
        total_videos_uploaded=int(figures["media_imported"]),
        total_videos_processed=int(figures["media_processed"]),
        total_segments_created=int(figures["segments_created"]),
    )


def _to_period(since: float, until: float, figures: Figures) -> UsagePeriod:
    totals = {name: value for name, value in _to_totals(figures).model_dump().items() if value is not None}
    return UsagePeriod(
        summary_id=f"usage_{to_iso(since)[:7]}",
        period_start=to_iso(since),
        period_end=to_iso(until),
        metrics=figures,
        model_usage={},
        auth_usage={},
        totals=totals,
    )


def _to_detail(metric: str, row: usage_queries.Detail) -> UsageDetail:
    return UsageDetail(
        event_id="_".join(("use", metric, *row.of.values())),
        metric_type=metric,
        value=row.value,
        unit=_UNITS[metric],
        timestamp=to_iso(row.at),
        metadata=row.of,
    )
