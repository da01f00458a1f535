"""Options that several commands share."""

from __future__ import annotations

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Answer as JSON, for programs.")
config_option = click.option(
    "--config", metavar="FILE", type=click.Path(), help="The configuration file.  [$VVWATCH_CONFIG]"
)
state_dir_option = click.option(
    "--state-dir",
    "state",
    metavar="DIR",
    type=click.Path(),
    help="The state directory.  [$VVWATCH_STATE_DIR]",
)
url_option = click.option(
    "--url", envvar="VVWATCH_URL", metavar="URL", help="The address of a daemon elsewhere.  [$VVWATCH_URL]"
)
