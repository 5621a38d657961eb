"""Parts of JSON as values of one type: groups by them, measures of them, pages of such groups."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from pydantic import Field, JsonValue

from healthstore.abc import Backend
from healthstore.entity import Entity, collection_of, to_document
from healthstore.errors import InvalidRequestError, OutOfRangeError
from healthstore.model.evaluate import term_value
from healthstore.model.ops import (
    Avg,
    Count,
    CountDistinct,
    Ensure,
    First,
    Last,
    Max,
    Min,
    Percentile,
    Sum,
)
from healthstore.model.query import F, FieldTerm
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, proves
from healthstore.testing.contract._samples import add_entities

__all__ = ("TestGroupTerms",)


class _Sample(Entity, collection="contract_samples"):
    data: dict[str, JsonValue] | None = None
    tags: list[str] = Field(default_factory=list)
    rank: int = 0


_VALUES: tuple[Any, ...] = (
    *(1, 1.0, 2, 2.5, -1, 0, 2**53 + 1, 2.0**53, 2**63 - 1, 5e-324, 1e300, 1e16),
    *("", "a", "A", "a ", "ä", "a\u0308", "\U0001f600", "true", "1", "'", "%s", "$a"),
    *(True, False, None, [], [1], {}, {"x": 1}),
)
_ROWS = [
    _Sample(
        data=None if at == 17 else {"x": _VALUES[at % 31], "%s 'k'.": {"n": at % 7}, "w": at * 0.5},
        tags=["a", "b"][: at % 3],
        rank=at * 7 % 11,
    )
    for at in range(70)
] + [_Sample(data={"w": 3})]
_X = F.data["x"]
_NAMES = F.data["%s 'k'."]["n"].as_(int)
_TERMS: dict[str, FieldTerm] = {
    "int": _X.as_(int),
    "float": _X.as_(float),
    "str": _X.as_(str),
    "bool": _X.as_(bool),
    "odd names": _NAMES,
}


def _values(term: FieldTerm) -> list[Any]:
    return [term_value(to_document(each), term.term) for each in _ROWS]


def _rising(values: set[Any]) -> list[Any]:
    return sorted(values, key=lambda value: (value is not None, value if value is not None else 0))


async def _samples(store: Backend) -> Repository[_Sample]:
    samples = Repository(_Sample, store)
    await store.execute(Ensure((collection_of(_Sample),)))
    await add_entities(samples, store, _ROWS)
    return samples


class TestGroupTerms(Contract):
    """A part of JSON as a value of one type is a key of groups, and measured."""

    @proves("J11")
    @pytest.mark.parametrize("kind", [*_TERMS])
    async def test_a_part_is_a_key_of_groups(self, store: Backend, kind: str) -> None:
        """Values of other types are the group of None; the column is called by the path."""
        samples, term = await _samples(store), _TERMS[kind]
        name, values = str(term.term), _values(term)
        found = await samples.aggregate(
            group=[term], n=Count(), there=Count(term), ranks=Sum("rank")
        )
        wanted = [
            {
                name: key,
                "n": values.count(key),
                "there": 0 if key is None else values.count(key),
                "ranks": sum(
                    each.rank for each, value in zip(_ROWS, values, strict=True) if value == key
                ),
            }
            for key in _rising(set(values))
        ]
        assert found == wanted
        assert [type(each[name]) for each in found] == [type(each[name]) for each in wanted]

    @proves("J11")
    async def test_a_part_is_measured(self, store: Backend) -> None:
        """As a field of its type that may be None: summed, averaged, ranked, counted."""
        samples = await _samples(store)
        weight = F.data["w"].as_(float)
        known = [each for each in _values(weight) if each is not None]
        (row,) = await samples.aggregate(
            n=Count(weight),
            distinct=CountDistinct(weight),
            total=Sum(weight),
            mean=Avg(weight),
            least=Min(weight),
            most=Max(weight),
            p95=Percentile(weight, 0.95),
            names=Sum(_NAMES),
            first=First(weight, by="rank"),
            last=Last("rank", by=weight),
        )
        assert (row["n"], row["distinct"]) == (len(known), len(set(known)))
        assert (row["total"], row["mean"]) == (sum(known), sum(known) / len(known))
        assert (row["least"], row["most"]) == (min(known), max(known))
        assert row["p95"] == sorted(known)[-(-95 * len(known) // 100) - 1]
        assert row["names"] == sum(each for each in _values(_NAMES) if each is not None)
        by_rank = min(_ROWS, key=lambda each: (each.rank, each.id))
        assert row["first"] == term_value(to_document(by_rank), weight.term)
        places = zip(_values(weight), _ROWS, strict=True)
        heaviest = max((each for each in places if each[0] is not None), key=lambda each: each[0])[
            1
        ]
        assert row["last"] == heaviest.rank

    async def test_groups_of_parts_are_filtered_and_sorted(self, store: Backend) -> None:
        """By the path as text, as by the name of a field."""
        samples = await _samples(store)
        values = [each for each in _values(_X.as_(str)) if each is not None and each >= "a"]
        found = await samples.aggregate(
            group=[_X.as_(str)],
            having=F["data.x"] >= "a",
            order=["-n", "-data.x"],
            limit=3,
            n=Count(),
        )
        wanted = sorted(set(values), key=lambda key: (values.count(key), key), reverse=True)[:3]
        assert found == [{"data.x": key, "n": values.count(key)} for key in wanted]

    async def test_parts_are_grouped_beside_fields_and_elements(self, store: Backend) -> None:
        """With the elements of another list, and with a filter of the very part."""
        samples = await _samples(store)
        found = await samples.aggregate(
            _X.as_(float) > 0, unwind="tags", group=["tags", _X.as_(float)], n=Count()
        )
        pairs = [
            (tag, value)
            for each, value in zip(_ROWS, _values(_X.as_(float)), strict=True)
            for tag in each.tags
            if value is not None and value > 0
        ]
        assert found == [
            {"tags": tag, "data.x": value, "n": pairs.count((tag, value))}
            for tag, value in sorted(set(pairs))
        ]

    @pytest.mark.parametrize("kind", [*_TERMS])
    async def test_all_groups_of_a_part_come_in_pages(self, store: Backend, kind: str) -> None:
        """In order of their keys, None first, however small a page is."""
        samples, term = await _samples(store), _TERMS[kind]
        whole = await samples.aggregate(group=[term, "rank"], n=Count())
        for size in (1, 7):
            pages = samples.aggregate_stream(group=[term, "rank"], page_size=size, n=Count())
            assert [row async for row in pages] == whole

    async def test_a_sum_of_parts_beyond_its_type_is_refused(self, store: Backend) -> None:
        """With the path as text in the error, as the name of a field is."""
        samples = await _samples(store)
        await samples.add(_Sample(data={"x": 2**63 - 1}))
        with pytest.raises(OutOfRangeError) as error:
            await samples.aggregate(total=Sum(_X.as_(int)))
        assert error.value.field == "data.x"

    async def test_parts_without_meaning_are_refused(self, store: Backend) -> None:
        """Before any I/O: no type, another class's field, two types of one part, a sum of texts."""
        samples = await _samples(store)
        part: Any = _X
        calls: Sequence[Callable[[], Coroutine[Any, Any, object]]] = (
            lambda: samples.aggregate(group=[part], n=Count()),
            lambda: samples.aggregate(n=Sum(part)),
            lambda: samples.aggregate(n=Sum(_X.as_(str))),
            lambda: samples.aggregate(group=[F.rank["x"].as_(int)], n=Count()),
            lambda: samples.aggregate(group=[_X.as_(int)], n=Avg(_X.as_(float))),
            lambda: samples.aggregate(group=[_X.as_(int), _X.as_(int)], n=Count()),
            lambda: samples.aggregate(unwind="tags", group=[F.tags[0].as_(str)], n=Count()),
            lambda: samples.aggregate(group=["data.x"], n=Count()),
        )
        for call in calls:
            with pytest.raises(InvalidRequestError) as error:
                await call()
            assert error.value.hint
