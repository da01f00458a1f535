from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import vvwatch
from vvwatch.config import ENVIRONMENT, Config, ConfigInvalid, Problem, Secret, load, prompt_id
from vvwatch.config.loading import _OTHER_VARIABLES

Read = Callable[..., Config]
Problems = Callable[..., list[Problem]]


def test_nothing_at_all_is_a_configuration(tmp_path: Path) -> None:
    config = load(None, {"HOME": str(tmp_path)})

    assert config.listen == "127.0.0.1:8787"
    assert config.address == ("127.0.0.1", 8787)
    assert config.state_dir == tmp_path / ".local/state/vvwatch"
    assert config.database_path == tmp_path / ".local/state/vvwatch/vvwatch.db"
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HOME": "/home/x"}, "/home/x/.local/state/vvwatch"),
        ({"HOME": "/home/x", "XDG_STATE_HOME": "/state"}, "/state/vvwatch"),
        ({"XDG_STATE_HOME": "/state", "STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"),
        ({"STATE_DIRECTORY": "/var/lib/a", "VVWATCH_STATE_DIR": "/srv/state"}, "/srv/state"),
    ],
)
def test_the_state_has_a_home(environ: dict[str, str], expected: str) -> None:
    assert load(None, environ).state_dir == Path(expected)


def test_flags_overrule_the_environment_which_overrules_the_file(read: Read) -> None:
    text = 'listen = "127.0.0.1:1"\n[log]\nlevel = "error"\nformat = "json"\n'

    assert read(text).listen == "127.0.0.1:1"
    environ = {"VVWATCH_LISTEN": "127.0.0.1:2", "VVWATCH_LOG_LEVEL": "debug"}
    assert read(text, environ).listen == "127.0.0.1:2"
    config = read(text, environ, **{"listen": "127.0.0.1:3", "log.format": "console", "state_dir": None})
    assert (config.listen, config.log.level, config.log.format) == ("127.0.0.1:3", "debug", "console")


@pytest.mark.parametrize("name", ["VVWATCH_LISTEN", "VVWATCH_DATABASE_URL", "VVWATCH_ADMIN_KEY_FILE"])
def test_a_variable_that_is_set_and_empty_is_an_error(problems: Problems, name: str) -> None:
    [problem] = problems("", {name: ""})
    assert (problem.key, problem.what) == (name, "is set and empty")


def test_flags_can_declare_whole_tables(tmp_path: Path) -> None:
    config = load(
        None,
        {},
        {
            "local.roots": [tmp_path],
            "connectors": {"folder": {"type": "local", "path": tmp_path}},
            "indexes.main": {},
            "automations.main": {"index": "main", "connector": "folder", "debounce": "3s"},
        },
    )

    assert config.connectors["folder"].location == {"root": str(tmp_path)}
    assert config.automations["main"].quiet_seconds == 3


def test_a_wrong_flag_is_named_by_itself(problems: Problems) -> None:
    [problem] = problems("[log]\nlevel = 'info'", None, log={"level": "loud"})

    assert str(problem).startswith("flags log.level: 'loud' is not one of them (allowed: debug, info")


def test_without_a_file_a_problem_of_a_whole_table_is_one_of_the_flags(tmp_path: Path) -> None:
    overrides = {"automations.Main": {"index": "main", "connector": "folder"}}

    with pytest.raises(ConfigInvalid) as refused:
        load(None, {"HOME": str(tmp_path)}, overrides)
    assert {problem.file for problem in refused.value.problems} == {"flags"}


def test_a_wrong_variable_is_named_by_itself(problems: Problems) -> None:
    [problem] = problems("", {"VVWATCH_LISTEN": "nowhere"})

    assert str(problem) == (
        "environment VVWATCH_LISTEN: 'nowhere' is no address "
        "(allowed: host:port, e.g. 127.0.0.1:8787; port 0 picks one)"
    )


def test_a_misspelt_variable_is_a_warning(read: Read) -> None:
    [warning] = read("", {"VVWATCH_STATEDIR": "/x", "VVWATCH_DEMO_FOLDER": "/y"}).warnings

    assert (warning.key, warning.hint) == ("VVWATCH_STATEDIR", "did you mean 'VVWATCH_STATE_DIR'?")


def test_every_variable_that_is_used_is_known() -> None:
    """But for what programs are given, who read it themselves."""
    root = Path(vvwatch.__file__).parent
    sources = (path for path in root.rglob("*.py") if root / "processors" / "command" not in path.parents)
    used = {name for path in sources for name in re.findall(r"\bVVWATCH_[A-Z_]*[A-Z]\b", path.read_text())}

    assert used == {*ENVIRONMENT, *_OTHER_VARIABLES}


def test_the_file_is_found_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "vvwatch.toml").write_text("drain_seconds = 5")
    (tmp_path / "other.toml").write_text("drain_seconds = 6")

    assert load(None, {"CONFIGURATION_DIRECTORY": str(tmp_path)}).drain_seconds == 5
    environ = {"CONFIGURATION_DIRECTORY": str(tmp_path), "VVWATCH_CONFIG": str(tmp_path / "other.toml")}
    assert load(None, environ).drain_seconds == 6
    assert load(None, {"CONFIGURATION_DIRECTORY": "/nowhere"}).path is None


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (b"a = 1\nb == 2\n", 2, "is not TOML: Invalid value"),
        (b"a = 1\n\nb =", 3, "is not TOML: Invalid value"),
        (b"[log]\n[log]\n", 2, "is not TOML: Cannot declare ('log',) twice"),
        (b"a = 1\nb = '\xff'\n", 2, "is not UTF-8 text"),
        (b"a = " + b"9" * 5000, 1, "is not TOML: Exceeds the limit"),
    ],
)
def test_what_is_not_toml_is_told_with_its_line(tmp_path: Path, content: bytes, line: int, what: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)

    with pytest.raises(ConfigInvalid) as caught:
        load(path, {"VVWATCH_LISTEN": "x"})

    first, second = caught.value.problems
    assert (first.file, first.line) == (str(path), line)
    assert first.what.startswith(what)
    assert second.key == "VVWATCH_LISTEN"


@pytest.mark.parametrize("levels", [100_000, 400])
def test_what_is_nested_too_deeply_is_told(problems: Problems, levels: int) -> None:
    assert problems(f"[prompts.x]\njson_schema = {'{a=' * levels}1{'}' * levels}")[0].key in {
        "",
        "prompts.x.json_schema",
    }


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"gone\.toml: cannot be read: No such file or directory"):
        load(tmp_path / "gone.toml", {})
    with pytest.raises(ConfigInvalid, match="cannot be read: Is a directory"):
        load(tmp_path, {})


def test_all_problems_are_told_at_once(problems: Problems, media: Path) -> None:
    found = problems(
        f"""\
        listen = "0.0.0.0"
        dran_seconds = 5
        [log]
        format = "jsn"
        [local]
        roots = ["{media}", "/no/such/folder", "relative"]
        [webhooks]
        allow_htp = true
        delays = ["1s", "soon", 3]
        [webhooks.a]
        url = "http://localhost/x"
        events = ["import_job.complete"]
        indexes = ["mian"]
        [connectors.in]
        type = "locl"
        path = "{media}/incoming"
        scopes = ["export"]
        [connectors.out]
        path = "/etc"
        [indexes.main]
        [automations.x]
        index = "mai"
        connector = "on"
        debounce = "0.5s"
        pattern = "[a"
        prompt = "tecnical"
        max_objects = true
        [automations.x.export]
        connectr = "out"
        subpath = "../.."
        [automations.y]
        index = "main"
        connector = "in"
        prefix = "${{NOPE}}"
        prompt.video_segment_duration = 301
        [automations.z]
        index = "main"
        max_wait = "1m"
        [prompts.technical]
        prompt_text = "short"
        json_schema_file = "nope.json"
        """
    )

    assert [(problem.line, problem.key) for problem in found] == [
        (1, "listen"),
        (2, "dran_seconds"),
        (4, "log.format"),
        (6, "local.roots[2]"),
        (8, "webhooks.allow_htp"),
        (9, "webhooks.delays[1]"),
        (9, "webhooks.delays[2]"),
        (10, "webhooks.a"),
        (11, "webhooks.a.url"),
        (11, "webhooks.a.url"),
        (12, "webhooks.a.events[0]"),
        (13, "webhooks.a.indexes[0]"),
        (15, "connectors.in.type"),
        (18, "connectors.out.type"),
        (22, "automations.x.index"),
        (23, "automations.x.connector"),
        (24, "automations.x.debounce"),
        (25, "automations.x.pattern"),
        (26, "automations.x.prompt.prompt_id"),
        (27, "automations.x.max_objects"),
        (28, "automations.x.export.connector"),
        (29, "automations.x.export.connectr"),
        (30, "automations.x.export.subpath"),
        (33, "automations.y.connector"),
        (34, "automations.y.prefix"),
        (35, "automations.y.prompt.video_segment_duration"),
        (36, "automations.z.connector"),
        (37, "automations.z.index"),
        (38, "automations.z.max_wait"),
        (39, "prompts.technical"),
        (40, "prompts.technical.prompt_text"),
        (41, "prompts.technical.json_schema_file"),
    ]


def test_a_problem_reads_as_a_sentence(problems: Problems, tmp_path: Path) -> None:
    [problem] = problems("[log]\nlevle = 'info'")

    assert str(problem) == (
        f"{tmp_path}/vvwatch.toml:2 log.levle: is not a known key (allowed: format, keys, level) "
        "— did you mean 'level'?"
    )


def test_text_that_was_filled_in_may_stand_for_a_number(read: Read, problems: Problems) -> None:
    text = (
        "drain_seconds = '${DRAIN}'\n[processing]\nattempts = '${TRIES:-5}'\n[log]\nkeys = '${KEYS:-false}'"
    )

    config = read(text, {"DRAIN": "1.5"})

    assert (config.drain_seconds, config.processing.attempts, config.log.keys) == (1.5, 5, False)
    [problem] = problems(text, {"DRAIN": "soon"})
    assert (problem.key, problem.what) == ("drain_seconds", "must be a number")
    assert problems("drain_seconds = '1.5'")[0].what == "must be a number"


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        ("listen = 1", "listen", "must be text"),
        ("listen = ['a']", "listen", "must be text"),
        ("state_dir = 1", "state_dir", "must be text"),
        ("drain_seconds = true", "drain_seconds", "must be a number"),
        ("drain_seconds = inf", "drain_seconds", "must be a finite number"),
        ("drain_seconds = -1", "drain_seconds", "is too small"),
        ("drain_seconds = 1979-05-27", "drain_seconds", "must be a number"),
        ("log = 1", "log", "must be a table"),
        ("connectors = 1", "connectors", "must be a table"),
        ("connectors.a = 1", "connectors.a", "must be a table"),
        ("[[connectors.a]]", "connectors.a", "must be a table"),
        ("webhooks = []", "webhooks", "must be a table"),
        ("webhooks.a = 1", "webhooks.a", "is not a known key"),
        ("prompts = []", "prompts", "must be a table"),
        ("prompts.abc = 1", "prompts.abc", "must be a table"),
        ("prompts.abc.video_level = 1", "prompts.abc.video_level", "must be a table"),
        ("automations.a.prompt = 1", "automations.a.prompt", "must be a table"),
        ("automations.a.export = 1", "automations.a.export", "must be a table"),
        ("local.roots = '/tmp'", "local.roots", "must be a list"),
        ("log.keys = 'yes'", "log.keys", "must be true or false"),
        ("processing.attempts = 1.5", "processing.attempts", "must be a whole number"),
        ("processing.attempts = true", "processing.attempts", "must be a whole number"),
        ("webhooks.delays = [1]", "webhooks.delays[0]", "must be text"),
        ("webhooks.timeout_seconds = {}", "webhooks.timeout_seconds", "must be a number"),
    ],
)
def test_a_wrong_type_is_told_in_words(problems: Problems, text: str, key: str, what: str) -> None:
    assert (key, what) in [(problem.key, problem.what) for problem in problems(text)]


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:65535", "[::1]:80", "127.9.9.9:1"])
def test_an_address_on_this_machine_is_taken_silently(read: Read, address: str) -> None:
    assert read(f"listen = '{address}'").warnings == ()


@pytest.mark.parametrize("address", ["0.0.0.0:80", "[::]:80", "example.org:80"])
def test_an_address_that_others_reach_is_a_warning(read: Read, address: str) -> None:
    [warning] = read(f"listen = '{address}'").warnings

    assert (warning.line, warning.key) == (1, "listen")


@pytest.mark.parametrize("address", ["", "80", ":80", "a:b", "a:65536", "::1:80", "a:-1", "[::1]", "a:²"])
def test_what_is_no_address_is_refused(problems: Problems, address: str) -> None:
    assert problems(f"listen = '{address}'")[0].key == "listen"


def test_intervals_have_their_defaults(read: Read, good: str) -> None:
    automation = read(good).automations["main"]

    assert (automation.quiet_seconds, automation.max_wait_seconds) == (600, 3600)
    assert (automation.scan_seconds, automation.settle_seconds) == (120, 5)
    given = read(good + "max_wait = '1h30m'\nscan_interval = '7s'\nsettle = '0s'").automations["main"]
    assert (given.max_wait_seconds, given.scan_seconds, given.settle_seconds) == (5400, 7, 0)


def test_a_prompt_may_be_a_name_or_a_table(read: Read, good: str) -> None:
    assert read(good).automations["main"].prompt.prompt_id == "technical"
    assert read(good + "prompt = 'prompt_made_elsewhere'").automations["main"].prompt.settings is not None
    preset = read(good + "prompt = { video_segmentation_type = 'fixed', video_segment_duration = 9 }")
    assert preset.automations["main"].prompt.settings.video_segment_duration == 9
    assert (prompt_id("technical"), prompt_id("prompt_x")) == ("prompt_technical", "prompt_x")


ADMIN_KEY = "sk_live_" + "0123456789abcdef" * 3


def test_the_admin_key_comes_from_a_variable_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{ADMIN_KEY}\n")
    file.chmod(0o600)

    assert load(None, {"VVWATCH_ADMIN_KEY": ADMIN_KEY}).admin_key == Secret(ADMIN_KEY)
    config = load(None, {"VVWATCH_ADMIN_KEY_FILE": str(file)})
    assert config.admin_key == Secret(ADMIN_KEY)
    assert config.warnings == ()
    assert ADMIN_KEY not in repr(config)


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({"VVWATCH_ADMIN_KEY": "sk_live_ABC"}, "VVWATCH_ADMIN_KEY"),
        ({"VVWATCH_ADMIN_KEY": ADMIN_KEY, "VVWATCH_ADMIN_KEY_FILE": "/x"}, "VVWATCH_ADMIN_KEY"),
        ({"VVWATCH_ADMIN_KEY_FILE": "/no/such/file"}, "VVWATCH_ADMIN_KEY_FILE"),
    ],
)
def test_an_unusable_admin_key_is_a_problem_that_does_not_show_it(environ: dict[str, str], key: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load(None, environ)

    [problem] = caught.value.problems
    assert (problem.file, problem.key) == ("environment", key)
    assert "sk_live_ABC" not in str(problem)


def test_equal_configurations_are_equal(read: Read, good: str) -> None:
    assert read(good) == read(good)
    assert read(good) != read(good + "debounce = '1h'")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ('pattern = ["*.mp4", "*.mov"]', 'write "*.{mp4,mov}"'),
        ('pattern = ["a*", "b/**"]', 'write "{a*,b/**}"'),
        ("pattern = [1]", ""),
        ("pattern = []", ""),
    ],
)
def test_a_list_of_globs_is_answered_with_the_one_that_means_it(
    problems: Problems, line: str, hint: str
) -> None:
    [problem] = [each for each in problems(f"[automations.a]\n{line}\n") if each.key.endswith("pattern")]
    assert (problem.what, problem.hint) == ("must be one glob, not a list", hint)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ('[connectors.a]\ntype = "s3"\n', "secret_access_key"),
        ('[connectors.a]\ntype = "s3"\n', "session_token"),
        ('[connectors.a]\ntype = "azure"\n', "account_key"),
        ('[connectors.a]\ntype = "azure"\n', "client_secret"),
        ("[webhooks.a]\n", "secret"),
    ],
)
def test_a_secret_in_the_file_itself_is_told_where_to_go(problems: Problems, table: str, key: str) -> None:
    found = {each.key.rpartition(".")[2]: each for each in problems(f'{table}{key} = "planted-secret"\n')}
    assert found[key].what == "is a secret, which must not be in this file"
    assert found[key].hint == f"write it to a file and name it with {key}_file"
    assert found[key].line is not None
    assert "planted" not in str(found)


@pytest.mark.parametrize(
    ("table", "hint"),
    [
        ('type = "s3"\nbucket = "s3://films/raw"', "leave out s3://"),
        ('type = "s3"\nbucket = "https://films.s3.amazonaws.com"', "leave out the address"),
        ('type = "s3"\nbucket = "arn:aws:s3:::films"', "the name behind :::"),
        ('type = "gcs"\nbucket = "gs://films"', "leave out gs://"),
        ('type = "azure"\ncontainer = "films/raw"', "leave out the path"),
        ('type = "azure"\nstorage_account = "films.blob.core.windows.net"', "from the first dot on"),
    ],
)
def test_an_address_in_place_of_a_name_says_what_to_leave_out(
    problems: Problems, table: str, hint: str
) -> None:
    found = [each.hint for each in problems(f"[connectors.a]\n{table}\n")]
    assert any(hint in each for each in found), found


def test_a_mistyped_table_has_its_line(problems: Problems) -> None:
    [problem] = problems('listen = "127.0.0.1:0"\n\n[automation.a]\nindex = "b"\n')
    assert (problem.key, problem.line) == ("automation", 3)
    assert problem.hint == "did you mean 'automations'?"
