from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from pydantic import ValidationError

from vvwatch.config import Config, ConfigInvalid, Problem, Settings, load

Read = Callable[..., Config]
Problems = Callable[..., list[Problem]]

PASSWORD = "pass%40word"
SERVER = f"postgresql://watch:{PASSWORD}@db.example.org/media"


@pytest.mark.parametrize(
    ("url", "expected"),
    [("sqlite:///x.db", "state/x.db"), ("sqlite:////srv/x.db", "/srv/x.db")],
)
def test_the_database_is_a_file(read: Read, tmp_path: Path, url: str, expected: str) -> None:
    config = read(f"state_dir = '{tmp_path}/state'\ndatabase_url = '{url}'")

    assert config.database_path == tmp_path / expected
    assert not config.replicated


@pytest.mark.parametrize(
    "address",
    [
        "h/media",
        "watch@h:5433/media",
        "watch:@h/media",
        "watch:pa%2Fss@h/media?sslmode=require",
        "[::1]:5432/media",
        "h1:1,h2:65535/media?target_session_attrs=primary",
        "watch@/media?host=/run/postgresql",
        "/media",
        "?host=/run/postgresql&port=5433&dbname=media",
        "h?database=media",
        "%2Frun%2Fpostgresql:5433/media",
    ],
)
@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_the_database_may_be_a_server_that_nodes_share(read: Read, scheme: str, address: str) -> None:
    config = read("", {"VVWATCH_DATABASE_URL": f"{scheme}://{address}"})

    assert config.database_url == f"postgresql://{address}"
    assert config.replicated


@pytest.mark.parametrize(
    ("url", "what", "told"),
    [
        ("sqlite:///:memory:", "is no address of a database", "sqlite:///name.db"),
        ("sqlite://", "is no address of a database", "postgresql://user@host:port/name"),
        ("mysql://h/db", "is no address of a database", "postgresql://"),
        ("x.db", "is no address of a database", "sqlite:///name.db"),
        ("postgresql+asyncpg://h/db", "names a driver", "without +asyncpg"),
        ("postgresql://user:hush@h", "names no database", "postgresql://user@host/name"),
        ("postgresql://user:hush@h/", "names no database", "postgresql://user@host/name"),
        ("postgresql://user:hush@h:port/db", "has a port that is not a number", "1 to 65535"),
        ("postgresql://user:hush@h:0/db", "has a port that is not a number", "1 to 65535"),
        ("postgresql://user:hush@h:65536/db", "has a port that is not a number", "1 to 65535"),
        ("postgresql://user:hush@h:1:2/db", "has a port that is not a number", "1 to 65535"),
        (f"postgresql://h:{'9' * 5000}/db", "has a port that is not a number", "1 to 65535"),
        ("postgresql://h1,h2:x/db", "has a port that is not a number", "1 to 65535"),
        ("postgresql:///db?host=h:hush", "has a port that is not a number", "1 to 65535"),
        ("postgresql://h/db?port=hush", "has a port that is not a number", "1 to 65535"),
        ("postgresql://user:hu/sh@h/db", "has a port that is not a number", "write %XX"),
        ("postgresql://h1,,h2/db", "has a host that cannot be read", "host:port"),
        ("postgresql://:5432/db", "has a host that cannot be read", "host:port"),
        ("postgresql://user:hu@sh@h/db", "is not written as an address is", "write %XX"),
        ("postgresql://user:hu#sh@h/db", "is not written as an address is", "write %XX"),
        ("postgresql://user:hu sh@h/db", "is not written as an address is", "write %XX"),
        ("postgresql://user:hush@h/db\n", "is not written as an address is", "write %XX"),
        ("postgresql://user:hu[sh@h/db", "is not written as an address is", "write %XX"),
        ("postgresql://h/db?hush", "is not written as an address is", "write %XX"),
    ],
)
def test_an_address_that_leads_to_no_database_is_refused_and_not_shown(
    problems: Problems, url: str, what: str, told: str
) -> None:
    [problem] = problems("", {"VVWATCH_DATABASE_URL": url})

    assert (problem.key, problem.what) == ("VVWATCH_DATABASE_URL", what)
    assert told in str(problem)
    assert "hu" not in str(problem)


def test_the_password_of_a_database_is_never_shown(read: Read, tmp_path: Path) -> None:
    text = f"database_url = '{SERVER}'"
    config = read(text)
    with pytest.raises(ConfigInvalid) as refused:
        read(text + "\nlisten = 'nowhere'\n[log]\nformat = 1")
    with pytest.raises(ValidationError) as wrong:
        Settings(database_url=f"{SERVER}#")

    assert config.database_url == SERVER
    told = [config, config.warnings, refused.value, refused.value.problems, wrong.value]
    assert PASSWORD not in "".join(f"{each} {each!r}" for each in told)


@pytest.mark.parametrize("part", ["${hush", "${1hush}"])
def test_a_broken_substitution_in_the_address_is_told_without_it(problems: Problems, part: str) -> None:
    [problem] = problems(f"database_url = 'postgresql://watch:{part}@h/media'")

    assert (problem.line, problem.key) == (1, "database_url")
    assert problem.what == "a part of it is not a substitution"
    assert "hush" not in str(asdict(problem))


def test_the_address_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "database"
    file.write_text(f"{SERVER}\n")
    file.chmod(0o600)

    config = load(None, {"VVWATCH_DATABASE_URL_FILE": str(file)})

    assert config.database_url == SERVER
    assert config.warnings == ()


def test_the_file_of_the_address_overrules_the_configuration(read: Read, tmp_path: Path) -> None:
    (tmp_path / "database").write_text(SERVER)

    config = read("database_url = 'sqlite:///x.db'", {"VVWATCH_DATABASE_URL_FILE": f"{tmp_path}/database"})

    assert config.database_url == SERVER
    [warning] = config.warnings
    assert (warning.file, warning.key) == ("environment", "VVWATCH_DATABASE_URL_FILE")


@pytest.mark.parametrize(
    ("environ", "key", "what"),
    [
        (
            {"VVWATCH_DATABASE_URL": SERVER, "VVWATCH_DATABASE_URL_FILE": "database"},
            "VVWATCH_DATABASE_URL",
            "VVWATCH_DATABASE_URL_FILE is set as well",
        ),
        (
            {"VVWATCH_DATABASE_URL_FILE": "gone"},
            "VVWATCH_DATABASE_URL_FILE",
            "cannot be read: No such file or directory: gone",
        ),
        (
            {"VVWATCH_DATABASE_URL_FILE": "database"},
            "VVWATCH_DATABASE_URL_FILE",
            "names no database",
        ),
        (
            {"VVWATCH_DATABASE_URL_FILE": "empty"},
            "VVWATCH_DATABASE_URL_FILE",
            "is no address of a database",
        ),
    ],
)
def test_an_unusable_file_of_the_address_is_a_problem_that_does_not_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], key: str, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("database", f"postgresql://watch:{PASSWORD}@h"), ("empty", "")):
        Path(name).write_text(text)
        Path(name).chmod(0o600)

    with pytest.raises(ConfigInvalid) as refused:
        load(None, environ)

    [problem] = refused.value.problems
    assert (problem.file, problem.key, problem.what) == ("environment", key, what)
    assert PASSWORD not in str(problem)


@pytest.fixture
def everybodys(tmp_path: Path) -> Path:
    """The configuration file of `read`, for every user of the machine to read."""
    path = tmp_path / "vvwatch.toml"
    path.touch()
    path.chmod(0o644)
    return path


@pytest.mark.parametrize(
    "url",
    [
        SERVER,
        "postgres://watch:$${word@/media",
        "postgresql://watch:literal@${HOST}:${PORT}/media",
        "postgresql://h/media?password=literal",
        "postgresql://h/media?sslpassword=literal",
    ],
)
def test_a_password_that_others_can_read_is_a_warning(read: Read, everybodys: Path, url: str) -> None:
    [warning] = read(f"\ndatabase_url = '{url}'", {"HOST": "h", "PORT": "5432"}).warnings

    assert (warning.line, warning.key) == (2, "database_url")
    assert warning.what == "every user of this machine can read the password in it"
    assert warning.hint.startswith(f"chmod o-r {everybodys}")


@pytest.mark.parametrize(
    "url", ["postgresql://watch:${PW}@h/m", "${URL}", "postgresql://watch@h/m", "sqlite:///x.db"]
)
def test_a_password_that_stands_elsewhere_is_no_warning(read: Read, everybodys: Path, url: str) -> None:
    assert read(f"database_url = '{url}'", {"PW": "word", "URL": SERVER}).warnings == ()
    assert read("", {"VVWATCH_DATABASE_URL": SERVER}).warnings == ()


def test_a_password_in_a_closed_file_is_no_warning(read: Read, everybodys: Path) -> None:
    everybodys.chmod(0o640)

    assert read(f"database_url = '{SERVER}'").warnings == ()
