"""Selections: some columns of what a filter finds, each row once if that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Annotated, Any, NamedTuple, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from healthstore.abc import Backend
from healthstore.entity import Digits, Entity, MaxLength, collection_of
from healthstore.errors import InvalidRequestError, SchemaMismatchError, UnknownFieldError
from healthstore.model.evaluate import matches, picked
from healthstore.model.evaluate import selected as meant
from healthstore.model.ops import CountDocuments, Ensure, Find
from healthstore.model.query import ALL, F, Filter, Order, asc, desc, parse_keys, parse_order
from healthstore.model.values import SORTED_TEXT, Kind
from healthstore.repository import Repository
from healthstore.repository.cursors import Query
from healthstore.repository.pages import read_all
from healthstore.testing.contract._promises import Contract, laws, needs_transactions
from healthstore.testing.contract._samples import (
    EVERYTHING,
    add,
    add_entities,
    every_row,
    everything,
    exact,
    identity,
)
from healthstore.testing.strategies import filters, orders

__all__ = ("TestSelections",)

ROWS = every_row(40)
COLUMNS = st.lists(st.sampled_from(EVERYTHING.names), min_size=1, max_size=6, unique=True).map(
    tuple
)
_BLURRED = {Kind.JSON, Kind.BYTES, Kind.FLOAT}
_TOLD = tuple(each.name for each in EVERYTHING.fields if each.type.kind not in _BLURRED)
_FEW = ("flag", "level", "day", "label", "text", "price", "span", "moment_ms")  # values that repeat


class _Unit(StrEnum):
    """What is counted."""

    KILOGRAM = "kg"
    BEATS = "bpm"


class _Grade(IntEnum):
    """How sure it is."""

    LOW = 1
    HIGH = 2


class _Origin(BaseModel):
    device: str
    since: date | None = None


class _Record(Entity, collection="contract_records"):
    name: Annotated[str, MaxLength(40)]
    tags: list[str]
    unit: _Unit | None = None
    grade: _Grade = _Grade.LOW
    value: Annotated[Decimal, Digits(12, 2)] | None = None
    taken: datetime | None = None
    span: timedelta | None = None
    origin: _Origin | None = None
    raw: bytes | None = None
    ratio: float | None = None


class _Coded(Entity, collection="contract_coded"):
    model_config = ConfigDict(use_enum_values=True)
    unit: _Unit
    grade: _Grade | None = None


class _Nowhere(Entity, collection="contract_nowhere"):
    name: str
    data: dict[str, object]
    value: float = 0.0


class _Model(BaseModel):
    name: str
    value: Decimal | None
    note: str = "none"


@dataclass(frozen=True)
class _Data:
    name: str
    worth: Decimal | None


class _Tuple(NamedTuple):
    id: UUID
    unit: _Unit | None = None


class _Strict(BaseModel):
    name: Annotated[str, Field(max_length=1)]


RECORDS = [
    _Record(
        name=f"n{at % 4}",
        unit=None if at % 3 == 2 else (_Unit.KILOGRAM, _Unit.BEATS)[at % 2],
        grade=(_Grade.LOW, _Grade.HIGH)[at % 2],
        value=None if at % 5 == 4 else Decimal(at).scaleb(-1),
        taken=None if at % 4 == 3 else datetime(2026, 1, 1 + at, 8, tzinfo=UTC),
        span=None if at % 2 else timedelta(minutes=at),
        origin=None if at % 3 else _Origin(device=f"d{at}", since=date(2026, 1, 1)),
        tags=["a"] * (at % 3),
        raw=None if at % 2 else bytes([at]),
        ratio=None if at % 4 == 1 else at / 3,
    )
    for at in range(12)
]
_ATTRIBUTES = tuple(_Record.model_fields)


async def _everything(store: Backend) -> None:
    await store.execute(Ensure((EVERYTHING,)))
    if not await store.execute(CountDocuments(EVERYTHING)):
        await add(store, EVERYTHING, *ROWS)


async def _records(store: Backend) -> Repository[_Record]:
    records = Repository(_Record, store)
    await store.execute(Ensure((records.collection,)))
    if not await records.count():
        await add_entities(records, store, RECORDS)
    return records


class TestSelections(Contract):
    """What is selected is what is found, without the rest."""

    @laws
    @given(filters(EVERYTHING, ROWS), orders(EVERYTHING), COLUMNS, st.integers(1, 50))
    async def test_a_selection_is_the_columns_of_what_is_found(
        self,
        store: Backend,
        where: Filter,
        order: tuple[Order, ...],
        columns: tuple[str, ...],
        limit: int,
    ) -> None:
        """For each filter, order, limit and columns: the sort keys need not be among them."""
        await _everything(store)
        whole = Find(EVERYTHING, where, order, limit)
        found = await store.execute(whole)
        asked = Find(EVERYTHING, where, order, limit, columns=columns)
        part = await store.execute(asked)
        assert [*map(exact, part)] == [*map(exact, picked(asked, found))]
        assert all(tuple(each) == columns for each in part)

    @laws
    @given(
        filters(EVERYTHING, ROWS),
        st.lists(
            st.sampled_from(_FEW) | st.sampled_from(_TOLD), min_size=1, max_size=3, unique=True
        ),
        st.data(),
        st.integers(1, 50),
    )
    async def test_distinct_rows_are_those_of_python(
        self, store: Backend, where: Filter, columns: list[str], data: st.DataObject, limit: int
    ) -> None:
        """Each row once, in the order of some columns and at last of all, up to the limit."""
        await _everything(store)
        keys = st.builds(
            Order,
            st.sampled_from(columns),
            st.booleans(),
            st.sampled_from([None, "first", "last"]),
        )
        order = data.draw(st.lists(keys, max_size=2, unique_by=lambda key: key.field).map(tuple))
        op = Find(EVERYTHING, where, order, limit, columns=tuple(columns), distinct=True)
        found = await store.execute(op)
        rest = tuple(Order(name) for name in columns if name not in {key.field for key in order})
        total = Find(EVERYTHING, where, (*order, *rest), limit, columns=op.columns, distinct=True)
        expected = meant(total, filter(matches(where), ROWS))
        assert [*map(exact, found)] == [*map(exact, expected)]

    async def test_distinct_rows_of_long_texts_are_sorted_to_the_end(self, store: Backend) -> None:
        """Texts that agree in what is sorted are told apart, and whole ones decide."""
        head = "x" * SORTED_TEXT
        texts = [head + end for end in ("b", "a", "", "c", "ab", "b")]
        texts += [head[:-1], head[:-1] + "y", "", "a"]
        rows = [
            everything(id=identity(at * 7 % 101), text=text, number=at % 2)
            for at, text in enumerate([*texts, *texts, None])
        ]
        await add(store, EVERYTHING, *rows)
        for keys in ([], ["text"], ["-text"], ["number", "-text"]):
            order = parse_keys(keys)
            named = {key.field for key in order}
            rest = tuple(Order(name) for name in ("text", "number") if name not in named)
            for limit in (1, 3, 100):
                op = Find(EVERYTHING, ALL, order, limit, columns=("text", "number"), distinct=True)
                total = Find(
                    EVERYTHING, ALL, (*order, *rest), limit, columns=op.columns, distinct=True
                )
                assert await store.execute(op) == meant(total, rows), (keys, limit)

    async def test_a_long_text_that_is_not_selected_sorts_by_its_head(self, store: Backend) -> None:
        """The order is that of what is found also where the answer does not show the text."""
        head = "x" * SORTED_TEXT
        texts = (head + "b", head + "a", head[:-1], None, head, "a")
        rows = [
            everything(id=identity(9 - at), text=text, number=at) for at, text in enumerate(texts)
        ]
        await add(store, EVERYTHING, *rows)
        for keys in (["text"], ["-text"], [asc("text", nulls="last")]):
            order = parse_order(keys)
            found = await store.execute(Find(EVERYTHING, ALL, order))
            part = await store.execute(Find(EVERYTHING, ALL, order, columns=("number",)))
            assert [each["number"] for each in part] == [each["number"] for each in found]

    @laws
    @given(
        st.lists(st.sampled_from(_ATTRIBUTES), min_size=1, max_size=5, unique=True),
        st.sampled_from(["id", "-name", "value", "-taken", "grade", "-unit"]),
        st.integers(1, 15) | st.none(),
    )
    async def test_values_are_those_of_the_attributes(
        self, store: Backend, columns: list[str], key: str, limit: int | None
    ) -> None:
        """Decimals, aware instants, members of enums, models and lists, None: as `find` has them."""
        records = await _records(store)
        rows = await records.select(*columns, order=[key], limit=limit)
        page = await records.find(order=[key], limit=limit)
        expected = [{name: getattr(each, name) for name in columns} for each in page]
        assert rows == expected
        kinds = [[*map(type, each.values())] for each in rows]
        assert kinds == [[*map(type, each.values())] for each in expected]

    async def test_values_for_members_stay_values(self, store: Backend) -> None:
        """An entity that holds values in the place of members has them in its rows, too."""
        coded = Repository(_Coded, store)
        await store.execute(Ensure((coded.collection,)))
        await coded.add(_Coded(unit=_Unit.BEATS, grade=_Grade.HIGH))
        (row,) = await coded.select("unit", "grade")
        found = await coded.first()
        assert found is not None
        assert row == {"unit": found.unit, "grade": found.grade}
        assert [*map(type, row.values())] == [type(found.unit), type(found.grade)]

    async def test_rows_are_of_the_class_that_is_named(self, store: Backend) -> None:
        """A model, a dataclass and a NamedTuple, whose fields may have other names and defaults."""
        records = await _records(store)
        page = await records.find(F.unit == _Unit.BEATS, order=["-value"], limit=3)
        where, order = F.unit == _Unit.BEATS, ["-value"]
        models = await records.select(
            "name", F.value, where=where, order=order, limit=3, into=_Model
        )
        assert models == [_Model(name=each.name, value=each.value) for each in page]
        data = await records.select(
            "name", worth=_Record.value, where=where, order=order, limit=3, into=_Data
        )
        assert data == [_Data(each.name, each.value) for each in page]
        tuples = await records.select("id", where=where, order=order, limit=3, into=_Tuple)
        assert tuples == [_Tuple(each.id) for each in page]
        twice = await records.select("name", called="name", order=["name"], limit=1)
        assert twice == [{"name": "n0", "called": "n0"}]
        with pytest.raises(SchemaMismatchError, match="a row does not fit _Strict") as error:
            await records.select("name", into=_Strict)
        assert error.value.field == "name"
        assert "n0" not in str(error.value)

    async def test_all_rows_are_read_in_pages(self, store: Backend) -> None:
        """Pages of any size are one list, though the sort keys are no columns of it."""
        await _everything(store)
        order = parse_order(["-label", "number"])
        keys = ("label", "number", "id")
        whole = [each["data"] for each in await store.execute(Find(EVERYTHING, ALL, order))]
        for size in (1, 7, 50):
            query = Query(EVERYTHING, ALL, order, columns=("data", *keys))
            page = await read_all(store, query, lambda each: each["data"], size=size)
            assert list(page) == whole

    async def test_distinct_values_of_a_repository(self, store: Backend) -> None:
        """The units and grades that there are, with and without a limit."""
        records = await _records(store)
        order: list[str | Order] = [desc("unit", nulls="first"), "grade"]
        for limit in (100, None):
            rows = await records.select("grade", "unit", distinct=True, order=order, limit=limit)
            pairs = sorted({(each.unit or "~", each.grade) for each in RECORDS})
            pairs.sort(key=lambda pair: pair[0], reverse=True)
            assert [(row["unit"] or "~", row["grade"]) for row in rows] == pairs
        first = await records.select("unit", distinct=True, order=["unit"], limit=2)
        assert first == [{"unit": None}, {"unit": _Unit.BEATS}]

    @needs_transactions
    async def test_a_unit_selects_what_it_has_written(self, store: Backend) -> None:
        """Inside of a unit its own writes are seen, and nobody else sees them."""
        records = await _records(store)
        unit = await store.begin()
        inside = Repository(_Record, unit)
        await inside.add(_Record(name="new", tags=[]))
        assert await inside.select("name", where=F.name == "new") == [{"name": "new"}]
        names = await inside.select("name", distinct=True, where=F.name > "n2")
        assert names == [{"name": "n3"}, {"name": "new"}]
        await unit.rollback()
        assert await records.select("name", where=F.name == "new") == []

    async def test_a_selection_without_meaning_is_refused(self, store: Backend) -> None:
        """No column, one twice, an unknown one, another class's, rows that cannot be made: before any I/O."""
        nowhere = Repository(_Nowhere, store)  # its collection is not there: who asked would say so
        select = cast("Callable[..., Coroutine[Any, Any, Any]]", nowhere.select)
        wrong: tuple[tuple[tuple[object, ...], dict[str, object], str], ...] = (
            ((), {}, "no column"),
            (("name", "name"), {}, "the name 'name'"),
            (("name", F.name), {}, "the name 'name'"),
            (("value",), {"value": "name"}, "the name 'value'"),
            ((1,), {}, "not by a int"),
            ((_Record.name,), {}, "another entity"),
            (("name",), {"limit": 0}, "from 1 to 10000"),
            (("name",), {"limit": 10_001}, "from 1 to 10000"),
            (("name",), {"limit": True}, "from 1 to 10000"),
            (("name",), {"where": "name"}, "a filter is"),
            (("name",), {"order": ["data"]}, "has no order"),
            (("name",), {"distinct": 1}, "distinct is neither"),
            (("name",), {"distinct": True, "order": ["id"]}, "no column of the distinct rows"),
            (("value",), {"distinct": True}, "is float"),
            (("data",), {"distinct": True}, "is json"),
            (("name",), {"into": dict}, "cannot be made into dict"),
            (("name",), {"into": "Row"}, "cannot be made into str"),
            (("name",), {"into": _Nowhere}, "cannot be made into _Nowhere"),
            (("name",), {"into": _Model}, "_Model needs 'value'"),
            (("name", "value", "id"), {"into": _Model}, "_Model has no field 'id'"),
            (("name",), {"worths": "value", "into": _Data}, "no field 'worths'"),
            (("id",), {"into": _Data}, "no field 'id'"),
        )
        for columns, options, message in wrong:
            with pytest.raises(InvalidRequestError, match=message) as error:
                await select(*columns, **options)
            assert error.value.hint, message
            assert error.value.entity == "_Nowhere"
        for asked in (nowhere.select("nmae"), nowhere.select("name", other="nmae")):
            with pytest.raises(UnknownFieldError) as unknown:
                await asked
            assert "'name'" in (unknown.value.hint or "")
        ops = (
            Find(collection_of(_Nowhere), columns=()),
            Find(collection_of(_Nowhere), columns=("name", "name")),
            Find(collection_of(_Nowhere), distinct=True),
            Find(collection_of(_Nowhere), columns=("name",), distinct=True, after=("a",)),
        )
        for op in ops:
            with pytest.raises(InvalidRequestError):
                await store.execute(op)
