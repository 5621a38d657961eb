"""The differential test finds what it is there to find, and nothing where all is well."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from healthstore.abc import BackendURL, Layer
from healthstore.abc.backend import Executor, Unit
from healthstore.errors import (
    CheckError,
    ConfigurationError,
    DuplicateKeyError,
    HealthstoreError,
    IntegrityError,
)
from healthstore.model.ops import Batch, Ensure, Find, Function, Insert, Op
from healthstore.model.query import TERM_TYPES, WORDS, And, Filter, Not, Operator, Or, Test
from healthstore.model.values import Kind
from healthstore.testing.differential import (
    MEMORY,
    Difference,
    Place,
    Program,
    compare,
    draw_program,
    from_json,
    shrink,
    to_json,
)
from healthstore.testing.differential.__main__ import _Column, _note, main
from healthstore.testing.differential.programs import AddMany
from healthstore.testing.provision import Provision

SEED = 8
BOUND = 90  # programs
ASKING = {"find", "search", "select", "latest", "count", "aggregate"}


class Planted(Layer):
    """A store with a fault, as an adapter could have it."""

    rank: ClassVar[int] = 99
    part_of_store: ClassVar[bool] = True


class DropsARow(Planted):
    """Loses the last but one row of a page."""

    async def execute(self, op: Op[Any]) -> Any:
        """Run the operation with the fault."""
        found = await self.inner.execute(op)
        if isinstance(op, Find) and len(found) > 2:
            return (*found[:-2], found[-1])
        return found


class KeepsOthers(Planted):
    """Adds documents that need not be added together one by one, the last one first."""

    async def execute(self, op: Op[Any]) -> Any:
        """Run the operation as a server without transactions may."""
        if not isinstance(op, Insert) or op.atomic or len(op.documents) < 2:
            return await self.inner.execute(op)
        if any(each.collection == op.collection.name for each in op.collection.references):
            return await self.inner.execute(op)  # a parent must come before its children
        refused: HealthstoreError | None = None
        for each in reversed(op.documents):
            try:
                await self.inner.execute(replace(op, documents=(each,)))
            except IntegrityError as error:
                refused = error
        if refused is not None:
            raise refused
        return len(op.documents)

    def over(self, unit: Unit) -> Executor:
        """Return the unit: in it, all are added or none."""
        return unit


class RoundsDecimals(Planted):
    """Keeps one place less than a decimal has."""

    async def execute(self, op: Op[Any]) -> Any:
        """Run the operation with the fault."""
        if isinstance(op, Insert):
            rounded = tuple(
                {name: self.rounded(value) for name, value in document.items()}
                for document in op.documents
            )
            op = replace(op, documents=cast(Any, rounded))
        return await self.inner.execute(op)

    @staticmethod
    def rounded(value: object) -> object:
        """Return a value with one place less."""
        if not isinstance(value, Decimal) or not value:
            return value
        step = value.as_tuple().exponent
        return value.quantize(Decimal(1).scaleb(int(step) + 1), ROUND_DOWN).scaleb(0)


class RaisesAnotherError(Planted):
    """Takes a key that is taken for a broken check."""

    async def execute(self, op: Op[Any]) -> Any:
        """Run the operation with the fault."""
        try:
            return await self.inner.execute(op)
        except DuplicateKeyError as error:
            raise CheckError(error.message, hint=error.hint) from None


class IgnoresChecks(Planted):
    """Makes and fills collections as if they had no checks."""

    async def execute(self, op: Op[Any]) -> Any:
        """Run the operation with the fault."""
        return await self.inner.execute(self.without_checks(op))

    def without_checks(self, op: Any) -> Any:
        """Return an operation on a collection without checks."""
        if isinstance(op, Batch):
            return Batch(tuple(self.without_checks(each) for each in op.operations))
        if isinstance(op, Ensure):
            return Ensure(tuple(replace(each, checks=()) for each in op.collections))
        return replace(op, collection=replace(op.collection, checks=()))


class LosesAFieldInTransfers(Planted):
    """Leaves out what may be null when rows come from another store."""

    async def execute(self, op: Op[Any]) -> Any:
        """Run the operation with the fault."""
        if isinstance(op, Insert) and not op.checked_references:
            nullable = {each.name for each in op.collection.fields if each.nullable}
            emptied = tuple(
                {name: None if name in nullable else value for name, value in document.items()}
                for document in op.documents
            )
            op = replace(op, documents=emptied)
        return await self.inner.execute(op)


def changed(where: Filter, change: Callable[[Test], Filter]) -> Filter:
    """Return a filter with each of its tests changed."""
    if isinstance(where, Not):
        return Not(changed(where.item, change))
    if isinstance(where, And | Or):
        return type(where)(tuple(changed(each, change) for each in where.items))
    return change(where)


class IgnoresNoCase(Planted):
    """Asks for texts as if their case counted."""

    async def execute(self, op: Op[Any]) -> Any:
        """Run the operation with the fault."""
        given: Any = op
        if hasattr(given, "where"):
            given = replace(
                given, where=changed(given.where, lambda each: replace(each, folded=False))
            )
        return await self.inner.execute(given)


class LosesAWord(Planted):
    """Looks for all words but the last one."""

    async def execute(self, op: Op[Any]) -> Any:
        """Run the operation with the fault."""
        return await self.inner.execute(
            replace(op, where=changed(op.where, self.lost)) if isinstance(op, Find) else op
        )

    @staticmethod
    def lost(test: Test) -> Filter:
        """Return a test of words without the last one."""
        words = cast("tuple[str, ...]", test.operand)
        return test if test.part != WORDS else replace(test, operand=words[:-1])


def planted(fault: Callable[..., Layer]) -> Place:
    """Return the place of memory stores with a fault."""
    return Place("planted", MEMORY.url, (fault,))


async def first_difference(place: Place) -> tuple[Program, Difference]:
    """Return the first program that shows a difference, and that difference."""
    for number in range(BOUND):
        program = draw_program(SEED, number)
        found = (await compare(program, place)).difference
        if found is not None:
            return program, found
    pytest.fail(f"nothing was found in {BOUND} programs")


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        (DropsARow, {"find", "contents", "unit", "batch", "count", "transfer by backup"}),
        (
            RoundsDecimals,
            {
                "find",
                "contents",
                "unit",
                "get",
                "aggregate",
                "add",
                "upsert",
                "transfer by migrate",
            },
        ),
        (RaisesAnotherError, {"add", "addmany", "upsert", "update", "replace", "patch", "unit"}),
        (IgnoresChecks, {"add", "addmany", "upsert", "update", "replace", "patch", "unit"}),
        (LosesAFieldInTransfers, {"transfer by migrate", "transfer by backup"}),
        (IgnoresNoCase, ASKING | {"unit", "batch"}),
        (LosesAWord, {"search", "unit"}),
    ],
)
async def test_a_planted_fault_is_found(fault: Callable[..., Layer], kinds: set[str]) -> None:
    """Each kind of fault shows within a bounded number of programs, where it happens."""
    _, found = await first_difference(planted(fault))
    assert found.kind in kinds, str(found)


@pytest.mark.slow
async def test_programs_reach_everything_and_find_nothing_where_all_is_well() -> None:
    """Memory and its transfers agree with themselves on every kind, operator and measure."""
    reached: Counter[str] = Counter()
    for number in range(BOUND):
        verdict = await compare(draw_program(SEED, number), MEMORY)
        assert verdict.difference is None, f"program {number}: {verdict.difference}"
        reached.update(verdict.reached)
    wanted = {f"operator {each}" for each in Operator} | {f"measure {each}" for each in Function}
    wanted |= {f"kind {each}" for each in Kind} | {f"kind {each} or null" for each in Kind}
    wanted |= {f"reference {each}" for each in ("restrict", "cascade", "set_null")}
    wanted |= {
        f"step {each}" for each in ("unit", "batch", "transfer", "upsert", "stale", "search")
    }
    wanted |= {f"operator {each} of two fields" for each in ("==", "!=", "<", "<=", ">", ">=")}
    wanted |= {f"operator {each} what another query finds" for each in ("in", "not in")}
    asking = ("a filter", "find", "select", "latest", "aggregate")
    wanted |= {f"term {kind} in {each}" for kind in TERM_TYPES for each in asking}
    wanted |= {f"operator {each} ignoring case" for each in ("==", "!=", "in", "contains")}
    wanted |= {"schema unique ignoring case"}
    assert sorted(wanted - (+reached).keys()) == []


def test_a_program_is_the_same_whenever_it_is_drawn_and_in_a_file() -> None:
    """A seed and a number give one program; written as JSON and read it is the same."""
    for number in range(20):
        program = draw_program(SEED, number)
        written = json.dumps(to_json(program))
        assert json.dumps(to_json(draw_program(SEED, number))) == written
        assert json.dumps(to_json(from_json(json.loads(written)))) == written


@pytest.mark.parametrize("text", ['{"$": "os.system"}', '{"$": "Program"}', '{"$": "uuid"}'])
def test_a_file_that_holds_no_program_is_refused(text: str) -> None:
    """Only what a run writes is read: no other class, and nothing that lacks a part."""
    with pytest.raises(ConfigurationError):
        from_json(json.loads(text))


async def test_documents_that_stay_after_a_refusal_are_no_difference() -> None:
    """Which of several loose documents stay is not promised, whichever reason is given."""
    loose = 0
    for number in range(150):
        program = draw_program(SEED, number)
        steps = [each for each in program.steps if isinstance(each, AddMany) and not each.atomic]
        if any(len(each.rows) > 1 for each in steps):
            loose += 1
            assert (await compare(program, planted(KeepsOthers))).difference is None, number
    assert loose > 5


async def test_a_shrunk_program_shows_the_same_difference() -> None:
    """What is left has fewer steps, and its difference is of the same kind."""
    place = planted(DropsARow)
    program, found = await first_difference(place)

    async def run(smaller: Program) -> Difference | None:
        return (await compare(smaller, place)).difference

    small, shown = await shrink(program, found, run, attempts=60)
    assert len(small.steps) < len(program.steps)
    assert shown.signature == found.signature
    again = await run(small)
    assert again is not None
    assert again.signature == found.signature


async def test_a_difference_is_kept_in_a_folder_that_was_not_there(tmp_path: Path) -> None:
    """The program that differs is written where --out says, and can be read again."""
    place = planted(DropsARow)
    program, found = await first_difference(place)
    folder = tmp_path / "new"
    options = Namespace(seed=SEED, out=str(folder), attempts=5)
    await _note(_Column(place), options, 7, program, found)
    (kept,) = folder.iterdir()
    assert isinstance(from_json(json.loads(kept.read_text("utf-8"))), Program)


def test_the_command_says_what_it_did(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A run ends with the number of programs and steps of each backend, and code 0."""
    arguments = ["--backends", "memory", "--seed", str(SEED), "--programs", "5"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"seed {SEED}: memory 5 programs ")
    assert last.endswith(" 0 differences")
    assert not list(tmp_path.iterdir())


def test_the_command_replays_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A program from a file runs on the backends that are named."""
    path = tmp_path / "program.json"
    path.write_text(json.dumps(to_json(draw_program(SEED, 1))), "utf-8")
    assert main(["--backends", "memory", "--replay", str(path)]) == 0
    assert capsys.readouterr().out == "memory: no difference\n"


def test_a_backend_of_somebody_else_is_tested(capsys: pytest.CaptureFixture[str]) -> None:
    """An author passes a place, with what makes and drops its databases."""
    made: list[str] = []

    async def create(url: BackendURL, name: str) -> BackendURL:
        made.append(name)
        return url

    async def drop(url: BackendURL) -> None:
        made.append("dropped")

    place = Place("theirs", MEMORY.url, provision=Provision(create, drop))
    assert main(["--backends", "", "--programs", "2", "--seed", str(SEED)], [place]) == 0
    assert "theirs 2 programs" in capsys.readouterr().out
    assert made.count("dropped") * 2 == len(made) >= 4


def test_the_command_refuses_what_it_cannot_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown backend and a server without a URL end with code 2 and a hint."""
    monkeypatch.delenv("HEALTHSTORE_TEST_MYSQL_URL", raising=False)
    assert main(["--backends", "oracle"]) == 2
    assert main(["--backends", "mysql"]) == 2
    said = capsys.readouterr().err
    assert "there is no backend 'oracle'" in said
    assert "set HEALTHSTORE_TEST_MYSQL_URL" in said
