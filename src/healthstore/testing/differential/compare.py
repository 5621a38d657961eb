"""One program on two stores: memory is right, the other one is tested."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Context, Inexact, Rounded, localcontext
from pathlib import Path
from pprint import pformat
from typing import TypeAlias

from healthstore.errors import CapabilityError
from healthstore.model.ops import Bucket
from healthstore.model.query import FieldOrTerm, OtherField, Term, Test, walk
from healthstore.testing.differential import programs
from healthstore.testing.differential.answers import (
    Answer,
    answer,
    contents,
)
from healthstore.testing.differential.claims import REFUSALS, refusals
from healthstore.testing.differential.declared import Declared, declare_all
from healthstore.testing.differential.programs import Program, Step, without_references
from healthstore.testing.differential.schemas import Looked
from healthstore.testing.differential.stores import MEMORY, Place, Store, new_store
from healthstore.transfer import backup, migrate, restore, verify

__all__ = ("Difference", "Verdict", "compare")

_SHOWN = 2_000  # characters of an answer; a file keeps the whole program
_DECLINED = CapabilityError.__name__


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two stores differ: after which step, and what each of them answered."""

    step: int
    kind: str
    memory: Answer
    other: Answer

    @property
    def signature(self) -> tuple[str, str, str]:
        """What tells this difference from others: few words for all of its examples."""
        return (self.kind, _brief(self.memory), _brief(self.other))

    def __str__(self) -> str:
        """Say in some lines what differs; the values are made up."""
        return "\n".join(
            (
                f"step {self.step + 1}, {self.kind}",
                *_lines("memory", self.memory),
                *_lines("other", self.other),
            )
        )


def _brief(given: Answer) -> str:
    if given.defect:
        return f"{given.error}, {given.defect}".removeprefix(", ")
    if given.parts:
        return f"{_brief(given.parts[-1])} in a unit"
    return given.error or "a result"


def _lines(who: str, given: Answer) -> Iterator[str]:
    yield f"  {who}: {_brief(given)} {given.message}".rstrip()
    text = pformat(given.content, width=100, sort_dicts=False)
    if len(text) > _SHOWN:
        text = f"{text[:_SHOWN]} …"
    yield "\n".join(f"    {line}" for line in text.splitlines())


@dataclass(slots=True)
class Verdict:
    """What came of a program: the first difference, and how often what was reached."""

    difference: Difference | None = None
    reached: Counter[str] = field(default_factory=Counter)


async def compare(program: Program, place: Place) -> Verdict:
    """Run a program on memory and on a new store of a place, and compare after each step."""
    verdict = Verdict()
    async with new_store(MEMORY) as memory, new_store(place) as other:
        if not other.guarded.capabilities.references:
            program = without_references(program)
        declared = declare_all(program.schemas)
        _note_schemas(verdict, program)
        pair = _Pair(memory, other, place, declared, verdict)
        steps = (programs.Initialize(again=False), *program.steps)
        for number, step in enumerate(steps):
            memory.step = other.step = number
            with _context(program.precision):
                difference, ended = await pair.step(number - 1, step)
            if difference is not None or ended:
                verdict.difference = difference
                return verdict
        verdict.difference = await pair.compare_contents(len(program.steps))
    return verdict


@contextmanager
def _context(precision: int | None) -> Generator[None, None, None]:
    """Run a block in the decimal context of a program that rounds, and wants to know of it."""
    if precision is None:
        yield
    else:
        with localcontext(Context(prec=precision, traps=[Inexact, Rounded])):
            yield


@dataclass(frozen=True, slots=True)
class _Pair:
    memory: Store
    other: Store
    place: Place
    declared: Declared
    verdict: Verdict

    async def step(self, number: int, step: Step) -> tuple[Difference | None, bool]:
        """Run one step on both; return the difference, and whether the program ends there."""
        kind = type(step).__name__.lower()
        self.verdict.reached[f"step {kind}"] += 1
        if isinstance(step, programs.Transfer):
            return await self._transfer(number, step), False
        other = await answer(self.other, self.declared, step)
        if other.error == _DECLINED and _may_decline(step, self.other):
            self.verdict.reached["step declined"] += 1
            return None, isinstance(step, programs.Initialize)
        memory = await answer(self.memory, self.declared, step)
        _note_step(self.verdict, step)
        if memory.error:
            self.verdict.reached[f"error {memory.error}"] += 1
        # Which of several documents stay is not promised, whatever their error is.
        loose = isinstance(step, programs.AddMany) and not step.atomic and len(step.rows) > 1
        partial = bool(loose and memory.error and other.error)
        defect = memory.defect or other.defect
        alike = memory == other or (partial and memory.error == other.error)
        if alike and not defect:
            return None, partial
        if not defect and await self._refused_alike(step, memory, other):
            self.verdict.reached["step refused for several reasons"] += 1
            return None, partial
        return Difference(number, kind, memory, other), True

    async def _refused_alike(self, step: Step, memory: Answer, other: Answer) -> bool:
        """Tell whether both refused a write, each for one of several reasons.

        Which one a database finds first is its own affair.
        """
        if memory.parts and len(memory.parts) == len(other.parts):
            *before, last = memory.parts
            *others, refused = other.parts
            # Inside a unit it cannot be told what was stored when it happened.
            return before == others and {last.error, refused.error} <= REFUSALS
        if not {memory.error, other.error} <= REFUSALS:
            return False
        reasons = await refusals(self.memory.guarded, self.declared, step)
        return reasons is None or {memory.reason, other.reason} <= reasons

    async def compare_contents(self, number: int) -> Difference | None:
        """Compare every document of both."""
        return await self._expect(number, "contents", self.other)

    async def _expect(self, number: int, kind: str, store: Store) -> Difference | None:
        right = await contents(self.memory, self.declared)
        found = await contents(store, self.declared)
        return None if right == found else Difference(number, kind, right, found)

    async def _transfer(self, number: int, step: programs.Transfer) -> Difference | None:
        """Copy to a new store, and expect there what memory holds and what it initializes."""
        source = self.other if step.back else self.memory
        kind = f"transfer by {step.by}"
        async with new_store(MEMORY if step.back else self.place) as target:
            try:
                if step.by == "migrate":
                    await migrate(source.backend, target.backend)
                else:
                    with tempfile.TemporaryDirectory() as folder:
                        path = Path(folder) / "backup.json"
                        await backup(source.backend, path)
                        await restore(path, target.backend)
                for one, two in (
                    (source, target),
                    (self.memory, self.other),
                    (self.memory, target),
                ):
                    (await verify(one.backend, two.backend)).require()
            except Exception as error:  # noqa: BLE001 - a transfer that fails is a finding
                failed = Answer(None, type(error).__name__, "a transfer that fails", str(error))
                return Difference(number, kind, Answer("transferred"), failed)
            again = await answer(target, self.declared, programs.Initialize())
            expected = await answer(self.memory, self.declared, programs.Initialize())
            if again != expected:
                return Difference(number, f"{kind}, then initialize", expected, again)
            return await self._expect(number, kind, target)


def _may_decline(step: Step, store: Store) -> bool:
    """Tell whether a step asks for more than a store has."""
    capabilities = store.guarded.capabilities
    serializable = isinstance(step, programs.Unit) and step.serializable
    first = isinstance(step, programs.Initialize) and not step.again  # a server may have less room
    return (
        first or not capabilities.transactions or (serializable and not capabilities.serializable)
    )


# --- what was reached --------------------------------------------------------------------------


def _note_schemas(verdict: Verdict, program: Program) -> None:
    for schema in program.schemas:
        verdict.reached["schema unique"] += len(schema.uniques)
        verdict.reached["schema unique ignoring case"] += len(schema.ignoring)
        verdict.reached["schema index"] += len(schema.indexes)
        for each in schema.attributes:
            verdict.reached[f"kind {each.type.kind}{' or null' if each.nullable else ''}"] += 1
            if each.refers is not None:
                verdict.reached[f"reference {each.on_delete}"] += 1
        for rule in schema.checks:
            for test in walk(rule.where):
                attribute = schema.attribute(test.field)
                if attribute is not None:
                    verdict.reached[f"check {attribute.type.kind} {_words(test)}"] += 1


def _words(test: Test) -> str:
    operand: object = test.operand
    if isinstance(operand, Looked):
        return f"{test.operator} what another query finds"
    if test.folded:
        return f"{test.operator} ignoring case"
    return f"{test.operator}{' of two fields' if isinstance(operand, OtherField) else ''}"


_Question: TypeAlias = (
    programs.Find
    | programs.Search
    | programs.Select
    | programs.Latest
    | programs.Count
    | programs.Aggregate
)


def _terms_in(step: _Question) -> Iterator[Term]:
    """Yield the parts of JSON that are no tests of a step, but its columns and keys."""
    columns: tuple[FieldOrTerm, ...] = ()
    if isinstance(step, programs.Find | programs.Search | programs.Select):
        columns = tuple(each.column for each in step.order)
    if isinstance(step, programs.Select):
        columns = (*step.columns, *columns)
    if isinstance(step, programs.Latest):
        columns = (*step.per, step.by)
    if isinstance(step, programs.Aggregate):
        columns = step.terms
    yield from (each for each in columns if isinstance(each, Term))


def _note_step(verdict: Verdict, step: Step) -> None:
    if isinstance(step, programs.Batch | programs.Unit):
        for each in step.steps:
            verdict.reached[f"inside {type(each).__name__.lower()}"] += 1
            _note_step(verdict, each)
    elif isinstance(step, _Question):
        _note_question(verdict, step)


def _note_question(verdict: Verdict, step: _Question) -> None:
    for test in walk(step.where):
        verdict.reached[f"operator {_words(test)}"] += 1
        if test.part is not None and test.part.kind is not None:
            verdict.reached[f"term {test.part.kind} in a filter"] += 1
    for term in _terms_in(step):
        verdict.reached[f"term {term.kind} in {type(step).__name__.lower()}"] += 1
    if isinstance(step, programs.Aggregate):
        for measure in step.measures:
            verdict.reached[f"measure {measure.function}"] += 1
        for key in step.group:
            if isinstance(key, Bucket):
                verdict.reached[f"bucket {key.unit}"] += 1
