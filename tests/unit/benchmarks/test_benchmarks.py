"""The benchmarks measure what they say: the same work for all, and wrong answers are shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import fmean
from typing import Any
from uuid import UUID

import pytest
from benchmarks.__main__ import main
from benchmarks.contender import Contender, Open
from benchmarks.figures import Entrant, Figures, Line, Part, read
from benchmarks.measure import Competition, Plan
from benchmarks.reading import Reading
from benchmarks.report import as_markdown, as_text, put_into
from benchmarks.workload import OPERATIONS

from healthstore.abc import BackendURL

TINY = ("--rounds", "2", "--rows", "220", "--calls", "4", "--tasks", "1", "3")
PLAN = Plan(rounds=1, rows=120, calls=4, tasks=(1, 3))


class _Faithful:
    """A contender that keeps what it is given."""

    uses, returns = "a mapping", "the reading itself"

    def __init__(self) -> None:
        self.kept: dict[UUID, Reading] = {}

    def ready(self, reading: Reading) -> Reading:
        return reading

    def reading(self, own: Reading) -> Reading:
        return own

    async def insert(self, own: Reading) -> None:
        self.kept[own.id] = own

    async def insert_many(self, own: Sequence[Reading]) -> None:
        self.kept.update((one.id, one) for one in own)

    async def get(self, identity: UUID) -> Reading | None:
        return self.kept.get(identity)

    async def find(self, owner: UUID, limit: int) -> Sequence[Reading]:
        owned = [one for one in self.kept.values() if one.owner == owner]
        return sorted(owned, key=lambda one: one.taken_at, reverse=True)[:limit]

    async def update(self, identity: UUID, value: float, note: str) -> None:
        changes: Mapping[str, Any] = {"value": value, "note": note, "version": 2}
        self.kept[identity] = self.kept[identity].model_copy(update=changes)

    async def delete(self, identity: UUID) -> None:
        del self.kept[identity]

    async def stream(self) -> AsyncIterator[Reading]:
        for one in list(self.kept.values()):
            yield one

    async def aggregate(self) -> Mapping[str, tuple[int, float]]:
        values: dict[str, list[float]] = {}
        for one in self.kept.values():
            values.setdefault(one.kind, []).append(one.value)
        return {kind: (len(each), fmean(each)) for kind, each in values.items()}


class _Forgetful(_Faithful):
    """Loses one of the rows that are stored one by one."""

    async def insert(self, own: Reading) -> None:
        if own.id.int % 5:
            await super().insert(own)


class _Rounding(_Faithful):
    """Returns a value that is nearly what was stored."""

    async def get(self, identity: UUID) -> Reading | None:
        found = await super().get(identity)
        return found and found.model_copy(update={"value": found.value + 1e-9})


class _Disorderly(_Faithful):
    """Finds the right rows in the wrong order."""

    async def find(self, owner: UUID, limit: int) -> Sequence[Reading]:
        return [*reversed(await super().find(owner, limit))]


class _Careless(_Faithful):
    """Deletes another one of the same owner, too."""

    async def delete(self, identity: UUID) -> None:
        gone = self.kept.pop(identity, None)
        owned = [one for one in self.kept.values() if gone and one.owner == gone.owner]
        for one in owned[-1:]:
            del self.kept[one.id]


class _Raising(_Faithful):
    """Cannot aggregate."""

    async def aggregate(self) -> Mapping[str, tuple[int, float]]:
        raise NotImplementedError("no aggregates\nhere")


class _Unloadable(_Faithful):
    """Cannot store many."""

    async def insert_many(self, own: Sequence[Reading]) -> None:
        raise OSError("full")


def _opening(kind: Callable[[], Contender]) -> Open:
    @asynccontextmanager
    async def opened(_: BackendURL) -> AsyncIterator[Contender]:
        yield kind()

    return opened


async def _competed(*kinds: Callable[[], Contender]) -> Part:
    """Return the part in which some kinds of contender compete, the first being the driver."""
    opens = {_name(kind): _opening(kind) for kind in kinds}
    part = Part("memory", _name(kinds[0]), entrants=[Entrant(name, "1") for name in opens])
    await Competition(part, BackendURL.parse("memory://"), PLAN).run(opens)
    return part


def _name(kind: Callable[[], Contender]) -> str:
    return kind.__qualname__.rpartition(".")[2].strip("_")


def _figures_of(part: Part) -> Figures:
    return Figures("today", "a machine", "3.11", PLAN.rounds, PLAN.rows, PLAN.calls, [part])


def _problems(part: Part, contender: str) -> dict[tuple[str, int], str]:
    return {
        (line.operation, line.tasks): line.problem
        for line in part.lines
        if line.contender == contender and line.problem
    }


def test_the_driver_and_healthstore_find_the_same_on_sqlite(tmp_path: Path) -> None:
    """Each operation gives equal rows and digests for every contender, in the table and as JSON."""
    file = tmp_path / "figures.json"
    names = ("--contenders", "aiosqlite", "healthstore", "--json", str(file))
    assert main(["sqlite", *TINY, *names]) == 0
    (figures,) = read([file])
    (part,) = figures.parts
    found: dict[tuple[str, int], list[Line]] = {}
    for line in part.lines:
        found.setdefault((line.operation, line.tasks), []).append(line)
    assert {operation for operation, _ in found} == set(OPERATIONS)
    for pair in found.values():
        assert [line.contender for line in pair] == ["aiosqlite", "healthstore"]
        assert len({(line.rows, line.digest) for line in pair}) == 1
        assert all(len(line.rates) == 2 and not line.problem for line in pair)


async def test_who_keeps_everything_is_right() -> None:
    """A faithful contender has no problem in any operation."""
    part = await _competed(_Faithful)
    assert {line.operation for line in part.lines} == set(OPERATIONS)
    assert not _problems(part, "Faithful")


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (_Forgetful, {("insert", 1), ("insert", 3), ("aggregate", 1), ("stream all", 1)}),
        (_Rounding, {("get", 1), ("get", 3)}),
        (_Disorderly, {("find 50", 1), ("find 50", 3)}),
        (_Careless, {("delete", 1), ("delete", 3), ("aggregate", 1), ("stream all", 1)}),
    ],
)
async def test_fast_but_wrong_shows(
    kind: Callable[[], Contender], wrong: set[tuple[str, int]]
) -> None:
    """A lost row, a changed value and a wrong order are shown, with the contender that did it."""
    part = await _competed(_Faithful, kind)
    found = _problems(part, _name(kind))
    assert set(found) == wrong
    assert all(problem.startswith("WRONG: ") for problem in found.values())
    assert not _problems(part, "Faithful")


async def test_a_failure_ends_nobody_else() -> None:
    """A contender that fails at one operation is told there, and others go on."""
    part = await _competed(_Faithful, _Raising, _Unloadable)
    assert _problems(part, "Raising") == {
        ("aggregate", 1): "failed: NotImplementedError: no aggregates"
    }
    assert _problems(part, "Unloadable") == {("bulk insert", 1): "failed: OSError: full"}
    assert not _problems(part, "Faithful")
    assert part.entrants[2].problem == "bulk insert failed: OSError: full"
    assert "failed" in as_text(_figures_of(part))


async def test_what_cannot_be_opened_is_a_line() -> None:
    """A contender that cannot be opened keeps its line, with the reason, and nobody else from going on."""

    def refuse() -> Contender:
        raise RuntimeError("no such server")

    part = await _competed(_Faithful, refuse)
    assert part.entrants[1].problem == "cannot be opened: RuntimeError: no such server"
    assert "no such server" in as_text(_figures_of(part))
    assert not _problems(part, "Faithful")


async def test_an_interrupt_leaves_no_database() -> None:
    """A database of a contender is gone after a cancellation in the middle of a round."""
    reached, places = asyncio.Event(), []

    @asynccontextmanager
    async def opened(url: BackendURL) -> AsyncIterator[Contender]:
        places.append(Path(url.database).parent)
        yield _Stuck()

    class _Stuck(_Faithful):
        async def get(self, identity: UUID) -> Reading | None:
            reached.set()
            await asyncio.Event().wait()
            return None

    part = Part("sqlite", "Stuck", entrants=[Entrant("Stuck", "1")])
    competition = Competition(part, BackendURL.parse("sqlite:///any.db"), PLAN)
    running = asyncio.create_task(competition.run({"Stuck": opened}))
    await reached.wait()
    assert places[0].is_dir()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not places[0].exists()


def test_a_missing_server_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The variable that names a server is said when it is not set, and when nobody answers."""
    monkeypatch.delenv("HEALTHSTORE_TEST_POSTGRESQL_URL", raising=False)
    assert main(["postgresql"]) == 1
    assert "set HEALTHSTORE_TEST_POSTGRESQL_URL to a server's URL" in capsys.readouterr().out
    assert main(["postgresql", "--url", "postgresql://ann:secret@127.0.0.1:1/d"]) == 1
    told = capsys.readouterr().out
    assert "postgresql://ann:***@127.0.0.1:1/d does not answer" in told
    assert "secret" not in told


async def test_figures_become_a_page(tmp_path: Path) -> None:
    """The tables of a page are replaced between its marks, and a page without marks is refused."""
    text = as_markdown([_figures_of(await _competed(_Faithful, _Rounding))])
    assert "| get, 1 |" in text
    assert "WRONG" in text
    page = tmp_path / "page.md"
    page.write_text("above\n", "utf-8")
    with pytest.raises(ValueError, match="has no lines"):
        put_into(page, text)
    begin, end = "<!-- figures: python -m benchmarks report -->", "<!-- end of figures -->"
    page.write_text(f"above\n\n{begin}\nold\n{end}\n\nbelow\n", "utf-8")
    put_into(page, text)
    assert page.read_text("utf-8") == f"above\n\n{begin}\n\n{text}\n\n{end}\n\nbelow\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["oracle"],
        ["sqlite", "--calls", "501"],
        ["sqlite", "--tasks", "0"],
        ["sqlite", "mysql", "--url", "sqlite:///a.db"],
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str]) -> None:
    """An unknown backend, a number out of bounds and one URL for two backends are refused."""
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2


def test_a_change_of_the_schema_is_measured_beside_its_peers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A field beside an empty collection's, a function beside a copy, a check as a process."""
    assert main(["evolution", "sqlite", "--rows", "600"]) == 0
    told = capsys.readouterr().out
    assert "a Transform:" in told
    assert "with 600 rows" in told
    assert "schema check:" in told


def test_questions_are_measured_beside_the_statements_that_one_would_write(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each statement is printed, and what it finds is what the library finds."""
    assert main(["questions", "sqlite", "--rows", "2000"]) == 0
    told = capsys.readouterr().out
    assert told.count("(wanted: 1.5)") == 4
    assert "  SELECT code, max(value) FROM" in told
