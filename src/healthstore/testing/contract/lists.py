"""Lists: the elements that they have, and how many."""

from __future__ import annotations

from typing import cast

import pytest

from healthstore.abc import Backend
from healthstore.errors import InvalidRequestError, Outcome
from healthstore.model.ops import CountDocuments, Ensure
from healthstore.model.query import (
    MAX_ELEMENTS,
    MAX_PART_VALUES,
    F,
    Filter,
    Not,
    Operator,
    Part,
    Test,
)
from healthstore.model.values import Json
from healthstore.testing.contract._promises import Contract, proves
from healthstore.testing.contract._samples import add
from healthstore.testing.contract._structured import (
    STRUCTURED,
    agrees,
    divides,
    filled,
    structured,
)

__all__ = ("TestLists",)

_SOUGHT: tuple[Json, ...] = (
    *("a", "b", "A", "a ", "", 'q"t', ",", "\U0001f600", "1", "true", "a\nb", "\\", "'", "missing"),
    *(1, 1.0, 0, 2**53, 2**53 + 1, 2.0**53, 5e-324, 1e300, 2**63 - 1, 2**63 - 2, 2, True, False),
)
_SIZES = (0, 1, 2, 3, 5, -1, 2**63 - 1, -(2**63))


class TestLists(Contract):
    """A list is asked for its elements, by their values and types, and for its size."""

    @proves("J8")
    async def test_has_finds_an_element_of_the_same_type(self, store: Backend) -> None:
        """Numbers exactly, texts by code point; what is in an element, or no list, is not found."""
        await filled(store)
        for value in _SOUGHT:
            await agrees(store, F.tags.has(value))
            await agrees(store, F.data["list"].has(value))

    @proves("J8")
    async def test_has_any_and_has_all_agree_with_the_reference(self, store: Backend) -> None:
        """Of several values of several types, in a field and at a path, through a list as well."""
        await filled(store)
        lists: tuple[tuple[Json, ...], ...] = (
            *((), ("a",), ("a", "b"), ("b", "missing"), (1, "a"), (True, 1), (1.0, True, "true")),
            *(_SOUGHT, ("a", "a", "a"), (0, False), (2**53, 2**53 + 1)),
        )
        for values in lists:
            for part in (F.tags, F.data["list"], F.data["x"][0]):
                await agrees(store, part.has_any(values))
                await agrees(store, part.has_all(values))

    async def test_no_values_are_had_by_none_and_by_all(self, store: Backend) -> None:
        """has_any([]) is false, has_all([]) true: also of None and of what is no list."""
        rows = [structured(at, None, tags) for at, tags in enumerate((None, [], ["a"], "a"))]
        await add(store, STRUCTURED, *rows)
        await divides(store, rows, F.tags.has_any([]), [])
        await divides(store, rows, F.tags.has_all([]), [0, 1, 2, 3])

    async def test_many_values_are_looked_for(self, store: Backend) -> None:
        """Up to 1,000 at once, one of which is there, or all."""
        some: Json = [f"tag {at}" for at in range(0, 600, 2)]
        rows = [structured(1, None, some), structured(2, None, ["tag 999"]), structured(3)]
        await add(store, STRUCTURED, *rows)
        every = [f"tag {at}" for at in range(MAX_PART_VALUES)]
        await divides(store, rows, F.tags.has_any(every), [0, 1])
        await divides(store, rows, F.tags.has_all(every[:600:2]), [0])
        await divides(store, rows, F.tags.has_all(every[:300]), [])

    async def test_all_tests_of_a_filter_look_for_so_many(self, store: Backend) -> None:
        """1,000 elements in several tests are answered; one more is refused before any I/O."""
        rows = [structured(1, None, ["a", 1, "b"]), structured(2, None, ["a"])]
        await add(store, STRUCTURED, *rows)
        many = [f"tag {at}" for at in range(MAX_ELEMENTS // 2 - 1)]
        where = F.tags.has_any([*many, "b"]) & ~F.data["x"].has_any([*many, 1])
        await divides(store, rows, where, [0])
        with pytest.raises(InvalidRequestError, match=f"more than {MAX_ELEMENTS}") as refused:
            await store.execute(CountDocuments(STRUCTURED, where & ~F.tags.has("tag")))
        assert refused.value.outcome is Outcome.NOT_APPLIED
        assert "tag" not in str(refused.value)

    @proves("J8")
    async def test_size_is_compared_as_a_number(self, store: Backend) -> None:
        """With every operator that a number has, at a field and at a path."""
        await filled(store)
        sizes = (F.tags.size(), F.data["list"].size(), F.data["x"].size(), F.data["x"][0].size())
        for size in sizes:
            for wanted in _SIZES:
                for where in (
                    *(size == wanted, size != wanted, size < wanted, size <= wanted),
                    *(size > wanted, size >= wanted),
                ):
                    await agrees(store, where)
            await agrees(store, size.in_([1, 3, None]))
            await agrees(store, size.not_in([0, 2]))
            await agrees(store, size.between(1, 2))

    async def test_the_size_of_no_list_is_none(self, store: Backend) -> None:
        """Of None, a scalar, an object and what is missing: compared as a field that is None."""
        values: tuple[Json, ...] = (None, [], [1, 2], {"a": 1}, "ab", 7)
        rows = [structured(at, {"t": tags}, tags) for at, tags in enumerate(values)]
        await add(store, STRUCTURED, *rows)
        for size in (F.tags.size(), F.data["t"].size()):
            await divides(store, rows, size >= 0, [1, 2])
            await divides(store, rows, ~(size >= 0), [0, 3, 4, 5])
            await divides(store, rows, size != 2, [0, 1, 3, 4, 5])
            await divides(store, rows, size == None, [0, 3, 4, 5])  # noqa: E711 - a filter
            await divides(store, rows, size.is_null(), [0, 3, 4, 5])
            await divides(store, rows, size.not_null(), [1, 2])
        await divides(store, rows, F.data["no"].size().is_null(), list(range(6)))

    async def test_elements_and_sizes_without_a_meaning_are_refused(self, store: Backend) -> None:
        """Elements of no list, sizes that are no numbers, elements that are no scalars."""
        await store.execute(Ensure((STRUCTURED,)))
        size = F.tags.size()
        wrong: tuple[tuple[Filter, str], ...] = (
            (F.note.has("a"), "note"),
            (F.count.has_any([1]), "count"),
            (F.note.size() > 1, "note"),
            (F.tags.has(cast(str, None)), "tags"),
            (F.tags.has(cast(str, ["a"])), "tags"),
            (F.tags.has(cast(str, {})), "tags"),
            (F.tags.has(float("nan")), "tags"),
            (F.tags.has(cast(str, b"a")), "tags"),
            (F.tags.has_all(["a", cast(str, None)]), "tags"),
            (Test("tags", Operator.HAS_ANY, "abc"), "tags"),
            (size == "2", "tags"),
            (size > 2.5, "tags"),
            (size == True, "tags"),  # noqa: E712 - a filter
            (size == 2**63, "tags"),
            (size == F.count, "tags"),
            (size.contains("1"), "tags"),
            (Test("tags", Operator.HAS, "a", part=Part(size=True)), "tags"),
            (Test("tags", Operator.IS_MISSING, part=Part(size=True)), "tags"),
            (F.tags == ["a"], "tags"),
        )
        for where, name in wrong:
            for filter_ in (where, Not(where)):
                with pytest.raises(InvalidRequestError) as error:
                    await store.execute(CountDocuments(STRUCTURED, filter_))
                assert error.value.field == name, where
                assert error.value.hint
                assert error.value.outcome is Outcome.NOT_APPLIED
