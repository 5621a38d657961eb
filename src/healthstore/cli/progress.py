"""How far long work is: bars for a person who watches, a line every few seconds for a log."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from healthstore.cli.output import Output
from healthstore.transfer import CollectionStarted, PageMoved, Progress, Stage, TransferEvent

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ("progress",)

_PATIENCE = 0.5  # seconds of work before a bar appears: short work has none
_INTERVAL = 5.0  # seconds between two lines in a log


@contextmanager
def progress(
    output: Output, clock: Callable[[], float] = monotonic
) -> Generator[Progress, None, None]:
    """Lend a callback for a transfer's events."""
    if output.interactive:
        bars = _Bars(output, clock)
        try:
            yield bars
        finally:
            bars.close()
    else:
        yield _Lines(output, clock)


class _Lines:
    """One line about the collection at work, at most every few seconds."""

    def __init__(self, output: Output, clock: Callable[[], float]) -> None:
        self._output, self._clock = output, clock
        self._said = self._began = clock()

    def __call__(self, event: TransferEvent) -> None:
        """Say how far the work is, if it is time."""
        now = self._clock()
        if isinstance(event, CollectionStarted):
            self._began = now
        if not isinstance(event, PageMoved) or now - self._said < _INTERVAL:
            return
        self._said = now
        of = "" if event.total is None else f" of {event.total:,}"
        part = "" if event.share is None else f", {event.share:.0%} of the file"
        rate = event.done / max(now - self._began, 1e-9)
        self._output.note(
            f"{event.stage} {event.collection}: {event.done:,}{of} rows{part}, {rate:,.0f} rows/s"
        )


class _Bars:
    """A bar for each collection and stage."""

    def __init__(self, output: Output, clock: Callable[[], float]) -> None:
        self._output, self._clock = output, clock
        self._began = clock()
        self._rich: RichProgress | None = None
        self._tasks: dict[tuple[Stage, str], TaskID] = {}

    def __call__(self, event: TransferEvent) -> None:
        """Move the bar of the event's collection."""
        if not isinstance(event, PageMoved):
            return
        if self._rich is None:
            if self._clock() - self._began < _PATIENCE:
                return
            self._rich = self._start()
        key = (event.stage, event.collection)
        if key not in self._tasks:
            name = f"{event.stage} {event.collection}"
            self._tasks[key] = self._rich.add_task(name, total=event.total)
        total = event.total
        if total is None and event.share:
            total = round(event.done / event.share)  # as many as the rest of the file would have
        self._rich.update(self._tasks[key], completed=event.done, total=total)

    def close(self) -> None:
        """Leave the bars as they are and give the terminal back."""
        if self._rich is not None:
            self._rich.stop()

    def _start(self) -> RichProgress:
        from rich.console import Console  # noqa: PLC0415 - slow to import, for people only
        from rich.progress import (  # noqa: PLC0415 - as above
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(file=self._output.stderr, no_color=self._output.plain),
        )
        bars.start()
        return bars
