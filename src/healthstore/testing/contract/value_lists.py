"""Lists of values in filters: of any length up to one maximum, and of every kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from math import inf, nextafter
from typing import cast
from uuid import UUID

import pytest

from healthstore.abc import Backend
from healthstore.errors import InvalidRequestError
from healthstore.model.decimals import of_units
from healthstore.model.ops import CountDocuments, Ensure, Find, Insert
from healthstore.model.query import (
    MAX_OPERAND_BYTES,
    MAX_VALUES,
    And,
    F,
    Filter,
    Operator,
    Or,
    Test,
)
from healthstore.model.values import Value
from healthstore.testing.contract._promises import Contract, proves
from healthstore.testing.contract._samples import (
    EDGES,
    EVERYTHING,
    PEOPLE,
    add,
    every_row,
    everything,
    identity,
    ids,
    person,
    selected,
)

__all__ = ("TestValueLists",)

ROWS = every_row(40)
FIRST = datetime(2020, 1, 1, tzinfo=UTC)
# A value for each number, none of them among the rows.
OTHERS: Mapping[str, Callable[[int], Value]] = {
    "text": lambda at: f"{chr(0x1F300 + at % 500)}'{at}\\",
    "label": lambda at: f'"{at}',
    "number": lambda at: 3_000_000_000_000 + at,
    "ratio": lambda at: (at + 7) / 7.3,
    "amount": lambda at: of_units(17 + at * 10**16, 10),
    "price": lambda at: of_units(17 + at * 10_007, 4),
    "moment": lambda at: FIRST + timedelta(microseconds=at * 86_400_000_001),
    "moment_ms": lambda at: FIRST + timedelta(milliseconds=at * 86_400_001),
    "day": lambda at: date(2030, 1, 1) + timedelta(days=at),
    "clock": lambda at: time(1, at % 60, at // 60 % 60, at),
    "span": lambda at: timedelta(microseconds=at * 977 + 13),
    "owner": lambda at: UUID(int=at * 0x0101_0101_0101_0101_0101_0101_0001 + 5),
    "blob": lambda at: at.to_bytes(3, "big") + b"\\'\x00",
}
SIZES = (0, 1, 64, 65, 1_000, 16_385, 32_769, 70_000, MAX_VALUES)


async def _filled(store: Backend) -> None:
    await add(store, EVERYTHING, *ROWS)


async def _agrees(store: Backend, where: Filter) -> None:
    wanted = ids(selected(ROWS, where))
    assert ids(await store.execute(Find(EVERYTHING, where))) == wanted


class TestValueLists(Contract):
    """A list means the same however long it is, and has one limit on every backend."""

    @pytest.mark.parametrize("field", OTHERS)
    async def test_a_long_list_of_each_kind_agrees_with_the_reference(
        self, store: Backend, field: str
    ) -> None:
        """A thousand values, every other edge among them, select what Python selects."""
        await _filled(store)
        others = tuple(OTHERS[field](at) for at in range(1_100))
        edges = EDGES[field]
        lists: tuple[tuple[Value, ...], ...] = (
            (*others, *edges[::2]),
            (*edges[1::2], *others[:70], None),
            others,
        )
        for values in lists:
            for operator in (Operator.IN, Operator.NOT_IN):
                await _agrees(store, Test(field, operator, values))
            await _agrees(store, ~Test(field, Operator.IN, values))

    async def test_a_long_list_is_compared_exactly(self, store: Backend) -> None:
        """The neighbours of a float, of an instant, of a text or of a number are not the value."""
        ratios = [at / 7.3 * 10.0 ** (at % 40 - 20) for at in range(1, 120)]
        texts = [f"{chr(at)}b" for at in range(0x60, 0x60 + 119)]
        rows = [
            everything(id=identity(at), ratio=ratio, text=text, number=2**53 + 2 * at)
            for at, (ratio, text) in enumerate(zip(ratios, texts, strict=True))
        ]
        await add(store, EVERYTHING, *rows)
        near: tuple[tuple[Filter, Filter], ...] = (
            (F.ratio.in_(ratios), F.ratio.in_([nextafter(each, inf) for each in ratios])),
            (F.text.in_(texts), F.text.in_([f"{each} " for each in texts])),
            (F.text.in_(texts), F.text.in_([each.swapcase() for each in texts if each.isascii()])),
            (
                F.number.in_(range(2**53, 2**53 + 240, 2)),
                F.number.in_(range(2**53 + 1, 2**53 + 240, 2)),
            ),
        )
        for exact, neighbours in near:
            assert await store.execute(CountDocuments(EVERYTHING, exact)) == len(rows)
            wanted = len(selected(rows, neighbours))
            assert await store.execute(CountDocuments(EVERYTHING, neighbours)) == wanted

    @proves("C9", "W7")
    async def test_a_list_of_any_length_up_to_the_maximum_is_answered(self, store: Backend) -> None:
        """From none to MAX_VALUES values: no backend has a limit of its own below."""
        await add(store, PEOPLE, *(person(at, number=at, team="a") for at in range(40)))
        for size in SIZES:
            numbers = range(30, 30 + size)
            count = await store.execute(CountDocuments(PEOPLE, F.number.in_(numbers)))
            assert count == min(size, 10), size
            count = await store.execute(CountDocuments(PEOPLE, F.number.not_in(numbers)))
            assert count == 40 - min(size, 10), size
        emails = [f"{at}@example.org" for at in range(35, 70_000)]
        assert await store.execute(CountDocuments(PEOPLE, F.email.in_(emails))) == 5
        identities = (*map(identity, range(32_769)), *ids(await store.execute(Find(PEOPLE)))[:3])
        assert await store.execute(CountDocuments(PEOPLE, F.id.in_(identities))) == 3

    @proves("W7")
    async def test_the_lists_of_a_filter_may_be_many(self, store: Backend) -> None:
        """A thousand lists in one filter, short and long, are answered together."""
        await add(store, PEOPLE, *(person(at, number=at, team="a") for at in range(40)))
        short = [
            And((F.visits == 0, F.number.in_(range(at * 60 + 5, at * 60 + 65))))
            for at in range(1_000)
        ]
        assert await store.execute(CountDocuments(PEOPLE, Or(tuple(short)))) == 35
        assert await store.execute(CountDocuments(PEOPLE, ~Or(tuple(short)))) == 5
        long = F.number.in_(range(20, 5_020)) & F.email.not_in(
            [f"{at}@example.org" for at in range(30, 3_030)]
        )
        assert await store.execute(CountDocuments(PEOPLE, long)) == 10

    async def test_a_list_beyond_the_maximum_is_refused(self, store: Backend) -> None:
        """One value more than MAX_VALUES, in one list or in two, is refused with another way."""
        await store.execute(Ensure((PEOPLE,)))
        half = F.number.in_(range(MAX_VALUES // 2))
        mistaken = F.number.in_(cast("list[int]", ["1"] * (MAX_VALUES + 1)))  # nobody looks at it
        long = F.number.in_(range(MAX_VALUES + 1))
        for where in (long, half & half & F.number.in_([1]), mistaken):
            with pytest.raises(InvalidRequestError) as error:
                await store.execute(CountDocuments(PEOPLE, where))
            assert str(MAX_VALUES) in error.value.message
            assert error.value.hint

    async def test_the_texts_of_a_filter_have_a_limit_in_bytes(self, store: Backend) -> None:
        """Just below MAX_OPERAND_BYTES a filter is answered, just above it is refused."""
        quotes = "'\\" * 500
        rows = [everything(id=identity(at), text=f"{at}{quotes}") for at in range(3)]
        await add(store, EVERYTHING, *rows)
        most = MAX_OPERAND_BYTES // 1_004
        texts = [f"{at:04}{quotes}" for at in range(most)]
        texts[:2] = [cast(str, row["text"]) + "" for row in rows[:2]]
        wide = "\U0001f600" * (MAX_OPERAND_BYTES // 4)
        enough: tuple[tuple[Filter, int], ...] = (
            (F.text.in_(texts), 2),
            (F.text.not_in(texts), 1),
            (F.text == wide, 0),
            (F.text.startswith(wide), 0),
            (~F.text.startswith("'" * MAX_OPERAND_BYTES), 3),
            (F.blob == b"'" * MAX_OPERAND_BYTES, 0),
        )
        for where, count in enough:
            assert await store.execute(CountDocuments(EVERYTHING, where)) == count
        excessive: tuple[Filter, ...] = (
            F.text.in_([*texts, quotes + "x" * 1_004]),
            F.text == wide + "abcd",
            F.text.startswith(wide) & (F.text != "abcd"),
            F.blob.in_([b"a", b"b" * MAX_OPERAND_BYTES]),
        )
        for where in excessive:
            with pytest.raises(InvalidRequestError) as error:
                await store.execute(CountDocuments(EVERYTHING, where))
            assert str(MAX_OPERAND_BYTES) in error.value.message
            assert (error.value.entity, bool(error.value.hint)) == ("Everything", True)

    async def test_long_lists_find_pages_and_survive_a_write(self, store: Backend) -> None:
        """A page by a long list goes on after the last key, and sees what was written."""
        rows = [person(at, id=identity(at), number=at, team="a") for at in range(10)]
        await add(store, PEOPLE, *rows)
        where = F.number.in_((*range(3, 9), *range(100, 5_000)))
        first = await store.execute(Find(PEOPLE, where, limit=4))
        await store.execute(Insert(PEOPLE, (person(11, id=identity(11), number=100, team="b"),)))
        rest = await store.execute(Find(PEOPLE, where, limit=4, after=(first[-1]["id"],)))
        found = [cast(int, row["number"]) for row in (*first, *rest)]
        assert found == [*range(3, 9), 100]
