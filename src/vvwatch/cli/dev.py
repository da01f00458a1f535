"""`vvwatch dev`: run the whole pipeline on a local folder and show it on the terminal."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import anyio
import click

from vvwatch.cli.commands import Command, json_option
from vvwatch.cli.dev_config import (
    DevSession,
    already_watched,
    build_config,
    forget_state,
    make_folder,
    plan_session,
)
from vvwatch.cli.dev_output import PlainOutput, choose_output
from vvwatch.cli.dev_processor import PromptOptions, prompt_options
from vvwatch.cli.dev_story import has_failures
from vvwatch.cli.failures import USAGE, Failure
from vvwatch.cli.local_daemon import note_watched
from vvwatch.cli.output import is_terminal
from vvwatch.config import Config
from vvwatch.errors import StoreLocked
from vvwatch.processors.sandbox import hide_memory

_DEMO_FOLDER: Final = "vvwatch-demo"
_FORGOTTEN: Final = "your files and exports stay; what is there is imported again, under new ids"


@click.command(
    cls=Command,
    examples=(
        ("vvwatch dev --demo --once", "make sample clips and see the whole way"),
        ("vvwatch dev ./incoming", "watch a folder; exports go to ./incoming-exports"),
        (
            "vvwatch dev ./incoming --pattern '*.{mp4,mov}' --debounce 30s",
            "only videos, half a minute of quiet",
        ),
        (
            "vvwatch dev ./incoming --model qwen3-vl:4b-instruct",
            "have a model of Ollama describe what is shown",
        ),
        ("vvwatch dev ./incoming --fresh", "forget what was done there, and do it again"),
        ("vvwatch dev ./incoming --once --export-to ./out", "do what is there, then end"),
    ),
)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--pattern", default="*", show_default=True, metavar="GLOB", help="Which files to pick up.")
@click.option(
    "--debounce", default="3s", show_default=True, metavar="TIME", help="The quiet time that closes a window."
)
@click.option(
    "--export-to", "exports", metavar="DIR", type=click.Path(), help="Where exports go.  [FOLDER-exports]"
)
@click.option("--once", is_flag=True, help="End when everything that is there is done.")
@click.option("--fresh", is_flag=True, help="Forget what was done here before, and do it again.")
@click.option("--demo", is_flag=True, help="Put sample clips into FOLDER first.  [./vvwatch-demo]")
@click.option(
    "--listen", default="127.0.0.1:0", metavar="ADDRESS", help="Where the API answers.  [a free port]"
)
@prompt_options
@json_option
@click.pass_context
def dev(
    ctx: click.Context,
    folder: Path | None,
    pattern: str,
    debounce: str,
    exports: str | None,
    listen: str,
    *,
    answering: PromptOptions | None,
    once: bool,
    fresh: bool,
    demo: bool,
    as_json: bool,
) -> None:
    """Watch FOLDER and run the whole pipeline: import, process, export. Needs no configuration.

    A second start on the same folder continues where the first one stopped. With --once the exit code is 1 if a file
    or an export failed (except the demo's truncated clip).

    Without --model or --program vvwatch measures each file; with one of them that answers a prompt about it.
    """
    hide_memory()
    if folder is None and not demo:
        raise Failure("which folder?", "vvwatch dev FOLDER, or vvwatch dev --demo", exit_code=USAGE)
    folder = folder or Path(_DEMO_FOLDER)
    if demo:
        make_folder(folder)
    trial = plan_session(folder, exports, pattern, debounce, listen, os.environ, answering)
    output = choose_output(
        trial, once=once, for_programs=as_json, on_terminal=is_terminal(sys.stdout, os.environ)
    )
    if fresh and forget_state(trial):
        output.note(f"forgot what was done here: {trial.state_dir} is new; {_FORGOTTEN}", "fresh")
    ctx.exit(_run_daemon(trial, output, once=once, demo=demo))


def _run_daemon(trial: DevSession, output: PlainOutput, *, once: bool, demo: bool) -> int:
    config = build_config(trial, os.environ)
    output.begin(config.warnings)
    if demo:
        _make_clips(trial.folder, output)
    with _redirect_stderr(trial.log_file), output.open_view():
        # Here, because it takes a second to import: whatever is wrong with the options was said before.
        from vvwatch.daemon import ServeOptions, serve  # noqa: PLC0415

        options = ServeOptions(
            os.environ,
            once=once,
            resumes=True,
            announce=output.announce,
            show_link=None if once else output.show_link,
            observe=output.observe,
            reload=functools.partial(_stop_on_hangup, config),
        )
        note_watched(trial.state_dir, trial.folder)
        try:
            code = anyio.run(serve, config, options, backend_options={"loop_factory": options.watch.loop})
        except* StoreLocked:
            raise already_watched(trial) from None
    output.end()
    is_bad = has_failures(output.story, even_in_part=trial.answering is not None)
    failed = is_bad if once and not demo else output.story.exports_failed > 0
    return code or int(failed)


def _stop_on_hangup(config: Config) -> Config:
    """Stop: there is no file to reload, and SIGHUP means that the terminal was closed."""
    os.kill(os.getpid(), signal.SIGTERM)
    return config


def _make_clips(folder: Path, output: PlainOutput) -> None:
    from vvwatch.processors.media.sample_clips import make_demo_clips  # noqa: PLC0415  # as above

    output.note(f"making sample clips in {folder}")
    made = make_demo_clips(folder)
    output.note(f"{', '.join(path.name for path in made)}")


@contextmanager
def _redirect_stderr(file: Path) -> Iterator[None]:
    """Redirect stderr, of child processes too, to `file`: the terminal shows the progress."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        hint = "set XDG_STATE_HOME to a folder that may be written to"
        raise Failure(f"cannot keep state: {error.strerror}", hint, where=str(file.parent)) from error
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(log, 2)
    os.close(log)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
