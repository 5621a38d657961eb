"""How far long work is: bars for a person who watches, a line every few seconds for a log."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from healthstore.cli.output import Output
from healthstore.events import Event
from healthstore.schema import PageTransformed
from healthstore.transfer import CollectionStarted, PageMoved

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ("progress",)

_PATIENCE = 0.5  # seconds of work before a bar appears: short work has none
_INTERVAL = 5.0  # seconds between two lines in a log


@contextmanager
def progress(
    output: Output, clock: Callable[[], float] = monotonic
) -> Generator[Callable[[Event], None], None, None]:
    """Lend a callback for the events of a transfer, or of migrations."""
    if output.interactive:
        bars = _Bars(output, clock)
        try:
            yield bars
        finally:
            bars.close()
    else:
        yield _Lines(output, clock)


@dataclass(frozen=True, slots=True)
class _Page:
    """A page that is done: of what work, and how far that is; ``rate`` is of documents a second."""

    work: str
    done: int
    total: int | None
    share: float | None = None
    rate: float | None = None


def _page(event: Event) -> _Page | None:
    match event:
        case PageMoved():
            work = f"{event.stage} {event.collection}"
            return _Page(work, event.done, event.total, event.share)
        case PageTransformed():
            rate = (event.done - event.earlier) / max(event.seconds, 1e-9)
            work = f"{event.migration} {event.collection}"
            return _Page(work, event.done, event.total, rate=rate)
        case _:
            return None


class _Lines:
    """One line about the collection at work, at most every few seconds."""

    def __init__(self, output: Output, clock: Callable[[], float]) -> None:
        self._output, self._clock = output, clock
        self._said = self._began = clock()

    def __call__(self, event: Event) -> None:
        """Say how far the work is, if it is time."""
        now = self._clock()
        if isinstance(event, CollectionStarted):
            self._began = now
        page = _page(event)
        if page is None or now - self._said < _INTERVAL:
            return
        self._said = now
        of = "" if page.total is None else f" of {page.total:,}"
        part = "" if page.share is None else f", {page.share:.0%} of the file"
        rate = page.done / max(now - self._began, 1e-9) if page.rate is None else page.rate
        self._output.note(f"{page.work}: {page.done:,}{of} rows{part}, {rate:,.0f} rows/s")


class _Bars:
    """A bar for each collection and stage, or migration."""

    def __init__(self, output: Output, clock: Callable[[], float]) -> None:
        self._output, self._clock = output, clock
        self._began = clock()
        self._rich: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        """Move the bar of the event's collection."""
        page = _page(event)
        if page is None:
            return
        if self._rich is None:
            if self._clock() - self._began < _PATIENCE:
                return
            self._rich = self._start()
        if page.work not in self._tasks:
            self._tasks[page.work] = self._rich.add_task(page.work, total=page.total)
        total = page.total
        if total is None and page.share:
            total = round(page.done / page.share)  # as many as the rest of the file would have
        self._rich.update(self._tasks[page.work], completed=page.done, total=total)

    def close(self) -> None:
        """Leave the bars as they are and give the terminal back."""
        if self._rich is not None:
            self._rich.stop()

    def _start(self) -> Progress:
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
