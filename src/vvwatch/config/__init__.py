"""`vvwatch.toml`: what may stand in it, and how it is read together with the environment and flags."""

from __future__ import annotations

from vvwatch.config.connectors import CloudConnector, Connector, LocalConnector
from vvwatch.config.ids import automation_id, connector_id, index_id, prompt_id, webhook_id
from vvwatch.config.loading import ENVIRONMENT, load
from vvwatch.config.models import (
    Automation,
    AutomationExport,
    Config,
    Debounce,
    IndexTable,
    Local,
    Log,
    Node,
    PictureSettings,
    Processing,
    Retention,
    Settings,
)
from vvwatch.config.outgoing import Webhook, Webhooks
from vvwatch.config.prompts import BUILT_IN_PROMPTS, PromptPreset, PromptTable
from vvwatch.errors import ConfigInvalid, Problem
from vvwatch.options.secrets import Secret

__all__ = [
    "BUILT_IN_PROMPTS",
    "ENVIRONMENT",
    "Automation",
    "AutomationExport",
    "CloudConnector",
    "Config",
    "ConfigInvalid",
    "Connector",
    "Debounce",
    "IndexTable",
    "Local",
    "LocalConnector",
    "Log",
    "Node",
    "PictureSettings",
    "Problem",
    "Processing",
    "PromptPreset",
    "PromptTable",
    "Retention",
    "Secret",
    "Settings",
    "Webhook",
    "Webhooks",
    "automation_id",
    "connector_id",
    "index_id",
    "load",
    "prompt_id",
    "webhook_id",
]
