"""How far long work is: a line every five seconds in a log, bars for a person who watches."""

from __future__ import annotations

import io
from collections.abc import Iterator

from tests.cli.commands import Terminal

from healthstore.cli.output import Manners, Output
from healthstore.cli.progress import progress
from healthstore.transfer import CollectionStarted, PageMoved, Stage


def transfer(rows: int) -> Iterator[CollectionStarted | PageMoved]:
    """Yield the events of a collection whose pages take a second each."""
    yield CollectionStarted(Stage.COPY, "weights", rows)
    for done in range(1_000, rows + 1, 1_000):
        yield PageMoved(Stage.COPY, "weights", 1_000, 64_000, done, rows)


def said(stderr: io.StringIO, manners: Manners, rows: int) -> str:
    """Return what is written about a transfer, of which each event takes a second."""
    seconds = iter(range(10_000))
    output = Output(manners, stdout=io.StringIO(), stderr=stderr)
    with progress(output, clock=lambda: float(next(seconds))) as on_event:
        for event in transfer(rows):
            on_event(event)
    return stderr.getvalue()


def test_a_log_gets_a_line_every_five_seconds() -> None:
    """Where nobody watches there is a line with the number and the rate, not more often."""
    lines = said(io.StringIO(), Manners(), 12_000).splitlines()
    assert lines == [
        "copy weights: 4,000 of 12,000 rows, 1,000 rows/s",
        "copy weights: 9,000 of 12,000 rows, 1,000 rows/s",
    ]


def test_short_work_is_silent() -> None:
    """Work of less than five seconds leaves no line."""
    assert said(io.StringIO(), Manners(), 2_000) == ""


def test_quiet_leaves_no_line() -> None:
    """``--quiet`` shows no progress, in a log or on a terminal."""
    assert said(io.StringIO(), Manners(quiet=True), 50_000) == ""
    assert said(Terminal(), Manners(quiet=True), 50_000) == ""


def test_a_terminal_gets_a_bar() -> None:
    """Where a person watches a bar names the stage, the collection and the numbers."""
    text = said(Terminal(), Manners(), 3_000)
    assert "copy weights" in text
    assert "3000/3000" in text


def test_a_bar_has_no_colour_unless_wanted() -> None:
    """``--no-color`` leaves no colour in a bar."""
    assert "\x1b[3" not in said(Terminal(), Manners(no_color=True), 3_000)
