"""Credentials, limits and usage."""

from __future__ import annotations

from typing import Any

import pytest
import videovector

from tests.daemon_process import ADMIN_KEY
from tests.sdk.twins import CLIENTS, Twin
from tests.sdk.world import World


def with_key(sdk: Twin, world: World, **credentials: Any) -> Twin:
    """Another client of the same kind."""
    client = CLIENTS["sync" if sdk.portal is None else "async"]
    return Twin(client(base_url=world.base_url, max_retries=0, **credentials), sdk.portal)


def test_a_good_key_is_acknowledged(sdk: Twin) -> None:
    assert sdk.authenticate()["accepted"] is True


def test_a_wrong_key_is_refused(sdk: Twin, world: World) -> None:
    stranger = with_key(sdk, world, api_key="sk_live_" + "0" * 48)
    for call in (stranger.authenticate, stranger.indexes.list):
        with pytest.raises(videovector.AuthenticationError) as caught:
            call()
        assert caught.value.error_code == "authentication_invalid_api_key"
    stranger.close()


def test_a_key_may_come_as_a_token(sdk: Twin, world: World) -> None:
    for credentials in ({"bearer_token": ADMIN_KEY}, {"oauth_token_provider": lambda: ADMIN_KEY}):
        bearer = with_key(sdk, world, **credentials)
        assert bearer.authenticate()["accepted"] is True
        assert bearer.import_jobs.retrieve(world.job_id).job_id == world.job_id
        bearer.close()


def test_a_key_is_made_used_rotated_revoked_and_deleted(sdk: Twin, world: World) -> None:
    made = sdk.api_keys.create(name="reader", scopes=["read"], expires_in_days=7)
    assert made.key.startswith(made.key_prefix)
    assert (made.name, made.scopes, made.is_active) == ("reader", ["read"], True)
    assert made.expires_at > made.created_at
    found = sdk.api_keys.retrieve(made.key_id)
    assert (found.key_id, found.scopes) == (made.key_id, ["read"])
    assert made.key_id in {key.key_id for key in sdk.api_keys.list()}
    reader = with_key(sdk, world, api_key=made.key)
    assert reader.prompt_runs.list()
    with pytest.raises(videovector.AuthorizationError) as caught:
        reader.webhooks.delete("wh_none")
    assert caught.value.error_code == "authorization_insufficient_scope"
    rotated = sdk.api_keys.rotate(made.key_id)
    assert rotated.key != made.key
    assert (rotated.name, rotated.scopes) == ("reader", ["read"])
    with pytest.raises(videovector.AuthenticationError):
        reader.prompt_runs.list()
    reader.close()
    again = with_key(sdk, world, api_key=rotated.key)
    assert again.prompt_runs.list()
    assert not sdk.api_keys.revoke(rotated.key_id).is_active
    with pytest.raises(videovector.AuthenticationError):
        again.prompt_runs.list()
    again.close()
    assert sdk.api_keys.delete(rotated.key_id).message
    with pytest.raises(videovector.NotFoundError):
        sdk.api_keys.retrieve(rotated.key_id)


def test_the_limits_are_told(sdk: Twin) -> None:
    for status in (sdk.rate_limits.get_status(), sdk.rate_limits.refresh()):
        assert status.user_id
        assert status.categories
        for category in status.categories.values():
            assert category.minute_limit == 1_000_000
            assert category.minute_remaining == max(0, category.minute_limit - category.minute_used)


def test_what_is_used_is_told(sdk: Twin) -> None:
    metrics = {metric.type for metric in sdk.usage.get_metric_types()}
    assert all(metric.unit and metric.description for metric in sdk.usage.get_metric_types())
    current = sdk.usage.get_current()
    assert current.metrics.keys() <= metrics
    assert current.period_start < current.period_end
    breakdown = sdk.usage.get_breakdown()
    assert breakdown.breakdown.keys() <= metrics
    assert sdk.usage.get_history(limit=1).user_id == current.user_id
    assert {detail.metric_type for detail in sdk.usage.get_details(limit=5)} <= metrics
