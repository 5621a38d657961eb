"""Measuring: all contenders of a backend in one process, in turns, round after round."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from benchmarks.contender import Cannot, Contender, Open
from benchmarks.contenders import CONTENDERS, names, raw
from benchmarks.figures import Entrant, Line, Part
from benchmarks.reading import Reading
from benchmarks.servers import describe
from benchmarks.workload import OPERATIONS, Operation, Readings, Sample, Turn, load
from healthstore.abc import BackendURL
from healthstore.testing.provision import disposable

__all__ = ("MOST_CALLS", "MOST_TASKS", "Competition", "Plan", "measure")

# One `find`, of at most 10,000, returns all of an operation's own readings, warming included.
MOST_CALLS, MOST_TASKS = 500, 1_000
_MANY = 8  # times as many calls where tasks run at once,
_EACH = 4  # and at least as many for each task
_PATIENCE = 300.0  # seconds for one turn
_OWN_NUMBERS = 1_000_000  # apart are the readings of two operations


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured; ``contenders`` is empty for all there are. ``say`` gets progress."""

    rounds: int = 5
    rows: int = 20_000
    calls: int = 200
    tasks: Sequence[int] = (1, 64)
    operations: Sequence[str] = tuple(OPERATIONS)
    contenders: Sequence[str] = ()
    say: Callable[[str], None] = field(default=lambda _: None, repr=False)

    def turns(self) -> Iterator[tuple[str, Operation, int]]:
        """Yield each operation with each number of tasks, in the order in which they run.

        The first is always there: it stores what the others find.
        """
        for name, operation in OPERATIONS.items():
            for tasks in self.tasks if operation.many else (1,):
                if name in self.operations or operation.run is load:
                    yield name, operation, tasks


@dataclass(slots=True)
class _Rival:
    """A contender in one round, and what it must hold."""

    entrant: Entrant
    contender: Contender
    kept: dict[UUID, Reading] = field(default_factory=dict)


async def measure(backend: str, url: BackendURL, plan: Plan) -> Part:
    """Return the figures of one backend, with all of its contenders that are installed."""
    part = Part(backend, raw(url.scheme))
    part.server, part.durability = await describe(url)
    opens: dict[str, Open] = {}
    for name in names(url.scheme):
        if plan.contenders and name not in plan.contenders:
            continue
        known = CONTENDERS[name]
        entrant = Entrant(name, known.version)
        part.entrants.append(entrant)
        try:
            opens[name] = known.open()
        except Cannot as reason:
            entrant.problem = str(reason)
    await Competition(part, url, plan).run(opens)
    return part


class Competition:
    """The rounds of one backend, which fill in a part.

    A contender that cannot take part, or fails, is told, and keeps nobody else from going on.
    """

    def __init__(self, part: Part, url: BackendURL, plan: Plan) -> None:
        self._part = part
        self._url = url
        self._plan = plan
        self._readings = Readings(plan.rows)
        self._lines: dict[tuple[str, int, str], Line] = {}

    async def run(self, opens: Mapping[str, Open]) -> None:
        """Let contenders compete.

        Each has an empty database of its own in each round, which is dropped afterwards, also
        after an interrupt. Another one begins in each round.
        """
        entrants = {each.name: each for each in self._part.entrants}
        for number in range(self._plan.rounds):
            self._plan.say(f"{self._part.backend}: round {number + 1} of {self._plan.rounds}")
            async with AsyncExitStack() as stack:
                rivals: list[_Rival] = []
                for name, opened in opens.items():
                    if not entrants[name].problem:
                        rivals += await self._enter(stack, entrants[name], opened)
                first = number % max(1, len(rivals))
                with _settled():
                    await self._round([*rivals[first:], *rivals[:first]])

    async def _enter(
        self, stack: AsyncExitStack, entrant: Entrant, opened: Open
    ) -> Sequence[_Rival]:
        """Open a contender on an empty database; return none if that cannot be."""
        own = AsyncExitStack()
        stack.push_async_callback(self._leave, own, entrant)
        try:
            made = await own.enter_async_context(disposable(self._url))
            contender = await own.enter_async_context(opened(made))
        except Exception as error:  # noqa: BLE001 - each library has its own errors
            entrant.problem = f"cannot be opened: {_told(error)}"
            return ()
        entrant.uses, entrant.returns = contender.uses, contender.returns
        return (_Rival(entrant, contender),)

    async def _leave(self, own: AsyncExitStack, entrant: Entrant) -> None:
        """Close a contender and drop its database."""
        try:
            await own.aclose()
        except Exception as error:  # noqa: BLE001 - each library has its own errors
            entrant.problem = entrant.problem or f"cannot be closed: {_told(error)}"

    async def _round(self, rivals: Sequence[_Rival]) -> None:
        """Run each operation once, all contenders in turn."""
        for place, (name, operation, tasks) in enumerate(self._plan.turns()):
            rates: dict[str, float] = {}
            for rival in rivals:
                line = self._line(name, operation, tasks, rival)
                if line.failed or rival.entrant.problem:
                    continue
                turn = self._turn(rival, operation, tasks, place)
                sample = await self._sample(operation, turn, line)
                if sample:
                    rates[line.contender] = sample.count / sample.seconds
                    _note(line, sample, rates[line.contender])
                elif operation.run is load:  # then there is nothing that others could find
                    rival.entrant.problem = f"{name} {line.problem}"
            base = rates.get(self._part.raw)
            for who, rate in rates.items():
                if base:
                    self._lines[name, tasks, who].ratios.append(rate / base)

    def _turn(self, rival: _Rival, operation: Operation, tasks: int, place: int) -> Turn:
        calls = max(1, self._plan.calls // operation.part)
        if tasks > 1:
            calls = max(calls * _MANY, _EACH * tasks)
        number = self._plan.rows + place * _OWN_NUMBERS
        return Turn(rival.contender, self._readings, rival.kept, calls, tasks, number)

    def _line(self, name: str, operation: Operation, tasks: int, rival: _Rival) -> Line:
        key = (name, tasks, rival.entrant.name)
        if key not in self._lines:
            self._lines[key] = Line(name, tasks, rival.entrant.name, operation.unit)
            if name in self._plan.operations:
                self._part.lines.append(self._lines[key])
        return self._lines[key]

    async def _sample(self, operation: Operation, turn: Turn, line: Line) -> Sample | None:
        """Run an operation; a failure is told in its line, which then ends."""
        gc.collect()  # what the contender before left behind
        try:
            async with asyncio.timeout(_PATIENCE):
                return await operation.run(turn)
        except Exception as error:  # noqa: BLE001 - each library has its own errors
            line.failed = True
            line.problem = f"failed: {_told(error)}"
            return None


@contextmanager
def _settled() -> Generator[None, None, None]:
    """Keep the collector of garbage from what lives already: nobody is to pay for looking at it."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _note(line: Line, sample: Sample, rate: float) -> None:
    """Add a sample to a line; a wrong answer stays told, whatever comes afterwards."""
    line.rates.append(rate)
    line.rows, line.digest = sample.found.rows, sample.found.text
    if sample.found != sample.wanted and not line.problem:
        line.problem = (
            f"WRONG: {sample.found.rows} rows {sample.found.text}, "
            f"not {sample.wanted.rows} rows {sample.wanted.text}"
        )


def _told(error: BaseException) -> str:
    """Return an error in one line: the first one of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first[:160]}" if first else type(error).__name__
