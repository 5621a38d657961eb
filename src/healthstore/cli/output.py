"""What a command writes: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from healthstore.cli.exits import Exit
from healthstore.cli.failures import CommandError, Failure

__all__ = ("Manners", "Output", "events_unlogged")

_BROKEN = 20  # columns of the window that a broken cell needs


@dataclass(frozen=True, slots=True)
class Manners:
    """How the user wants to be spoken to; each command has these options."""

    json: bool = False
    quiet: bool = False
    no_color: bool = False


class Output:
    """The two streams of a command.

    With ``json`` nothing but one object goes to standard output; with ``quiet`` neither results
    nor progress are shown, only errors (and the object of ``json``).
    """

    def __init__(
        self, manners: Manners, stdout: TextIO | None = None, stderr: TextIO | None = None
    ) -> None:
        self.manners = manners
        # A stream that was closed before the start is None.
        self.stdout = stdout or sys.stdout or _nowhere()
        self.stderr = stderr or sys.stderr or _nowhere()
        # https://no-color.org: any value but the empty one.
        self.plain = manners.no_color or bool(os.environ.get("NO_COLOR"))
        self.gone = False
        """Nobody reads standard output any more: what goes on without end may stop."""
        self._silent = manners.json or manners.quiet

    @property
    def interactive(self) -> bool:
        """Whether somebody watches standard error and wants to."""
        return self.stderr.isatty() and not self.manners.quiet

    def show(self, text: str = "") -> None:
        """Write a part of the result for people."""
        if not self._silent:
            with self._reported():
                print(text, file=self.stdout, flush=True)

    def note(self, text: str) -> None:
        """Write a line about the work."""
        if not self.manners.quiet:
            print(text, file=self.stderr, flush=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
        """Write a table; columns whose name ends in a space are for numbers.

        Where the window is too narrow for it, each row is a block of lines.
        """
        if self._silent:
            return
        from rich.console import Console  # noqa: PLC0415 - slow to import, needed only here
        from rich.table import Table  # noqa: PLC0415 - as above
        from rich.text import Text  # noqa: PLC0415 - as above

        rows = list(rows)
        width = None if self.stdout.isatty() else 120
        console = Console(file=self.stdout, no_color=self.plain, width=width, highlight=False)
        if _least(columns, rows) > console.width:
            for line in _blocks(columns, rows, title):
                self.show(line)
            return
        table = Table(title=Text(title) if title else None, title_justify="left")
        for column in columns:
            table.add_column(
                Text(column.strip()), justify="right" if column.endswith(" ") else "left"
            )
        for row in rows:
            table.add_row(*map(Text, row))  # as text: brackets in a name are no markup
        with self._reported():
            console.print(table)

    def result(self, data: Mapping[str, object]) -> None:
        """Write the one object of ``--json``."""
        if self.manners.json:
            with self._reported():
                print(
                    json.dumps(data, ensure_ascii=False, default=str), file=self.stdout, flush=True
                )

    @contextmanager
    def _reported(self) -> Generator[None, None, None]:
        """Say of a failed write that it was standard output's, and write nothing more there.

        A reader that has gone, as in ``… | head -1``, has what it wants: that is no failure.
        """
        try:
            yield
        except OSError as error:
            # What is still to be written vanishes: else Python itself fails on it at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())
            self.gone = True
            if isinstance(error, BrokenPipeError):
                return
            raise CommandError(
                Failure(
                    f"the result cannot be written: {os.strerror(error.errno or 0)}",
                    where="standard output",
                    hint="what the command did is done",
                    code="file",
                    exit=Exit.FAILURE,
                )
            ) from None

    def error(self, failure: Failure) -> None:
        """Write an error as one block."""
        block = [f"{self._red('error:')} {failure.message}"]
        parts = (("where", failure.where), ("hint", failure.hint), ("code", failure.code))
        block += [f"  {name}: {text}" for name, text in parts if text]
        print("\n".join(block), file=self.stderr, flush=True)

    def fail(self, failure: Failure) -> None:
        """Write an error as one block, and as the object of ``--json``."""
        self.error(failure)
        error = {
            "message": failure.message,
            "where": failure.where,
            "hint": failure.hint,
            "code": failure.code,
        }
        with suppress(CommandError):  # standard error has told it
            self.result({"ok": False, "exit": int(failure.exit), "error": error})

    def log(self) -> None:
        """Send the library's warnings to standard error, without tracebacks: they hold values."""
        handler = logging.StreamHandler(self.stderr)
        handler.setFormatter(_brief())
        # A command moves whole stores: that its operations take long is no news.
        handler.addFilter(lambda record: record.name != "healthstore.slow")
        logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)

    def _red(self, text: str) -> str:
        return f"\x1b[1;31m{text}\x1b[0m" if self.stderr.isatty() and not self.plain else text


@contextmanager
def events_unlogged() -> Generator[None, None, None]:
    """Keep events out of the log, where a command shows what they tell."""
    log = logging.getLogger("healthstore.events")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def _least(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return the least width of a table in which only the widest column is broken."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    widest = max(widths)
    return sum(widths) - widest + min(widest, _BROKEN) + 3 * len(widths) + 1


def _blocks(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> Iterator[str]:
    """Yield the lines that stand for a table: the first cell of a row, and below it the others."""
    if title:
        yield title
    for first, *others in rows:
        yield first
        for column, cell in zip(columns[1:], others, strict=True):
            if cell:
                yield f"  {column.strip()}: {cell}" if column.strip() else f"  {cell}"


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def _brief() -> logging.Formatter:
    """Return a formatter that tells an exception by the name of its type only."""
    from healthstore.logs import TextFormatter  # noqa: PLC0415 - --help has no use for it

    class Brief(TextFormatter):
        def formatException(self, ei: object) -> str:  # noqa: N802 - the name is logging's
            kind = ei[0] if isinstance(ei, tuple) else None
            return getattr(kind, "__name__", "")

    return Brief()
