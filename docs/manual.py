"""Make man pages and shell completions in `share`: `python docs/manual.py` says what differs, `--write` saves it.

vvwatch(1) is made of the commands and of the exit codes in docs/running.md, vvwatch.toml(5) of config/vvwatch.toml.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from vvwatch.cli.commands import Command
from vvwatch.cli.completion import write_completion
from vvwatch.cli.root import vvwatch

ROOT: Final = Path(__file__).parents[1]
SHARE: Final = ROOT / "share"
SAMPLE: Final = ROOT / "config" / "vvwatch.toml"
EXIT_CODES: Final = re.compile(r"^\| (\d+) \| (.*) \|$", re.MULTILINE)
OPTION: Final = re.compile(r"#?([A-Za-z_][\w.-]*) = (.*)")
TABLE: Final = re.compile(r"#?(\[+[\w.\"-]+\]+)")
COMPLETIONS: Final = {
    "bash": "bash-completion/completions/vvwatch",
    "zsh": "zsh/site-functions/_vvwatch",
    "fish": "fish/vendor_completions.d/vvwatch.fish",
}
ENVIRONMENT: Final = {
    "VVWATCH_CONFIG": "The configuration file.",
    "VVWATCH_STATE_DIR": "The state directory.",
    "VVWATCH_LISTEN": "Where the API of the daemon answers.",
    "VVWATCH_DATABASE_URL": "The database; VVWATCH_DATABASE_URL_FILE names a file that holds its address.",
    "VVWATCH_LOG_FORMAT": "auto, console, journal or json.",
    "VVWATCH_LOG_LEVEL": "debug, info, warning or error.",
    "VVWATCH_ADMIN_KEY": "The first API key of the daemon; VVWATCH_ADMIN_KEY_FILE names a file that holds it.",
    "VVWATCH_SECRET_KEY": "The key that seals secrets; VVWATCH_SECRET_KEY_FILE names a file that holds it.",
    "VVWATCH_URL": "The address of a daemon elsewhere, for commands.",
    "VVWATCH_API_KEY": "The API key that commands send; VVWATCH_API_KEY_FILE names a file that holds it.",
    "NO_COLOR": "No colours, if it is not empty. FORCE_COLOR: colours also in pipes.",
    "COLUMNS": "How wide tables may be. Default: the terminal; pipes have no limit.",
}


def escape(text: str) -> str:
    """Return `text` for roff."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    lines = (f"\\&{line}" if line.startswith(".") else line for line in plain.splitlines())
    return "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in "\n".join(lines))


def bold(text: str) -> str:
    """Return `text` in bold, with what is between backticks."""
    return f"\\fB{escape(text)}\\fR"


def paragraphs(text: str) -> Iterator[str]:
    """Return the paragraphs of a help text."""
    for position, each in enumerate(re.split(r"\n\s*\n", textwrap.dedent(text).strip())):
        yield from ([".PP"] if position else [])
        yield escape(" ".join(each.split()))


def examples(command: click.Command) -> Iterator[str]:
    """Return the examples of a command."""
    if not isinstance(command, Command) or not command.examples:
        return
    yield ".PP\n.nf\n.RS 4"
    for typed, does in command.examples:
        yield f"# {escape(does)}\n{escape(typed)}"
    yield ".RE\n.fi"


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """Return the options of a command; those of every command are left out."""
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record and parameter.name != "help":
            yield f".TP\n{bold(record[0])}\n{escape(' '.join(record[1].split()))}"


def commands(
    command: click.Command, parent: click.Context | None, name: str
) -> Iterator[tuple[str, click.Context]]:
    """Return the command and its subcommands with their whole names."""
    context = click.Context(command, info_name=name, parent=parent)
    yield context.command_path, context
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            if found := command.get_command(context, each):
                yield from commands(found, context, each)


def write_command(context: click.Context) -> Iterator[str]:
    """Return the section of one command."""
    usage = " ".join(context.command.collect_usage_pieces(context))
    yield f".SS {escape(f'{context.command_path} {usage}'.strip())}"
    yield from paragraphs(context.command.help or "")
    yield from options(context.command, context)
    yield from examples(context.command)


def write_commands_page() -> Iterator[str]:
    """Return vvwatch(1)."""
    (_, root), *others = commands(vvwatch, None, "vvwatch")
    yield '.TH VVWATCH 1 "" "vvwatch" "User Commands"'
    yield ".SH NAME\nvvwatch \\- folder watcher for object storage"
    yield ".SH SYNOPSIS\n\\fBvvwatch\\fR [\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]"
    yield ".SH DESCRIPTION"
    yield from paragraphs(vvwatch.help or "")
    yield from examples(vvwatch)
    yield ".SH OPTIONS"
    yield from options(vvwatch, root)
    yield ".SH COMMANDS"
    for _, context in others:
        yield from write_command(context)
    yield ".SH ENVIRONMENT"
    yield from (f".TP\n{bold(name)}\n{escape(what)}" for name, what in ENVIRONMENT.items())
    yield ".SH EXIT STATUS"
    codes = EXIT_CODES.findall((ROOT / "docs" / "running.md").read_text("utf-8"))
    yield from (f".TP\n{bold(code)}\n{escape(what.replace('`', ''))}" for code, what in codes)
    yield ".SH FILES"
    yield f".TP\n{bold('~/.local/state/vvwatch')}\nThe state directory of a user\\(aqs daemon."
    yield f".TP\n{bold('/etc/vvwatch/vvwatch.toml')}, {bold('/var/lib/vvwatch')}\nThose of the systemd service."
    yield ".SH SEE ALSO\n\\fBvvwatch.toml\\fR(5)"


def write_configuration_page() -> Iterator[str]:
    """Return vvwatch.toml(5): the tables of the sample, each key with its default and its comment."""
    head, *rest = SAMPLE.read_text("utf-8").split("\n\n")
    yield '.TH VVWATCH.TOML 5 "" "vvwatch" "File Formats"'
    yield ".SH NAME\nvvwatch.toml \\- configuration of vvwatch"
    yield ".SH DESCRIPTION"
    lines = [line.removeprefix("#").strip() for line in head.splitlines()[1:]]
    yield from paragraphs("\n".join(lines))
    yield ".PP\nA value after a key is its default, or an example where there is none.\n.SH OPTIONS"
    words: list[str] = []
    for line in "\n\n".join(rest).splitlines():
        if table := TABLE.fullmatch(line):
            yield f".SS {escape(table[1])}"
            yield from ([escape(" ".join(words))] if words else [])
        elif option := OPTION.fullmatch(line):
            yield f".TP\n{bold(option[1])} = {escape(option[2])}"
            yield from ([escape(" ".join(words))] if words else [])
        elif line.startswith("# "):
            words.append(line.removeprefix("# "))
            continue
        words = []
    yield ".SH SEE ALSO\n\\fBvvwatch\\fR(1)"


def write_all() -> dict[Path, str]:
    """Return every file and its text."""
    pages = {
        "man/man1/vvwatch.1": "\n".join(write_commands_page()) + "\n",
        "man/man5/vvwatch.toml.5": "\n".join(write_configuration_page()) + "\n",
    }
    pages |= {name: write_completion(vvwatch, shell) for shell, name in COMPLETIONS.items()}
    return {SHARE / name: text for name, text in pages.items()}


if __name__ == "__main__":
    differing = {
        path: text
        for path, text in write_all().items()
        if not path.exists() or path.read_text("utf-8") != text
    }
    for path, text in differing.items():
        if "--write" in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    sys.exit(bool(differing) and "--write" not in sys.argv)
