"""Shows the progress of `vvwatch dev` as lines, as JSON lines or as a live view."""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from vvwatch.cli.dev_config import DevSession
from vvwatch.cli.dev_plain import format_event, format_labelled, format_summary, local_path, read_answers
from vvwatch.cli.dev_story import DevState, Fields, apply_event
from vvwatch.cli.output import is_coloured, to_json
from vvwatch.core.durations import parse_duration
from vvwatch.core.events import to_iso
from vvwatch.core.windows import default_max_wait
from vvwatch.errors import Problem


class PlainOutput:
    """Writes one line an event."""

    def __init__(
        self, trial: DevSession, *, once: bool = False, now: Callable[[], float] = time.time
    ) -> None:
        self.story = DevState()
        self._once = once
        self._trial = trial
        self._now = now
        self._lock = threading.Lock()

    def begin(self, warnings: Iterable[Problem]) -> None:
        """Announce what will happen."""
        pattern = "" if self._trial.pattern == "*" else f" ({self._trial.pattern})"
        self._say(format_labelled("watching", f"{self._trial.folder}{pattern}"))
        if self._trial.answering:
            self._say(format_labelled("asking", self._trial.answering.who))
        self._say(format_labelled("exports", f"go to {self._trial.exports}"))
        self._say(format_labelled("log", str(self._trial.log_file)))
        self._say(
            format_labelled("look", f"vvwatch status --state-dir {shlex.quote(str(self._trial.state_dir))}")
        )
        for warning in warnings:
            self._say(format_labelled("warning", str(warning)))

    def note(self, words: str, label: str = "demo") -> None:
        """Write a remark that is not an event."""
        self._say(format_labelled(label, words))

    def announce(self, text: str) -> None:
        """Announce that the daemon is ready."""
        self._say(text)

    def show_link(self, url: str) -> None:
        """Show the link that opens the dashboard."""
        self._say(format_labelled("open", url))

    def observe(self, event: str, fields: Fields) -> None:
        """Apply and show an event of the daemon; thread-safe. A missing reader raises nothing."""
        with self._lock:
            at, before = self._now(), self.story
            self.story = apply_event(before, event, fields, at)
            if event != "run.item_waits" or self.story.waiting != before.waiting:
                self._tell(event, fields, at)

    def open_view(self) -> AbstractContextManager[None]:
        """Return the context in which events are observed."""
        return nullcontext()

    def end(self) -> None:
        """Write the summary."""
        self._say_answers()
        for text in format_summary(self.story):
            self._say(text)

    def _say_answers(self) -> None:
        if self._trial.answering:
            for text in read_answers(Path(local_path(made.uri)) for made in self.story.artefacts):
                self._say(text)

    def _tell(self, event: str, fields: Fields, at: float) -> None:
        words = format_event(event, fields, at)
        is_planned_end = self._once and event == "daemon.draining"
        if words is not None and not is_planned_end:
            self._say(words)

    def _say(self, text: str) -> None:
        try:
            click.echo(text)
        except OSError:
            # The reader has left: nothing more is written, and the work continues.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.close(nowhere)


class JsonOutput(PlainOutput):
    """Writes one JSON object an event: `event`, `at` and the event's own fields; the last one is `dev.finished`."""

    def begin(self, warnings: Iterable[Problem]) -> None:
        """Write the event `dev.started`: folders, log, warnings of the configuration."""
        trial = self._trial
        folders = {"folder": trial.folder, "exports": trial.exports, "state_dir": trial.state_dir}
        self._print("dev.started", **folders, log=trial.log_file, warnings=list(map(str, warnings)))

    def note(self, words: str, label: str = "demo") -> None:  # noqa: ARG002  # as its parent
        """Write the event `dev.noted`."""
        self._print("dev.noted", message=words)

    def announce(self, text: str) -> None:
        """Write the event `dev.ready`."""
        self._print("dev.ready", message=text, address=text.rpartition(" ")[2])

    def show_link(self, url: str) -> None:
        """Write the event `dev.dashboard`."""
        self._print("dev.dashboard", url=url)

    def end(self) -> None:
        """Write the event `dev.finished` with counts, troubles and exports."""
        story = self.story
        counts = {
            name: getattr(story, name) for name in ("accepted", "imported", "failed", "skipped", "exported")
        }
        troubles = [asdict(each) for each in story.troubles]
        exports = [asdict(each) for each in story.artefacts]
        self._print("dev.finished", **counts, troubles=troubles, exports=exports)

    def _tell(self, event: str, fields: Fields, at: float) -> None:  # noqa: ARG002  # as its parent
        self._print(event, **fields)

    def _print(self, event: str, **fields: Any) -> None:
        document = {"event": event, "at": to_iso(self._now()), **fields}
        self._say(to_json(document))


class LiveOutput(PlainOutput):
    """Draws a block on the terminal, a few times a second."""

    def announce(self, text: str) -> None:
        """Do nothing: the view shows the address."""

    def show_link(self, url: str) -> None:
        """Show the link in place of the address."""
        with self._lock:
            self.story = replace(self.story, address=url)

    def begin(self, warnings: Iterable[Problem]) -> None:
        """Write only the warnings of the configuration: the view shows the rest."""
        for warning in warnings:
            self._say(format_labelled("warning", str(warning)))

    def end(self) -> None:
        """Write the counts, and failures and exports if the view had no room for all of them."""
        from vvwatch.cli.dev_live import MOST_ARTEFACTS, MOST_TROUBLES  # noqa: PLC0415  # as below

        self._say_answers()
        story, summary = self.story, list(format_summary(self.story))
        whole = len(story.troubles) > MOST_TROUBLES or len(story.artefacts) > MOST_ARTEFACTS
        for text in summary if whole else summary[-1:]:
            self._say(text)

    @contextmanager
    def open_view(self) -> Iterator[None]:
        """Draw until the block ends."""
        # Here, because it takes a tenth of a second to import and only terminals need it.
        from vvwatch.cli.dev_live import ViewContext, open_console, render_view, show_live  # noqa: PLC0415

        trial, quiet = self._trial, parse_duration(self._trial.debounce)
        scene = ViewContext(
            trial.folder, trial.pattern, trial.exports, trial.state_dir, quiet, default_max_wait(quiet)
        )
        with show_live(
            lambda rows: render_view(self.story, scene, self._now(), rows), open_console(is_coloured())
        ):
            yield

    def _tell(self, event: str, fields: Fields, at: float) -> None:
        """Do nothing: the view draws the state."""


def choose_output(trial: DevSession, *, once: bool, for_programs: bool, on_terminal: bool) -> PlainOutput:
    """Return the output that suits the reader."""
    kind = JsonOutput if for_programs else LiveOutput if on_terminal else PlainOutput
    return kind(trial, once=once)
