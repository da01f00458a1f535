"""The Debian package, as far as it can be judged without building it; tests/systemd/boot.sh builds and installs it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deployments import CONFIG, ROOT
from vvwatch.config import load

DEB = CONFIG / "deb"
BUILD = (DEB / "build.sh").read_text()
MAINTAINER_SCRIPTS = ("postinst", "prerm", "postrm")
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
SCRIPTS = sorted(
    [
        *(DEB / name for name in MAINTAINER_SCRIPTS),
        *(path for folder in ("config", "findings", "tests") for path in (ROOT / folder).rglob("*.sh")),
        ROOT / ".ci" / "run",
    ]
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_script_is_sound(script: Path) -> None:
    said = subprocess.run(
        [SHELLCHECK, "--severity=warning", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert said.returncode == 0, said.stdout


def test_a_mistake_in_a_script_would_be_noticed(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\ncd $1\nif [[ -e x ]]; then rm x; fi\n")
    assert subprocess.run([SHELLCHECK, "--severity=warning", script], check=False).returncode != 0


@pytest.mark.parametrize("name", MAINTAINER_SCRIPTS)
def test_a_maintainer_script_stops_at_a_failure_and_may_run_without_systemd(name: str) -> None:
    text = (DEB / name).read_text()
    assert text.startswith("#!/bin/sh\n")
    assert "\nset -e\n" in text
    assert text.index("[ -d /run/systemd/system ]") < text.index("systemctl ")


def test_every_field_of_control_is_filled_in() -> None:
    control = (DEB / "control").read_text()
    fields = set(re.findall(r"@\w+@", control))
    assert fields == set(re.findall(r"@\w+@", BUILD))
    names = re.findall(r"^([A-Z][\w-]+):", control, re.MULTILINE)
    assert {"Package", "Version", "Architecture", "Maintainer", "Depends", "Description"} <= set(names)
    assert "procps" in control  # ExecReload=/bin/kill


def test_the_package_starts_nothing_and_keeps_state_until_it_is_purged() -> None:
    scripts = {name: (DEB / name).read_text() for name in MAINTAINER_SCRIPTS}
    assert not re.search(r"deb-systemd-helper (--quiet )?enable", "".join(scripts.values()))
    before_purge, purge = scripts["postrm"].split("purge)")
    assert "/var/lib/private/vvwatch" in purge
    assert "rm " not in before_purge + scripts["prerm"]


def test_the_configuration_that_it_brings_is_a_conffile_without_problems(tmp_path: Path) -> None:
    assert "echo /etc/vvwatch/vvwatch.toml > " in BUILD
    load(DEB / "vvwatch.toml", {"STATE_DIRECTORY": str(tmp_path)})


def test_the_examples_in_it_are_good_when_they_are_taken(tmp_path: Path) -> None:
    text = (DEB / "vvwatch.toml").read_text()
    taken = re.sub(r"^#(?=[\[a-z])", "", text, flags=re.MULTILINE)
    path = tmp_path / "vvwatch.toml"
    path.write_text(taken)
    config = load(path, {"STATE_DIRECTORY": str(tmp_path)})
    assert list(config.automations) == ["dailies"]
    assert set(tomllib.loads(taken)) == {"local", "connectors", "indexes", "automations"}


def test_the_unit_finds_the_program_of_the_package() -> None:
    unit = (ROOT / "systemd" / "vvwatch.service").read_text()
    assert "ExecStart=/usr/bin/vvwatch run --config /etc/vvwatch/vvwatch.toml\n" in unit
    assert 'ln -s ../lib/vvwatch/bin/vvwatch "$tree/usr/bin/vvwatch"' in BUILD


def test_the_package_is_built_from_all_that_the_wheel_shares() -> None:
    """A folder that is not copied is left out without a word: the man pages were."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    [copied] = re.findall(r'cp -r "\$root"/\{(.+?)\}', BUILD)
    assert {"src", *shared} <= set(copied.split(","))
