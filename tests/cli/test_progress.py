"""How far long work is: a line every five seconds in a log, bars for a person who watches."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import pytest
from tests.cli.commands import Terminal

from healthstore.cli.output import Manners, Output
from healthstore.cli.progress import progress
from healthstore.schema import PageTransformed
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


def test_the_check_of_a_file_tells_how_much_of_it_is_read() -> None:
    """The number of its rows is not known before its end."""
    seconds = iter(range(0, 100, 6))
    output = Output(Manners(), stdout=io.StringIO(), stderr=io.StringIO())
    with progress(output, clock=lambda: float(next(seconds))) as on_event:
        on_event(PageMoved(Stage.CHECK, "weights", 1_000, 64_000, 1_000, None, 0.25))
    assert isinstance(output.stderr, io.StringIO)
    assert "check weights: 1,000 rows, 25% of the file" in output.stderr.getvalue()


def test_a_function_of_a_migration_is_told_by_the_migration() -> None:
    """The rate is that of this call: what an earlier one had done was not done now."""
    seconds = iter(range(0, 100, 6))
    stderr, screen = io.StringIO(), Terminal()
    event = PageTransformed("0003_split", 2, "patients", 5_000, 8_000, 3_000, 4.0)
    with progress(Output(Manners(), stderr=stderr), lambda: float(next(seconds))) as on_event:
        on_event(event)
    assert stderr.getvalue() == "0003_split patients: 5,000 of 8,000 rows, 500 rows/s\n"
    with progress(Output(Manners(), stderr=screen), lambda: float(next(seconds))) as on_event:
        on_event(event)
    assert "0003_split patients" in screen.getvalue()
    assert "5000/8000" in screen.getvalue()


@pytest.mark.parametrize("width", [40, 60, 120])
def test_a_table_stays_readable_in_a_narrow_window(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """No name and no number is cut: where a table has no room each row is a block of lines."""
    monkeypatch.setenv("COLUMNS", str(width))
    screen = Terminal()
    output = Output(Manners(no_color=True), stdout=screen)
    columns = ("collection", "rows in A ", "rows in B ", "missing ", "extra ", "changed ", "")
    output.table(columns, [("health_records", "1,234,567", "1,234,568", "0", "1", "0", "≠")])
    text = re.sub(r"\x1b\[\d*m", "", screen.getvalue())
    for word in ("health_records", "rows in A", "1,234,567", "1,234,568", "changed", "≠"):
        assert word in text
    assert max(map(len, text.splitlines())) <= width
    assert ("│" in text) == (width == 120)
