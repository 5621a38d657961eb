"""Lists unwound: one row for each element, which is then a key of groups and measured."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, cast

import pytest
from pydantic import Field, JsonValue

from healthstore.abc import Backend
from healthstore.entity import Entity, MaxLength
from healthstore.errors import InvalidRequestError, UnknownFieldError
from healthstore.model.evaluate import matches
from healthstore.model.ops import (
    Aggregate,
    Avg,
    Bucket,
    Count,
    CountDistinct,
    Ensure,
    Last,
    Max,
    Min,
    Percentile,
    Sum,
    Unwind,
)
from healthstore.model.query import F, Filter
from healthstore.model.values import FieldType, Json, Kind
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, proves
from healthstore.testing.contract._samples import add, add_entities
from healthstore.testing.contract._structured import STRUCTURED, structured

__all__ = ("TestUnwinding",)


class _Mood(StrEnum):
    """How somebody was."""

    CALM = "calm"
    TENSE = "tense"


class _Stress(Entity, collection="contract_stress"):
    triggers: list[str] | None = None
    short: list[Annotated[str, MaxLength(40)]] = Field(default_factory=list)
    doses: list[int] = Field(default_factory=list)
    ratios: list[float] | None = None
    marks: tuple[bool, ...] = ()
    moods: list[_Mood] = Field(default_factory=list)
    anything: list[JsonValue] = Field(default_factory=list)
    holes: list[str | None] = Field(default_factory=list)
    level: int = 0
    at: datetime = datetime(2026, 3, 28, tzinfo=UTC)


TEXTS = (
    *("", ",", '"', "'", "\\", "\n", " ", "a", "A", "a ", " a", "b", "ä", "a\u0308", "\U0001f600"),
    *("[1]", '{"a": 1}', "null", "true", "1", "1.0", "$a.b", "%s", "{0}", ":x", "\u2028"),
)
INTEGERS = (0, 1, -1, 2, 2**53, 2**53 + 1, 2**63 - 1, -(2**63))
FLOATS = (0.0, 1.0, -1.5, 0.1, 5e-324, 1e300, 1e16, 2.0**53, 1 / 3)
ROWS = [
    _Stress(
        triggers=None if at % 7 == 3 else [TEXTS[at * each * 5 % 26] for each in range(at % 6)],
        short=[TEXTS[(at + each) % 26] for each in range(at % 4)],
        doses=[INTEGERS[at * each % 8] for each in range(at % 5)],
        ratios=None if at % 5 == 1 else [FLOATS[at * each % 9] for each in range(at % 4)],
        marks=tuple(at * each % 3 == 0 for each in range(at % 3)),
        moods=[(_Mood.CALM, _Mood.TENSE)[at * each % 2] for each in range(at % 3)],
        level=at * 7 % 11,
        at=datetime(2026, 3, 28, tzinfo=UTC) + timedelta(hours=5 * at),
    )
    for at in range(40)
]
NAMES = ("triggers", "short", "doses", "ratios", "marks", "moods")


async def _stress(store: Backend) -> Repository[_Stress]:
    stress = Repository(_Stress, store)
    await store.execute(Ensure((stress.collection,)))
    await add_entities(stress, store, ROWS)
    return stress


def _unwound(name: str, rows: Sequence[_Stress] = tuple(ROWS)) -> list[tuple[Any, _Stress]]:
    return [(each, row) for row in rows for each in getattr(row, name) or ()]


class TestUnwinding(Contract):
    """An element of a list is a row, as often as it is there."""

    @proves("J8", "C1")
    @pytest.mark.parametrize("name", NAMES)
    async def test_each_element_is_a_row(self, store: Backend, name: str) -> None:
        """Texts by code point, numbers exactly; twice in a list counts twice, empty lists drop out."""
        stress = await _stress(store)
        found = await stress.aggregate(
            unwind=name, group=[name], n=Count(), levels=Sum("level"), distinct=CountDistinct("id")
        )
        rows = _unwound(name)
        assert found == [
            {
                name: value,
                "n": sum(each == value for each, _ in rows),
                "levels": sum(row.level for each, row in rows if each == value),
                "distinct": len({row.id for each, row in rows if each == value}),
            }
            for value in sorted({each for each, _ in rows})
        ]
        assert {type(row[name]) for row in found} == {
            type(min(each for each, _ in rows)) if name != "moods" else str
        }

    @pytest.mark.parametrize("name", [each for each in NAMES if each != "marks"])
    async def test_elements_are_measured(self, store: Backend, name: str) -> None:
        """Counted, told apart, and as their field would be: by other fields, and all together."""
        stress = await _stress(store)
        rows = _unwound(name)
        measures: Any = {
            "n": Count(),
            "least": Min(name),
            "most": Max(name),
            "kinds": CountDistinct(name),
        }
        (whole,) = await stress.aggregate(unwind=name, **measures)
        values = [each for each, _ in rows]
        assert whole == {
            "n": len(values),
            "least": min(values),
            "most": max(values),
            "kinds": len(set(values)),
        }
        by_level = await stress.aggregate(
            F.level > 2, unwind=name, group=["level"], n=Count(name), last=Last("at", by="at")
        )
        some = [row for _, row in rows if row.level > 2]
        assert by_level == [
            {
                "level": level,
                "n": sum(row.level == level for row in some),
                "last": max(row.at for row in some if row.level == level),
            }
            for level in sorted({row.level for row in some})
        ]

    async def test_numbers_of_elements_are_summed_and_ranked(self, store: Backend) -> None:
        """Sums, averages and percentiles of elements are those of numbers."""
        stress = await _stress(store)
        found = await stress.aggregate(
            F.level < 3,
            unwind="ratios",
            total=Sum("ratios"),
            mean=Avg("ratios"),
            median=Percentile("ratios", 0.5),
        )
        values = sorted(each for each, row in _unwound("ratios") if row.level < 3)
        assert found[0]["median"] == values[-(-len(values) // 2) - 1]
        assert found[0]["total"] == pytest.approx(sum(values))
        whole = await stress.aggregate(
            F.level < 3, unwind="marks", group=["marks"], days=CountDistinct("at"), n=Count()
        )
        rows = [(each, row) for each, row in _unwound("marks") if row.level < 3]
        assert [(row["marks"], row["n"]) for row in whole] == [
            (value, sum(each is value for each, _ in rows)) for value in (False, True)
        ]

    async def test_the_first_elements_are_sorted_by_the_database(self, store: Backend) -> None:
        """Having, order and limit are as of any key, beside buckets and other keys."""
        stress = await _stress(store)
        for name in ("triggers", "short", "doses"):
            everything = await stress.aggregate(unwind=name, group=[name], n=Count())
            top = await stress.aggregate(
                unwind=name, group=[name], n=Count(), having=F.n > 1, order=["-n"], limit=3
            )
            wanted = sorted(
                (row for row in everything if cast(int, row["n"]) > 1),
                key=lambda row: -cast(int, row["n"]),
            )
            assert top == wanted[:3]
            value = everything[2][name]
            some: Filter = F[name] > value
            above = await stress.aggregate(
                unwind=name, group=[name], n=Count(), having=some, limit=4
            )
            assert above == [row for row in everything if matches(some)(row)][:4]
        day = Bucket("at", "day", tz="Europe/Berlin")
        days = await stress.aggregate(unwind="moods", group=[day, "moods"], n=Count())
        assert sum(cast(int, row["n"]) for row in days) == len(_unwound("moods"))
        calm = await stress.aggregate(
            unwind="moods", group=["moods"], having=F.moods == _Mood.CALM, n=Count()
        )
        assert [row["moods"] for row in calm] == ["calm"]

    @proves("J1", "J7")
    async def test_elements_of_another_type_are_no_rows(self, store: Backend) -> None:
        """1 and 1.0 are one float, and true is none; null, lists, objects and no list are nothing."""
        lists: list[Json] = [
            [1, 1.0, True, "1", None, [1], {"a": 1}],
            [1.5, 2, "true", False, ["x"]],
            [],
            None,
            "ab",
            7,
            {"a": [1]},
            ["", "1", "x", "x"],
            [1e300, 2**53 + 1, 0],
        ]
        await add(store, STRUCTURED, *(structured(at, None, tags) for at, tags in enumerate(lists)))
        op = Aggregate(STRUCTURED, (Count(),), group=("tags",), names=("n",))
        wanted: tuple[tuple[Kind, dict[object, int]], ...] = (
            (Kind.TEXT, {"": 1, "1": 2, "true": 1, "x": 2}),
            (Kind.INTEGER, {0: 1, 1: 1, 2: 1, 2**53 + 1: 1}),
            (Kind.FLOAT, {0.0: 1, 1.0: 2, 1.5: 1, 2.0: 1, float(2**53): 1, 1e300: 1}),
            (Kind.BOOLEAN, {False: 1, True: 1}),
        )
        for kind, counts in wanted:
            rows = await store.execute(replace(op, unwind=Unwind("tags", FieldType(kind))))
            assert [(row.key, row.values) for row in rows] == [
                ((value,), (count,)) for value, count in counts.items()
            ], kind

    async def test_what_has_no_elements_of_one_type_is_refused(self, store: Backend) -> None:
        """Fields that are no lists, lists of anything, elements by their place: before any I/O."""
        missing = Repository(_Stress, store)  # its collection is not there: who asked would say so
        ask = cast("Callable[..., Coroutine[Any, Any, Any]]", missing.aggregate)
        wrong: tuple[tuple[dict[str, Any], type[InvalidRequestError], str], ...] = (
            ({"unwind": "level"}, InvalidRequestError, "is no list"),
            ({"unwind": "anything"}, InvalidRequestError, "is no list"),
            ({"unwind": "holes"}, InvalidRequestError, "is no list"),
            ({"unwind": "trigger"}, UnknownFieldError, "no field"),
            ({"unwind": 3}, InvalidRequestError, "named by a text"),
            ({"group": ["triggers"]}, InvalidRequestError, "cannot be grouped by"),
            (
                {"unwind": "doses", "group": ["triggers"]},
                InvalidRequestError,
                "cannot be grouped by",
            ),
            (
                {"unwind": "triggers", "x": Last("triggers", by="at")},
                InvalidRequestError,
                "elements",
            ),
            ({"unwind": "doses", "x": Last("at", by="doses")}, InvalidRequestError, "elements"),
            ({"unwind": "triggers", "x": Sum("triggers")}, InvalidRequestError, "no meaning"),
        )
        for options, kind, message in wrong:
            with pytest.raises(kind, match=message) as error:
                await ask(**{"n": Count(), **options})
            assert error.value.hint, message
            assert error.value.entity == "_Stress"
        rows = missing.aggregate_stream(
            group=["level"], n=Count(), **cast(Any, {"unwind": "doses"})
        )
        with pytest.raises(InvalidRequestError, match="takes no unwind"):
            await anext(rows)
