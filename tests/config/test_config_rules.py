from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vvwatch.config import Config, Problem, prompt_id, rules
from vvwatch.core.networks import PRIVATE

Read = Callable[..., Config]
Problems = Callable[..., list[Problem]]


def keys(found: list[Problem]) -> list[str]:
    return [problem.key for problem in found]


def test_a_good_configuration_has_nothing_against_it(read: Read, good: str) -> None:
    assert read(good).warnings == ()


def test_bounds_of_the_size_have_an_order(good: str, problems: Problems) -> None:
    text = good.replace("[automations.", "[automations.", 1)
    name = text.split("[automations.")[1].split("]")[0]
    bounds = f"[automations.{name}]\nmin_size_bytes = 5\nmax_size_bytes = 4\n"
    [problem] = problems(text.replace(f"[automations.{name}]\n", bounds, 1))
    assert problem.key == f"automations.{name}.min_size_bytes"
    assert "no object" in problem.what


@pytest.mark.parametrize("name", ["min_size_bytes", "max_size_bytes", "max_list_calls_per_hour"])
def test_a_number_that_no_database_holds_is_refused(good: str, problems: Problems, name: str) -> None:
    table = f"[automations.{good.split('[automations.')[1].split(']', maxsplit=1)[0]}]\n"
    [problem] = problems(good.replace(table, f"{table}{name} = {2**63}\n", 1))
    assert (problem.key.rpartition(".")[2], problem.what) == (name, "is too large")
    assert problems(good.replace(table, f"{table}{name} = {2**63 - 1}\n", 1)) == []


@pytest.mark.parametrize(("pattern", "hint"), [("proxies/", "'proxies/**'"), ("[", "{a,b}")])
def test_a_pattern_that_excludes_nothing_is_refused(
    good: str, problems: Problems, pattern: str, hint: str
) -> None:
    name = good.split("[automations.")[1].split("]", maxsplit=1)[0]
    excluded = f'[automations.{name}]\nexclude = ["a*", "{pattern}"]\n'
    [problem] = problems(good.replace(f"[automations.{name}]\n", excluded, 1))
    assert problem.key.startswith(f"automations.{name}.exclude")
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('path_fields = "{show}{x}.mxf"', "nothing is between two fields"),
        ('path_fields = "plain.mxf"', "names no field"),
        ('facts = ["tags"]', "is not one of them"),
    ],
)
def test_what_is_read_about_files_is_checked(good: str, problems: Problems, line: str, says: str) -> None:
    name = good.split("[automations.")[1].split("]", maxsplit=1)[0]
    [problem] = problems(good.replace(f"[automations.{name}]\n", f"[automations.{name}]\n{line}\n", 1))
    assert says in problem.what


def test_a_connector_lies_below_a_root(problems: Problems, media: Path) -> None:
    text = f'[local]\nroots = ["{media}/incoming"]\n[connectors.a]\ntype = "local"\npath = '

    assert problems(f'{text}"{media}/incoming"') == []
    [problem] = problems(f'{text}"{media}/incoming2"')
    assert (problem.line, problem.key, problem.allowed) == (5, "connectors.a.path", f"below {media}/incoming")


def test_a_connector_cannot_leave_its_root_by_a_link_or_by_dots(problems: Problems, media: Path) -> None:
    (media / "incoming/link").symlink_to("/etc")
    text = f'[local]\nroots = ["{media}/incoming"]\n[connectors.a]\ntype = "local"\npath = "{media}/incoming'

    assert keys(problems(f'{text}/link"')) == ["connectors.a.path"]
    assert keys(problems(f'{text}/../results"')) == ["connectors.a.path"]


def test_without_roots_there_are_no_local_connectors(problems: Problems, media: Path) -> None:
    [problem] = problems(f'[connectors.a]\ntype = "local"\npath = "{media}"')

    assert problem.hint == f'write [local] roots = ["{media}"]'


def test_a_folder_that_is_not_there_yet_is_a_warning_and_a_file_a_problem(
    read: Read, problems: Problems, media: Path
) -> None:
    text = f'[local]\nroots = ["{media}"]\n[connectors.a]\ntype = "local"\npath = "{media}/later"'

    [warning] = read(text).warnings
    assert (warning.line, warning.hint) == (5, "it is watched as soon as it appears")
    (media / "later").touch()
    assert problems(text)[0].what.endswith("is a file, not a folder")


def test_a_root_that_is_not_there_yet_is_a_warning_and_a_file_a_problem(
    read: Read, problems: Problems, media: Path
) -> None:
    text = f'[local]\nroots = ["{media}", "{media}/later"]'

    [warning] = read(text).warnings
    assert (warning.line, warning.key) == (2, "local.roots[1]")
    assert warning.what == f"there is no folder '{media}/later' yet"
    (media / "later").touch()
    assert problems(text)[0].what.endswith("is a file, not a folder")


@pytest.mark.parametrize("name", ["Upper", "with space", "-dash", "ä", "x" * 64, "\\n"])
def test_names_are_plain(problems: Problems, name: str) -> None:
    [problem] = problems(f'[indexes."{name}"]')

    assert problem.line == 1
    assert problem.what.endswith("cannot be a name")


def test_names_may_have_digits_dashes_and_underscores(problems: Problems) -> None:
    assert problems(f"[indexes.0]\n[indexes.a-b_c]\n[indexes.{'x' * 63}]") == []


def test_an_unknown_name_is_told_with_the_one_that_was_meant(problems: Problems, good: str) -> None:
    [problem] = problems(good.replace('connector = "incoming"', 'connector = "incomming"'))

    assert str(problem).endswith(
        "automations.main.connector: there is no [connectors.incomming] "
        "(allowed: incoming, results) — did you mean 'incoming'?"
    )


def test_a_name_that_is_declared_badly_is_not_unknown(problems: Problems, good: str) -> None:
    assert keys(problems(good.replace('path = "', 'path = "x'))) == [
        "connectors.incoming.path",
        "connectors.results.path",
    ]


def test_watching_needs_the_scope_import_and_exporting_the_scope_export(
    problems: Problems, good: str
) -> None:
    [problem] = problems(good.replace('connector = "incoming"', 'connector = "results"'))
    assert problem.hint == 'add "import" to the scopes of [connectors.results]'
    [problem] = problems(good + 'export = { connector = "incoming" }')
    assert (problem.key, problem.line) == ("automations.main.export.connector", 14)
    assert problem.hint == 'add "export" to the scopes of [connectors.incoming]'


def test_an_index_has_one_automation(problems: Problems, good: str) -> None:
    [problem] = problems(good + '[automations.two]\nindex = "main"\nconnector = "incoming"')

    assert (problem.line, problem.key) == (15, "automations.two.index")


def test_a_window_waits_at_least_as_long_as_it_debounces(problems: Problems, good: str) -> None:
    assert keys(problems(good + 'debounce = "1h"\nmax_wait = "59m"')) == ["automations.main.max_wait"]
    assert problems(good + 'debounce = "1h"\nmax_wait = "60m"') == []


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('pattern = "[a"', "pattern"),
        ('pattern = ""', "pattern"),
        ('prefix = "/incoming"', "prefix"),
        ('prefix = "a/../b"', "prefix"),
        ('debounce = "soon"', "debounce"),
        ('debounce = "0.9s"', "debounce"),
        ('max_wait = "0s"', "max_wait"),
        ('scan_interval = "0.5s"', "scan_interval"),
        ('settle = "-1s"', "settle"),
        ("max_objects = 0", "max_objects"),
        ('prompt = ""', "prompt.prompt_id"),
        ('export = { connector = "results", subpath = "../x" }', "export.subpath"),
        ('export = { connector = "results", subpath = "/x" }', "export.subpath"),
        ("prompt = { video_segment_duration = 301 }", "prompt.video_segment_duration"),
        ('prompt = { video_segmentation_type = "shots" }', "prompt.video_segmentation_type"),
    ],
)
def test_what_an_automation_cannot_use_is_a_problem(
    problems: Problems, good: str, line: str, key: str
) -> None:
    [problem] = problems(good + line)

    assert (problem.line, problem.key) == (14, f"automations.main.{key}")


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ('formats = ["doc"]', "formats"),
        ("formats = []", "formats"),
        ('name = "../{export}.{ext}"', "name"),
        ('name = "{export}"', "name"),
        ('files = "all"', "files"),
        ("sidecars = true", "sidecars"),
    ],
)
def test_an_export_can_be_laid_out_like_that(problems: Problems, good: str, options: str, key: str) -> None:
    text = good + f'export = {{ connector = "results", {options} }}'
    assert keys(problems(text)) == [f"automations.main.export.{key}"]


def test_formats_are_named_with_their_choices(problems: Problems, good: str) -> None:
    [problem] = problems(good + 'export = { connector = "results", formats = ["csv", "doc"] }')
    assert problem.hint.startswith("the formats are json, jsonl, csv, parquet")


def test_an_export_base_path_stays_below_its_connector(problems: Problems, good: str) -> None:
    text = good.replace('scopes = ["export"]', 'scopes = ["export"]\nexport_base_path = "../up"')

    assert keys(problems(text)) == ["connectors.results.export_base_path"]


def test_export_into_source_is_allowed_and_told(read: Read, good: str) -> None:
    text = good.replace("[connectors.results]", 'scopes = ["import", "export"]\n[connectors.results]')

    [warning] = read(text + 'export = { connector = "incoming", subpath = "out" }').warnings
    assert (warning.line, warning.key) == (15, "automations.main.export")
    text += 'prefix = "clips/"\nexport = { connector = "incoming", subpath = "out" }'
    assert read(text).warnings == ()


def test_state_among_media_is_a_warning(read: Read, good: str, media: Path) -> None:
    [warning] = read(good, {"VVWATCH_STATE_DIR": f"{media}/state"}).warnings

    assert (warning.file, warning.key) == ("environment", "VVWATCH_STATE_DIR")


def test_tls_needs_a_certificate_and_its_key(problems: Problems, tmp_path: Path) -> None:
    (tmp_path / "tls.pem").touch(0o600)
    there, nowhere = f'"{tmp_path}/tls.pem"', f'"{tmp_path}/none.pem"'
    assert problems(f"[api]\ntls_certificate = {there}\ntls_key = {there}\n") == []
    [missing] = problems(f"[api]\ntls_certificate = {there}\n")
    assert "tls_key is missing" in str(missing)
    [absent] = problems(f"[api]\ntls_certificate = {there}\ntls_key = {nowhere}\n")
    assert (absent.key, "there is no file" in str(absent)) == ("api.tls_key", True)


def test_with_tls_other_machines_may_reach_it(read: Read, tmp_path: Path) -> None:
    pem = tmp_path / "tls.pem"
    pem.touch(0o600)
    files = "".join(f'{name} = "{pem}"\n' for name in ("tls_certificate", "tls_key"))
    assert len(read('listen = "0.0.0.0:8787"').warnings) == 1
    assert read(f'listen = "0.0.0.0:8787"\n[api]\n{files}').warnings == ()
    pem.chmod(0o644)
    [warning] = read(f'listen = "0.0.0.0:8787"\n[api]\n{files}').warnings
    assert (warning.key, warning.hint) == ("api.tls_key", f"chmod o-r {pem}")


def test_the_state_directory_is_not_a_file(problems: Problems, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert keys(problems(f"state_dir = '{tmp_path}/file'")) == ["state_dir"]


HOOK = '[webhooks.a]\nevents = ["export.ready"]\nsecret_env = "S"\nurl = '
SECRET = {"S": "0123456789abcdef"}


@pytest.mark.parametrize(
    ("url", "options", "refused"),
    [
        ("https://example.org/x?y=1", "", False),
        ("http://example.org/x", "", True),
        ("http://example.org/x", "allow_http = true", False),
        ("https://localhost/x", "", True),
        ("https://10.0.0.1/x", "", True),
        ("https://169.254.169.254/x", "", True),
        ("https://[::1]/x", "", True),
        ("https://[::ffff:127.0.0.1]/x", "", True),
        ("https://192.168.1.1/x", 'allow_networks = ["192.168.0.0/16"]', False),
        ("https://192.168.1.1/x", 'allow_networks = ["10.0.0.0/8"]', True),
        ("https://localhost/x", 'allow_networks = ["127.0.0.0/8"]', False),
        ("https://168.63.129.16/x", "", True),
        ("https://[64:ff9b::a9fe:a9fe]/x", "allow_private_addresses = true", True),
        ("https://8.8.8.8/x", "", False),
        ("ftp://example.org", "", True),
        ("example.org", "", True),
        ("https://", "", True),
        ("https://example.org:port/", "", True),
        ("https://exa mple.org/", "", True),
    ],
)
def test_a_webhook_leads_where_it_may(problems: Problems, url: str, options: str, refused: bool) -> None:
    found = problems(f"[webhooks]\n{options}\n{HOOK}'{url}'", SECRET)

    assert keys(found) == ["webhooks.a.url"] * refused


@pytest.mark.parametrize("table", ["webhooks", "attachments"])
@pytest.mark.parametrize("network", ["0.0.0.0/0", "169.254.169.254", "10.0.0.1/8", "intranet"])
def test_a_network_that_may_not_be_allowed_is_refused(problems: Problems, table: str, network: str) -> None:
    found = problems(f"[{table}]\nallow_networks = ['{network}']\n{HOOK}'https://10.0.0.1/x'", SECRET)
    assert keys(found) == [f"{table}.allow_networks[0]", *["webhooks.a.url"] * (table == "attachments")]


def test_all_private_addresses_at_once_are_allowed_with_a_warning(read: Read) -> None:
    config = read(f"[webhooks]\nallow_private_addresses = true\n{HOOK}'https://10.0.0.1/x'", SECRET)
    assert config.webhooks.policy.allow_networks == PRIVATE
    assert config.attachments.policy.allow_networks == ()
    [warning] = config.warnings
    assert 'allow_networks = ["10.0.0.0/8"' in warning.hint


def test_a_webhook_without_events_hears_nothing_and_is_refused(problems: Problems) -> None:
    text = HOOK.replace('["export.ready"]', "[]") + '"https://example.org"'

    assert keys(problems(text, SECRET)) == ["webhooks.a.events"]


@pytest.mark.parametrize("value", ["2026-11-22", "07:32:00", "nan", "[{ at = 2026-11-22T07:32:00Z }]"])
def test_what_is_told_to_a_receiver_must_be_json(problems: Problems, value: str) -> None:
    found = problems(f"{HOOK}'https://example.org'\nmetadata = {{ team = 'a', more = {value} }}", SECRET)
    assert keys(found) == ["webhooks.a.metadata"]


def test_declared_webhooks_are_found_beside_the_options(read: Read) -> None:
    config = read(f"[webhooks]\ndisable_after = 3\n{HOOK}'https://example.org'", SECRET)

    assert list(config.webhooks.hooks) == ["a"]
    assert config.webhooks.delays_seconds == (30, 120, 600, 3600, 21600)


PROMPT = '[prompts.mine]\nprompt_text = "Find the shots."\n'
SCHEMA = {"type": "object", "properties": {"shots": {"type": "integer"}}}


def test_a_schema_may_stand_in_a_file(read: Read, tmp_path: Path) -> None:
    (tmp_path / "shots.json").write_text(json.dumps(SCHEMA))

    config = read(PROMPT + 'json_schema_file = "shots.json"')

    assert config.prompts["mine"].json_schema == SCHEMA


@pytest.mark.parametrize(
    ("line", "key", "what"),
    [
        ("", "json_schema", "is required"),
        ("json_schema = {}", "json_schema", "the root of a prompt's JSON Schema"),
        ('json_schema = { type = "object", required = 1 }', "json_schema", "not a JSON Schema: required: "),
        ('json_schema_file = "gone"', "json_schema_file", "cannot be used: No such file"),
        ('json_schema_file = "bad"', "json_schema_file", "cannot be used: it is not valid: "),
        ('json_schema_file = "list"', "json_schema", "must be a table"),
        ('json_schema_file = "bad"\njson_schema = {}', "json_schema_file", "stands beside json_schema"),
        ("json_schema_file = 1", "json_schema_file", "must be text"),
    ],
)
def test_an_unusable_schema_is_a_problem(
    problems: Problems, tmp_path: Path, line: str, key: str, what: str
) -> None:
    (tmp_path / "bad").write_text("{")
    (tmp_path / "list").write_text("[]")

    assert (f"prompts.mine.{key}", True) in [
        (problem.key, problem.what.startswith(what)) for problem in problems(PROMPT + line)
    ]


def test_the_video_level_has_its_own_schema(problems: Problems) -> None:
    text = PROMPT + 'json_schema = { type = "object" }\nvideo_level = { instructions_text = "Sum up", '

    assert problems(text + 'json_schema = { type = "object" } }') == []
    [problem] = problems(text + 'json_schema = { type = "array" } }')
    assert (problem.line, problem.key) == (4, "prompts.mine.video_level.json_schema")


def test_an_automation_may_use_a_declared_prompt(problems: Problems, good: str) -> None:
    text = f"{good}prompt = 'mine'\n{PROMPT}json_schema = {{ type = 'object' }}"

    assert problems(text) == []
    [problem] = problems(text.replace("'mine'", "'mime'"))
    assert (problem.allowed, problem.hint) == ("mine, technical", "did you mean 'mine'?")


def test_the_built_in_prompt_cannot_be_declared_again(problems: Problems) -> None:
    text = PROMPT.replace("mine", "technical") + "json_schema = { type = 'object' }"

    assert keys(problems(text)) == ["prompts.technical"]


@pytest.mark.parametrize("name", ["episode_extract", "prompt_episode_extract", "01HZX3Q7", "technical2"])
@pytest.mark.parametrize("prefix", ["", "prompt_"])
def test_a_prompt_is_named_freely_and_its_id_names_it_too(
    read: Read, good: str, name: str, prefix: str
) -> None:
    prompt = PROMPT.replace("mine", name) + "json_schema = { type = 'object' }\n"
    given = f"{prefix}{name.removeprefix('prompt_')}" if prefix else name

    config = read(good + f'prompt = "{given}"\n' + prompt)
    assert prompt_id(config.automations["main"].prompt.prompt_id) == prompt_id(next(iter(config.prompts)))
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (
            '{"type": "object", "properties": {' + ", ".join(f'"f{n}": {{}}' for n in range(30_000)) + "}}",
            "characters",
        ),
        ('{"type": "object", "not": ' * 200 + "{}" + "}" * 200, "levels"),
        ('{"type": "object", "not": ' * 50_000 + "{}" + "}" * 50_000, "it "),
        ("[" * 100_000, "is not valid"),
    ],
    ids=["300 kB", "200 levels", "over a megabyte", "no end"],
)
def test_a_schema_file_that_is_too_large_is_a_problem(
    problems: Problems, tmp_path: Path, content: str, what: str
) -> None:
    (tmp_path / "s.json").write_text(content)
    [problem] = problems(PROMPT + 'json_schema_file = "s.json"\n')

    assert problem.key == "prompts.mine.json_schema_file"
    assert what in problem.what


def test_two_prompts_cannot_have_one_id(problems: Problems) -> None:
    schema = "json_schema = { type = 'object' }\n"
    [problem] = problems(PROMPT + schema + PROMPT.replace("mine", "prompt_mine") + schema)

    assert problem.key == "prompts.prompt_mine"
    assert problem.what == "has the id prompt_mine, which [prompts.mine] has as well"


def test_an_id_that_is_nearly_one_of_the_file_is_a_warning(read: Read, good: str) -> None:
    text = good + 'prompt = "prompt_mime"\n' + PROMPT + "json_schema = { type = 'object' }\n"
    [warning] = read(text).warnings

    assert (warning.key, warning.hint) == ("automations.main.prompt.prompt_id", "did you mean 'prompt_mine'?")
    assert read(text.replace("prompt_mime", "prompt_01jzx3q7c8k2")).warnings == ()


def test_more_connections_than_open_files_allow_are_a_warning(
    good: str, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "most_open_files", lambda: 1024)
    [warning] = read(good).warnings
    assert (warning.key, warning.line) == ("api.max_connections", None)
    assert "only 256 of 1,000 connections" in warning.what
    assert "LimitNOFILE" in warning.hint
    assert read(f"{good}\n[api]\nmax_connections = 256\n").warnings == ()


@pytest.mark.parametrize("network", ["10.0.0.1/8", "proxy.example", "*", ""])
def test_what_is_no_network_of_proxies_is_refused(problems: Problems, network: str) -> None:
    [problem] = problems(f'[api]\ntrusted_proxies = ["{network}"]')
    assert (problem.key, problem.what) == ("api.trusted_proxies[0]", "is no network")


def test_less_room_for_uploads_than_one_file_may_have_is_a_warning(good: str, read: Read) -> None:
    [warning] = read(f"{good}\n[api]\nuploads_bytes = 1048576\n").warnings
    assert warning.key == "api.uploads_bytes"
    assert warning.hint == "raise it, or lower max_upload_bytes"
    both = "[api]\nuploads_bytes = 1048576\nmax_upload_bytes = 1048576\n"
    assert read(f"{good}\n{both}").warnings == ()
