"""The contract itself: complete, and able to fail."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import pytest

import healthstore.testing.contract as package
from healthstore.abc import Backend, Capabilities, Layer, Unit, UnitOptions
from healthstore.adapters.memory import MemoryAdapter
from healthstore.errors import HealthstoreError, InvalidRequestError
from healthstore.layers.guard import GuardLayer
from healthstore.model.ops import (
    Aggregate,
    Batch,
    CountDocuments,
    Delete,
    Find,
    Get,
    Insert,
    Op,
    Patch,
    Replace,
)
from healthstore.model.query import And, Filter, Operator, Or, Test
from healthstore.model.values import Document
from healthstore.testing.contract import ContractTests

R = TypeVar("R")
PARTS = [getattr(package, name) for name in package.__all__ if name.startswith("Test")]
MODULES = sorted(
    path for path in Path(package.__file__).parent.glob("*.py") if not path.name.startswith("_")
)


def test_every_module_is_part_of_the_contract() -> None:
    """Each public module has one class of tests, and the whole contract inherits all of them."""
    assert {part.__module__.rpartition(".")[2] for part in PARTS} == {each.stem for each in MODULES}
    assert set(ContractTests.__bases__) == set(PARTS)


def test_no_promise_hides_another() -> None:
    """No two tests of the contract have the same name: the class of all runs each of them."""
    names = [name for part in PARTS for name in vars(part) if name.startswith("test_")]
    assert len(names) == len(set(names))


def test_no_collection_is_of_two_modules() -> None:
    """Collections stay in a database between tests, in any order: each name has one definition."""
    places: dict[str, set[str]] = {}
    for path in Path(package.__file__).parent.glob("*.py"):
        for name in re.findall(r'ollection(?:=|\(\s*)"(contract_\w+)"', path.read_text("utf-8")):
            places.setdefault(name, set()).add(path.stem)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_every_promise_is_asynchronous_and_explained() -> None:
    """Each test is a coroutine function with a docstring of one sentence."""
    for name, function in inspect.getmembers(ContractTests, inspect.isfunction):
        if name.startswith("test_"):
            # Hypothesis wraps a function in one that is not asynchronous, and keeps the original.
            inner = getattr(function, "hypothesis", function)
            promise = getattr(inner, "inner_test", function)
            assert inspect.iscoroutinefunction(promise), name
            assert (function.__doc__ or "").strip().endswith("."), name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_contract_names_no_backend(path: Path) -> None:
    """The modules of the contract know backends by their capabilities only."""
    backends = {"memory", "sqlite", "postgresql", "mysql", "mariadb", "mongodb"}
    code = ast.parse(path.read_text("utf-8"))
    names = {node.id.lower() for node in ast.walk(code) if isinstance(node, ast.Name)}
    texts = {
        node.value.lower()
        for node in ast.walk(code)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert not {word for text in names | texts for word in backends if word in text}


# --- backends with one defect each: the contract must find it ----------------------------------


class Defect(Layer):
    """A backend with a defect, also inside its units."""

    rank: ClassVar[int] = 50


class LosesDigits(Defect):
    async def execute(self, op: Op[R]) -> R:
        """Keep instants to the millisecond only."""
        if isinstance(op, Insert):
            op = cast("Op[R]", replace(op, documents=tuple(map(_cut, op.documents))))
        return await self.inner.execute(op)


def _cut(document: Document) -> Document:
    return {
        name: value.replace(microsecond=value.microsecond // 1000 * 1000)
        if isinstance(value, datetime)
        else value
        for name, value in document.items()
    }


class ReadsFloats(Defect):
    async def execute(self, op: Op[R]) -> R:
        """Give decimals back as floats."""
        result = await self.inner.execute(op)
        if isinstance(op, Get):
            rows = cast("tuple[Document, ...]", result)
            return cast(R, tuple({n: _float(v) for n, v in row.items()} for row in rows))
        return result


def _float(value: object) -> Any:
    return float(value) if isinstance(value, Decimal) else value


class IgnoresCase(Defect):
    async def execute(self, op: Op[R]) -> R:
        """Compare text without its case."""
        if isinstance(op, Find | CountDocuments):
            op = cast("Op[R]", replace(op, where=_any_case(op.where)))
        return await self.inner.execute(op)


def _any_case(where: Filter) -> Filter:
    if isinstance(where, And | Or):
        return type(where)(tuple(map(_any_case, where.items)))
    if isinstance(where, Test) and where.operator is Operator.EQ and isinstance(where.operand, str):
        both = tuple(Test(where.field, Operator.EQ, text) for text in _cases(where.operand))
        return Or(both)
    return where


def _cases(text: str) -> set[str]:
    return {text, text.upper(), text.lower()}


class ForgetsNull(Defect):
    async def execute(self, op: Op[R]) -> R:
        """Lose the documents with a null wherever a filter names one, as SQL does."""
        if isinstance(op, Find | CountDocuments):
            op = cast("Op[R]", replace(op, where=_without_null(op.where)))
        return await self.inner.execute(op)


def _without_null(where: Filter) -> Filter:
    if isinstance(where, And):
        return And(tuple(map(_without_null, where.items)))
    if isinstance(where, Or):
        kept = (item for item in where.items if not _is_null(item))
        return Or(tuple(map(_without_null, kept)))
    return where


def _is_null(where: Filter) -> bool:
    return isinstance(where, Test) and where.operator is Operator.IS_NULL


class ForgetsVersions(Defect):
    async def execute(self, op: Op[R]) -> R:
        """Write whatever version is stored."""
        if isinstance(op, Replace | Patch | Delete):
            op = cast("Op[R]", replace(op, versions=None))
        return await self.inner.execute(op)


class KeepsHalf(Defect):
    async def execute(self, op: Op[R]) -> R:
        """Add documents one by one."""
        if isinstance(op, Insert):
            for document in op.documents:
                await self.inner.execute(replace(op, documents=(document,)))
            return cast(R, len(op.documents))
        return await self.inner.execute(op)


class KeepsHalfOfBatches(Defect):
    async def execute(self, op: Op[R]) -> R:
        """Run the operations of a batch one by one."""
        if isinstance(op, Batch):
            return cast(R, tuple([await self.inner.execute(each) for each in op.operations]))
        return await self.inner.execute(op)


class LosesUpdates(Defect):
    async def execute(self, op: Op[R]) -> R:
        """Increment by reading and writing."""
        if isinstance(op, Patch) and op.increments:
            import asyncio

            (row,) = await self.inner.execute(Get(op.collection, op.ids))
            await asyncio.sleep(0)
            sums = tuple((n, cast(Any, row)[n] + step) for n, step in op.increments)
            op = cast("Op[R]", replace(op, sets=(*op.sets, *sums), increments=()))
        return await self.inner.execute(op)


class CutsPages(Defect):
    async def execute(self, op: Op[R]) -> R:
        """Leave the last document of a full page out."""
        result = await self.inner.execute(op)
        if isinstance(op, Find) and len(cast("tuple[Document, ...]", result)) == op.limit > 1:
            return cast(R, cast("tuple[Document, ...]", result)[:-1])
        return result


class SortsNullLast(Defect):
    async def execute(self, op: Op[R]) -> R:
        """Put nulls behind every value."""
        result = await self.inner.execute(op)
        if isinstance(op, Find):
            rows = cast("tuple[Document, ...]", result)
            key = op.order[0].field
            return cast(R, tuple(sorted(rows, key=lambda row: row[key] is None)))
        return result


class NamesNoFields(Defect):
    async def execute(self, op: Op[R]) -> R:
        """Raise errors without the fields of a key, and with a value in the text."""
        try:
            return await self.inner.execute(op)
        except HealthstoreError as error:
            if hasattr(error, "fields"):
                error.fields = ()
            if isinstance(op, Insert):
                error.hint += str(op.documents)
            raise


class ForgetsSums(Defect):
    async def execute(self, op: Op[R]) -> R:
        """Count nulls like values."""
        if isinstance(op, Aggregate):
            plain = tuple(
                replace(each, field=None) if each.function == "count" else each
                for each in op.measures
            )
            return await self.inner.execute(cast("Op[R]", replace(op, measures=plain)))
        return await self.inner.execute(op)


class CommitsAtOnce(Defect):
    async def begin(self, options: UnitOptions = UnitOptions()) -> Unit:  # noqa: B008 - frozen
        """Begin a unit that is none: every write is kept at once."""
        del options
        return NoUnit(self.inner)


class NoUnit:
    """What some libraries call a transaction."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def name(self) -> str:
        """The backend's name."""
        return self._backend.name

    @property
    def capabilities(self) -> Capabilities:
        """The backend's capabilities."""
        return self._backend.capabilities

    async def execute(self, op: Op[R]) -> R:
        """Run the operation for good."""
        return await self._backend.execute(op)

    async def commit(self) -> None:
        """Do nothing."""

    async def rollback(self) -> None:
        """Do nothing."""


class SharesDocuments(Defect):
    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._kept: dict[object, Document] = {}

    async def execute(self, op: Op[R]) -> R:
        """Answer with the very objects that were given before."""
        result = await self.inner.execute(op)
        if isinstance(op, Get):
            rows = cast("tuple[Document, ...]", result)
            return cast(R, tuple(self._kept.setdefault(row["id"], row) for row in rows))
        return result


class RefusesNothing(Defect):
    """A backend that declares no transactions and then does not refuse them."""

    @property
    def capabilities(self) -> Capabilities:
        """Those of memory, without transactions."""
        return replace(self.inner.capabilities, transactions=False)


class SwallowsErrors(Defect):
    async def execute(self, op: Op[R]) -> R:
        """Report that everything went well."""
        try:
            return await self.inner.execute(op)
        except InvalidRequestError:
            raise
        except HealthstoreError:
            return cast(R, (None,))


class ForgetsDeadlines(Defect):
    async def begin(self, options: UnitOptions = UnitOptions()) -> Unit:  # noqa: B008 - frozen
        """Let a unit run for ever, and write although it only reads."""
        return await self.inner.begin(replace(options, deadline=3600.0, read_only=False))


class RoundsSums(Defect):
    async def execute(self, op: Op[R]) -> R:
        """Sum as floats do."""
        result = await self.inner.execute(op)
        if isinstance(op, Aggregate):
            groups = cast(Any, result)
            return cast(
                R,
                tuple(
                    replace(row, values=tuple(_rounded(value) for value in row.values))
                    for row in groups
                ),
            )
        return result


def _rounded(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return int(float(value))
    return value + timedelta(0) if isinstance(value, timedelta) else value


FOUND: tuple[tuple[type[Defect], str, dict[str, object]], ...] = (
    (LosesDigits, "test_every_edge_of_a_kind_comes_back_exactly", {"field": "moment"}),
    (ReadsFloats, "test_every_edge_of_a_kind_comes_back_exactly", {"field": "amount"}),
    (IgnoresCase, "test_text_is_equal_only_to_itself", {"text": "a", "other": "A"}),
    (ForgetsNull, "test_none_is_an_ordinary_value", {}),
    (ForgetsVersions, "test_a_stale_version_changes_nothing", {}),
    (ForgetsVersions, "test_one_of_many_writes_the_next_version", {}),
    (KeepsHalf, "test_an_atomic_insert_leaves_nothing_when_it_fails", {}),
    (KeepsHalfOfBatches, "test_a_batch_is_kept_whole_or_not_at_all", {}),
    (LosesUpdates, "test_concurrent_increments_all_count", {}),
    (CutsPages, "test_a_page_holds_at_most_its_limit", {}),
    (CutsPages, "test_pages_cross_nulls_and_ties_of_each_kind", {"field": "number"}),
    (SortsNullLast, "test_none_comes_first_or_last", {}),
    (NamesNoFields, "test_a_taken_key_is_refused_by_every_write", {}),
    (NamesNoFields, "test_an_error_never_holds_a_value", {"name": "duplicate key"}),
    (ForgetsSums, "test_nothing_has_a_sum_but_no_average", {}),
    (RoundsSums, "test_sums_are_exact", {}),
    (CommitsAtOnce, "test_a_unit_that_is_rolled_back_leaves_nothing", {}),
    (CommitsAtOnce, "test_what_is_not_committed_is_invisible_outside", {}),
    (CommitsAtOnce, "test_a_unit_reads_one_state_of_the_store", {"read_only": False}),
    (CommitsAtOnce, "test_no_update_is_lost", {}),
    (CommitsAtOnce, "test_an_error_ends_a_unit", {}),
    (CommitsAtOnce, "test_a_cancelled_unit_leaves_nothing", {"delay": 0.0}),
    (ForgetsDeadlines, "test_a_unit_ends_at_its_deadline", {}),
    (ForgetsDeadlines, "test_a_read_only_unit_refuses_writes", {}),
    (SharesDocuments, "test_what_is_read_or_given_is_a_copy", {}),
    (RefusesNothing, "test_a_committed_unit_is_kept", {}),
    (SwallowsErrors, "test_an_id_is_taken_once", {}),
    (SwallowsErrors, "test_another_definition_is_refused_in_words", {}),
    (SwallowsErrors, "test_a_closed_backend_refuses_everything", {}),
)


@pytest.mark.parametrize(("defect", "name", "arguments"), FOUND)
async def test_the_contract_finds_a_defect(
    defect: type[Defect], name: str, arguments: dict[str, object]
) -> None:
    """A test that passes on memory fails on memory with a defect."""
    promise: Callable[..., Any] = getattr(ContractTests(), name)
    sound = MemoryAdapter("sound")
    await sound.open()
    await promise(store=GuardLayer(sound), **arguments)
    await sound.close()
    broken = MemoryAdapter("broken")
    await broken.open()
    # pytest.fail and pytest.raises raise a BaseException of pytest's own.
    with pytest.raises((AssertionError, pytest.fail.Exception, HealthstoreError, TypeError)):
        await promise(store=GuardLayer(defect(broken)), **arguments)
    await broken.close()
