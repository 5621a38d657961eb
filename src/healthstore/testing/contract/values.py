"""Values: what was written is read back equal, and what cannot be is refused everywhere."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import cast
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc import Backend
from healthstore.errors import InvalidRequestError, NotNullError, Outcome, RefusedValueError
from healthstore.model.ops import (
    Aggregate,
    CountDocuments,
    Ensure,
    Find,
    Get,
    Insert,
    Max,
    Patch,
    Replace,
    Sum,
)
from healthstore.model.query import F, Filter, Operator, Test
from healthstore.model.schema import Collection, Field
from healthstore.model.values import Document, FieldType, Kind, Value
from healthstore.testing.contract._promises import Contract, laws, needs_transactions, proves
from healthstore.testing.contract._samples import (
    EDGES,
    EVERYTHING,
    LARGE,
    PEOPLE,
    SPELLINGS,
    add,
    canonical,
    everything,
    exact,
    ids,
    one,
    person,
    stored,
    typed,
)
from healthstore.testing.strategies import documents

__all__ = ("TestValues",)


class _Level(Enum):
    LOW = "low"


def _deep(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


# (field, value): each is refused by every backend, in every place where a value stands.
REFUSED: tuple[tuple[str, object], ...] = (
    ("text", 5), ("text", b"a"), ("text", "a\x00b"), ("text", "\ud800"), ("text", _Level.LOW),
    ("label", "x" * 101), ("label", "\U0001f600" * 101), ("label", "x" * 100 + " "),
    ("number", True), ("number", 1.0), ("number", "1"), ("number", 2**63), ("number", -(2**63) - 1),
    ("number", Decimal(1)),
    ("flag", 1), ("flag", 0), ("flag", "true"),
    ("ratio", float("nan")), ("ratio", float("inf")), ("ratio", float("-inf")), ("ratio", "0.1"),
    ("ratio", True), ("ratio", Decimal("0.1")), ("ratio", 2**53 + 1),
    ("amount", 0.1), ("amount", "1"), ("amount", Decimal("NaN")), ("amount", Decimal("Infinity")),
    ("amount", Decimal("1E-11")), ("amount", Decimal("1E18")), ("amount", True),
    ("price", Decimal("0.00001")), ("price", Decimal(100_000_000)),
    ("moment", datetime(2026, 1, 1)),  # noqa: DTZ001 - a naive instant is what must be refused
    ("moment", date(2026, 1, 1)), ("moment", "2026-01-01T00:00:00Z"), ("moment", 0),
    ("moment", datetime(1, 1, 1, 23, tzinfo=UTC)), ("moment", datetime(9999, 12, 31, tzinfo=UTC)),
    ("moment_ms", datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
    ("day", datetime(2026, 1, 1, tzinfo=UTC)), ("day", date(1, 1, 1)), ("day", date(9999, 12, 31)),
    ("day", "2026-01-01"),
    ("clock", time(1, tzinfo=UTC)), ("clock", "01:00"), ("clock", timedelta(hours=1)),
    ("span", timedelta.max), ("span", timedelta.min), ("span", 5),
    ("owner", "123e4567-e89b-42d3-a456-426614174000"), ("owner", b"0" * 16), ("owner", 1),
    ("blob", "a"), ("blob", [1]),
    ("data", {1: "a"}), ("data", {"a": float("nan")}), ("data", [2**63]), ("data", {"a": "\x00"}),
    ("data", {"\x00": 1}), ("data", ["\ud800"]), ("data", {"a": {1, 2}}), ("data", Decimal(1)),
    ("data", datetime(2026, 1, 1, tzinfo=UTC)), ("data", _deep(65)), ("data", object()),
    ("level", "LOW"), ("level", "none"), ("level", 1),
)  # fmt: skip


REFUSED_FIELDS = tuple(dict.fromkeys(field for field, _ in REFUSED))


WHOLE = Collection(
    "contract_whole",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("total", FieldType(Kind.DECIMAL, digits=12, places=0)),
    ),
    entity="Whole",
)


class TestValues(Contract):
    """Values come back as they were written, or are refused before any I/O."""

    @proves("V1", "V4", "V5", "V6", "V7", "V10", "V17", "V18", "V19", "J1", "J5", "D7")
    @pytest.mark.parametrize("field", EDGES)
    async def test_every_edge_of_a_kind_comes_back_exactly(
        self, store: Backend, field: str
    ) -> None:
        """The extremes of each kind, and values close to each other, are read back unchanged."""
        rows = [everything(**{field: deepcopy(edge)}) for edge in EDGES[field]]
        await add(store, EVERYTHING, *rows)
        got = await store.execute(Get(EVERYTHING, ids(rows)))
        kept = [row[field] if row else "missing" for row in got]
        assert [typed(value) for value in kept] == [typed(value) for value in EDGES[field]]

    @proves("D7")
    @pytest.mark.parametrize("field", EDGES)
    async def test_find_gives_the_same_values_as_get(self, store: Backend, field: str) -> None:
        """A document read by a filter has exactly the values of one read by its id."""
        rows = [everything(**{field: edge}) for edge in EDGES[field]]
        await add(store, EVERYTHING, *rows)
        by_id = await store.execute(Get(EVERYTHING, ids(rows)))
        found = {row["id"]: row for row in await store.execute(Find(EVERYTHING))}
        assert [exact(row) for row in by_id] == [exact(found[row["id"]]) for row in rows]

    @proves("V2", "V6", "J1", "J2")
    @laws
    @given(st.lists(documents(EVERYTHING), min_size=1, max_size=5))
    async def test_any_document_comes_back_exactly(
        self, store: Backend, rows: list[Document]
    ) -> None:
        """Documents with any portable values of all kinds are read back unchanged."""
        fresh = [{**row, "id": uuid4()} for row in rows]
        await add(store, EVERYTHING, *fresh)
        got = await store.execute(Get(EVERYTHING, ids(fresh)))
        assert [exact(row) for row in got] == [exact(row) for row in fresh]

    async def test_null_comes_back_as_none(self, store: Backend) -> None:
        """A document may have no value in any of its nullable fields."""
        row = everything()
        await add(store, EVERYTHING, row)
        assert await one(store, EVERYTHING, row) == row

    @proves("V17", "W7")
    @pytest.mark.parametrize("field", LARGE)
    async def test_a_large_value_comes_back_exactly(self, store: Backend, field: str) -> None:
        """A value of a megabyte is kept like a small one."""
        row = everything(**{field: LARGE[field]})
        await add(store, EVERYTHING, row)
        got = await one(store, EVERYTHING, row)
        assert got is not None
        assert got[field] == LARGE[field]

    @proves("V3", "V12", "J2", "C12")
    @pytest.mark.parametrize(("field", "given_value", "kept"), SPELLINGS)
    async def test_two_spellings_of_one_value_are_kept_as_one(
        self, store: Backend, field: str, given_value: object, kept: Value
    ) -> None:
        """An instant moves to UTC, -0.0 becomes 0.0, a decimal takes the declared places."""
        row = everything(**{field: given_value})
        await add(store, EVERYTHING, row)
        got = await one(store, EVERYTHING, row)
        assert got is not None
        assert typed(got[field]) == typed(kept)
        replaced = {**row, "version": 2}
        await store.execute(Replace(EVERYTHING, (replaced,)))
        got = await one(store, EVERYTHING, row)
        assert got is not None
        assert typed(got[field]) == typed(kept)

    @proves("V1", "V2", "V5", "V6")
    @pytest.mark.parametrize("field", [name for name in EDGES if name != "data"])
    async def test_replaced_and_patched_values_come_back_exactly(
        self, store: Backend, field: str
    ) -> None:
        """A value is kept the same way whether it was added, replaced or patched."""
        row = everything()
        await add(store, EVERYTHING, row)
        for edge in EDGES[field]:
            await store.execute(Replace(EVERYTHING, ({**row, field: edge},)))
            got = await one(store, EVERYTHING, row)
            assert got is not None
            assert typed(got[field]) == typed(edge)
            await store.execute(Patch(EVERYTHING, ids([row]), sets=((field, None),)))
            (after,) = await store.execute(Patch(EVERYTHING, ids([row]), sets=((field, edge),)))
            assert after is not None
            assert typed(after[field]) == typed(edge)
            assert exact(await one(store, EVERYTHING, row)) == exact(after)

    @proves("J1", "J5")
    async def test_json_is_kept_the_same_way_by_every_write(self, store: Backend) -> None:
        """A JSON value is kept the same way whether it was added, replaced or patched."""
        row = everything()
        await add(store, EVERYTHING, row)
        for edge in EDGES["data"]:
            (after,) = await store.execute(Patch(EVERYTHING, ids([row]), sets=(("data", edge),)))
            assert after is not None
            assert typed(after["data"]) == typed(edge)
            await store.execute(Replace(EVERYTHING, ({**row, "data": edge},)))
            got = await one(store, EVERYTHING, row)
            assert got is not None
            assert typed(got["data"]) == typed(edge)

    @proves("V20")
    async def test_what_is_read_or_given_is_a_copy(self, store: Backend) -> None:
        """Changing a document after writing or reading it changes nothing in the store."""
        given_data: dict[str, object] = {"list": [1], "object": {"a": 1}}
        row = person(profile=given_data)
        await add(store, PEOPLE, row)
        given_data["list"] = "changed"
        row["name"] = "changed"
        first = await one(store, PEOPLE, row)
        assert first is not None
        profile = cast("dict[str, list[int]]", first["profile"])
        assert typed(profile) == typed({"list": [1], "object": {"a": 1}})
        profile["list"].append(2)
        first["name"] = "changed"
        again = await one(store, PEOPLE, row)
        assert again is not None
        assert again["name"] is None
        assert typed(again["profile"]) == typed({"list": [1], "object": {"a": 1}})

    @proves("V1", "V3", "V4", "V6", "V7", "V8", "V10", "V11", "V13", "V14", "V15", "V19", "J10")
    @pytest.mark.parametrize("field", REFUSED_FIELDS)
    async def test_a_value_that_is_not_portable_is_refused_before_any_write(
        self, store: Backend, field: str
    ) -> None:
        """A wrong type or a value out of range is refused by name, whatever the operation."""
        row = everything()
        await add(store, EVERYTHING, row)
        for value in (value for name, value in REFUSED if name == field):
            refused = (
                Insert(EVERYTHING, (everything(**{field: value}),)),
                Replace(EVERYTHING, (cast(Document, {**row, field: value}),)),
                Patch(EVERYTHING, ids([row]), sets=((field, cast(Value, value)),)),
            )
            for op in refused:
                with pytest.raises(RefusedValueError) as error:
                    await store.execute(op)
                assert (error.value.entity, error.value.field) == ("Everything", field)
                assert error.value.outcome is Outcome.NOT_APPLIED
        assert await stored(store, EVERYTHING) == [row]

    @proves("V3", "V8", "V10", "V11")
    @pytest.mark.parametrize(
        "field",
        # A text to compare with may be longer than the field, and JSON is never compared.
        [field for field in REFUSED_FIELDS if field not in {"data", "label"}],
    )
    async def test_a_filter_with_a_value_of_the_wrong_type_is_refused(
        self, store: Backend, field: str
    ) -> None:
        """A comparison with a value that the field can never hold is an error, not an answer."""
        await store.execute(Ensure((EVERYTHING,)))
        for operand in (cast(Value, value) for name, value in REFUSED if name == field):
            tests: list[Filter] = [
                Test(field, Operator.EQ, operand),
                Test(field, Operator.IN, (None, operand)),
            ]
            if EVERYTHING.field(field).type.ordered:
                tests.append(~Test(field, Operator.LT, operand))
            for where in tests:
                with pytest.raises(RefusedValueError) as error:
                    await store.execute(CountDocuments(EVERYTHING, where))
                assert (error.value.entity, error.value.field) == ("Everything", field)

    @proves("V6")
    async def test_whole_decimals_come_back_in_plain_digits(self, store: Backend) -> None:
        """A Decimal without places has one form, so its digest is the same everywhere."""
        await store.execute(Ensure((WHOLE,)))
        written = [Decimal(text) for text in ("0", "-1", "10000", "1E+5", "123400000")]
        keys = tuple(uuid4() for _ in written)
        for key, value in zip(keys, written, strict=True):
            await store.execute(Insert(WHOLE, ({"id": key, "version": 1, "total": value},)))
        found = await store.execute(Get(WHOLE, keys))
        assert [str(row["total"]) for row in found if row] == [
            "0",
            "-1",
            "10000",
            "100000",
            "123400000",
        ]
        measures = (Sum("total"), Max("total"))
        (total,) = await store.execute(Aggregate(WHOLE, measures))
        assert [str(value) for value in total.values] == ["123509999", "123400000"]

    async def test_a_field_without_order_is_not_compared_by_order(self, store: Backend) -> None:
        """Backends do not agree on the order of bytes, so nobody is asked for it."""
        await store.execute(Ensure((EVERYTHING,)))
        for operator in (Operator.LT, Operator.LE, Operator.GT, Operator.GE):
            with pytest.raises(InvalidRequestError) as error:
                await store.execute(CountDocuments(EVERYTHING, Test("blob", operator, b"x")))
            assert (error.value.entity, error.value.field) == ("Everything", "blob")

    @proves("W6")
    @needs_transactions
    async def test_one_refused_value_refuses_the_whole_request(self, store: Backend) -> None:
        """No document of a request is kept when a value of another one is refused."""
        await store.execute(Ensure((PEOPLE,)))
        rows = (person(1), person(2), person(3, number=2**64))
        with pytest.raises(RefusedValueError):
            await store.execute(Insert(PEOPLE, rows))
        assert await stored(store, PEOPLE) == []

    @proves("C10")
    async def test_a_missing_or_unknown_field_is_refused(self, store: Backend) -> None:
        """A document has exactly the fields of its collection."""
        await store.execute(Ensure((PEOPLE,)))
        without = person(1)
        del without["name"]
        for wrong in (without, {**person(2), "nmae": "Ann"}):
            with pytest.raises(InvalidRequestError) as error:
                await store.execute(Insert(PEOPLE, (wrong,)))
            assert error.value.entity == "Person"
        assert "'name'" in error.value.hint
        assert await stored(store, PEOPLE) == []

    @proves("C10", "T15")
    async def test_a_required_field_must_have_a_value(self, store: Backend) -> None:
        """None in a field that is not nullable is refused in every write."""
        row = person(1)
        await add(store, PEOPLE, row)
        refused = (
            Insert(PEOPLE, (person(2, email=None),)),
            Replace(PEOPLE, ({**row, "email": None},)),
            Patch(PEOPLE, ids([row]), sets=(("email", None),)),
        )
        for op in refused:
            with pytest.raises(NotNullError) as error:
                await store.execute(op)
            assert (error.value.entity, error.value.field) == ("Person", "email")
        assert await stored(store, PEOPLE) == [row]

    @proves("V3", "V12")
    async def test_a_value_is_found_by_any_of_its_spellings(self, store: Backend) -> None:
        """A filter's value is made canonical like a stored one."""
        for field, given_value, kept in SPELLINGS:
            if field == "data":
                continue
            assert canonical(EVERYTHING, field, given_value) == kept
            row = everything(**{field: given_value})
            await add(store, EVERYTHING, row)
            where = Test(field, Operator.EQ, cast(Value, given_value)) & (F.id == row["id"])
            assert ids(await stored(store, EVERYTHING, where)) == ids([row])

    @proves("V18")
    async def test_ids_are_plain_uuids(self, store: Backend) -> None:
        """An id and every other UUID comes back as uuid.UUID, not as a driver's own class."""
        row = everything(owner=UUID(int=5))
        await add(store, EVERYTHING, row)
        (got,) = await store.execute(Find(EVERYTHING))
        assert (type(got["id"]), type(got["owner"])) == (UUID, UUID)
