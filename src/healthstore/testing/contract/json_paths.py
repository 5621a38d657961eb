"""Paths into JSON: what a part is, and what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from math import inf, nan
from typing import cast

import pytest
from hypothesis import given

from healthstore.abc import Backend
from healthstore.errors import (
    BackendError,
    ConfigurationError,
    InvalidRequestError,
    Outcome,
    RefusedValueError,
)
from healthstore.model.ops import Aggregate, CountDocuments, Ensure, Find, Function, Measure
from healthstore.model.query import (
    MAX_KEY,
    MAX_PART_VALUES,
    MAX_PLACE,
    MAX_STEPS,
    F,
    FieldPart,
    Filter,
    Not,
    Operator,
    Part,
    Test,
)
from healthstore.model.schema import Check, Index
from healthstore.model.values import Document, Json
from healthstore.testing.contract._promises import Contract, laws, partly_needs, proves, refuses
from healthstore.testing.contract._samples import add, ids
from healthstore.testing.contract._structured import (
    KEYS,
    PATHS,
    ROWS,
    SCALARS,
    STRUCTURED,
    agrees,
    divides,
    filled,
    structured,
)
from healthstore.testing.strategies import part_filters

__all__ = ("TestJsonPaths",)

_ORDERED = (Operator.LT, Operator.LE, Operator.GT, Operator.GE)
_SEARCHED = (Operator.CONTAINS, Operator.STARTS, Operator.ENDS)
_NUMBERS = [
    each for each in SCALARS if isinstance(each, int | float) and not isinstance(each, bool)
]
_TEXTS = [each for each in SCALARS if isinstance(each, str)]


class _Unit(StrEnum):
    """A key as an enum's member."""

    KILOGRAM = "kg"


def _part(path: Sequence[str | int]) -> FieldPart:
    return FieldPart("data", None, Part(tuple(path)))


async def _kept(store: Backend, *data: object) -> list[Document]:
    """Add a document for each value, and return them."""
    rows = [structured(at, each) for at, each in enumerate(data)]
    await add(store, STRUCTURED, *rows)
    return rows


async def _refused(store: Backend, key: str) -> bool:
    """Tell whether the backend declares that it finds no such key; check that it refuses it."""
    if store.capabilities.hyphen_keys or not key.startswith("-"):
        return False
    for where in (F.data["x"][key] == 1, F.count.is_null() & ~F.tags[key].has(1)):
        await refuses(store, store.execute(CountDocuments(STRUCTURED, where)), "hyphen_keys")
        await refuses(store, store.execute(Find(STRUCTURED, where)), "hyphen_keys")
    return True


class TestJsonPaths(Contract):
    """A path means the same everywhere, whatever is stored at it."""

    @proves("V10", "J3", "J7")
    @pytest.mark.parametrize("path", PATHS)
    async def test_every_scalar_equals_what_python_says(
        self, store: Backend, path: tuple[str | int, ...]
    ) -> None:
        """== with a value of each type selects its equals of the same type; != all others."""
        await filled(store)
        for value in SCALARS if len(path) == 1 else SCALARS[::4]:
            await agrees(store, _part(path) == value)

    @proves("J7")
    @pytest.mark.parametrize("path", PATHS)
    async def test_every_order_is_one_of_numbers_or_of_texts(
        self, store: Backend, path: tuple[str | int, ...]
    ) -> None:
        """<, <=, > and >= hold within a type only: numbers exactly, texts by code point."""
        await filled(store)
        step = 1 if path == ("x",) else 5
        for operator in _ORDERED:
            for value in (*_NUMBERS[::step], *_TEXTS[::step]):
                await agrees(store, Test("data", operator, value, part=Part(path)))

    @proves("C5", "J7")
    @pytest.mark.parametrize("path", PATHS)
    async def test_text_is_searched_in_texts_only(
        self, store: Backend, path: tuple[str | int, ...]
    ) -> None:
        """Contains, startswith and endswith look into no number that would be written so."""
        await filled(store)
        for operator in _SEARCHED:
            for text in ("", "a", "1", "%", "_", "\\", "'", "\n", "é", "u"):
                await agrees(store, Test("data", operator, text, part=Part(path)))

    @proves("J4")
    @pytest.mark.parametrize("path", PATHS)
    async def test_null_and_missing_agree_with_the_reference(
        self, store: Backend, path: tuple[str | int, ...]
    ) -> None:
        """A null, nothing, either of them, and a value are told from one another at each path."""
        await filled(store)
        part = _part(path)
        tests = (part == None, part != None, part.is_null(), part.not_null(), part.is_missing())  # noqa: E711 - filters
        for where in tests:
            await agrees(store, where)

    @pytest.mark.parametrize("path", PATHS)
    async def test_lists_of_values_agree_with_the_reference(
        self, store: Backend, path: tuple[str | int, ...]
    ) -> None:
        """in_ and not_in hold each value against its own type, None among them."""
        await filled(store)
        part = _part(path)
        lists: tuple[tuple[Json, ...], ...] = (
            (),
            (None,),
            (True, 1, "1"),
            (False, None),
            SCALARS,
            tuple(_NUMBERS[::2]),
            (*_TEXTS[1::2], None),
            ([1], {"y": 1}, "a"),
        )
        for values in lists:
            await agrees(store, part.in_(values))
            await agrees(store, part.not_in(values))

    @proves("J3", "J8")
    @pytest.mark.parametrize("path", [("x",), ("x", "y"), ("x", 0), (0,)])
    async def test_lists_and_objects_are_equal_in_all_parts(
        self, store: Backend, path: tuple[str | int, ...]
    ) -> None:
        """Whatever the order of keys; 1 is 1.0 there too, true is not 1, and every digit counts."""
        await filled(store)
        values: tuple[object, ...] = (
            *([], {}, [1], [1.0], [True], ["a"], [None], [[]], {"y": None}, {"0": 1}, [{"y": 1}]),
            *([2**53 + 1], [2.0**53], {"y": 2**53 + 1}, {"y": float(2**53)}, [1, 2, "a"], ["1"]),
            *({"b": [1.0, {"c": 2}], "a": 1}, {"a": 1}, [2, 1, "a"], {"y": {"y": 1.0}}),
        )
        for value in values:
            await agrees(store, _part(path) == value)

    @proves("J7")
    async def test_json_number_on_text(self, store: Backend) -> None:
        """A number is compared with numbers; a text that looks like one is none, and no error."""
        rows = await _kept(
            store,
            *({"w": each} for each in (71, 70, "71", "heavy", None, True, [71], {"v": 71}, 70.5)),
        )
        await divides(store, rows, F.data["w"] > 70, [0, 8])
        await divides(store, rows, F.data["w"] == "71", [2])
        await divides(store, rows, F.data["w"].between(70, 70.5), [1, 8])

    @proves("J4")
    async def test_json_missing_is_not_null(self, store: Backend) -> None:
        """is_missing() and is_null() tell them apart; == None takes both."""
        rows = await _kept(store, {"x": None}, {}, None, {"x": 0}, {"x": {}}, [], "x", {"x": []})
        part = F.data["x"]
        await divides(store, rows, part.is_missing(), [1, 2, 5, 6])
        await divides(store, rows, part.is_null(), [0])
        await divides(store, rows, part.not_null(), [1, 2, 3, 4, 5, 6, 7])
        await divides(store, rows, part == None, [0, 1, 2, 5, 6])  # noqa: E711 - a filter
        await divides(store, rows, part["y"].is_missing(), list(range(8)))

    @proves("V10", "J7")
    async def test_json_text_is_no_bool(self, store: Backend) -> None:
        """True is neither "true" nor 1, and false neither 0 nor null nor missing."""
        rows = await _kept(
            store, *({"x": each} for each in (True, "true", 1, 1.0, False, 0, "false", None)), {}
        )
        part = F.data["x"]
        await divides(store, rows, part == True, [0])  # noqa: E712 - a filter
        await divides(store, rows, part.is_true(), [0])
        await divides(store, rows, part.is_false(), [4])
        await divides(store, rows, part == 1, [2, 3])
        await divides(store, rows, part == "true", [1])
        await divides(store, rows, part.in_([True, 0]), [0, 5])

    async def test_equal_filters_of_other_types_are_not_confused(self, store: Backend) -> None:
        """To Python True is 1: requests that differ in that alone are answered each by its own."""
        rows = await _kept(store, {"x": True}, {"x": 1}, {"x": 0}, {"x": False})
        for _ in range(2):
            for at, value in enumerate((True, 1, 0, False)):
                await divides(store, rows, F.data["x"] == value, [at])
                found = await store.execute(CountDocuments(STRUCTURED, F.data["x"].in_([value])))
                assert found == 1

    @proves("J1")
    async def test_numbers_are_compared_exactly(self, store: Backend) -> None:
        """An integer that no float is differs from the floats beside it, on either side."""
        rows = await _kept(
            store,
            *({"n": each} for each in (2**53, 2**53 + 1, 2.0**53, 2.0**53 + 2, 2**63 - 1, 2.0**63)),
        )
        part = F.data["n"]
        await divides(store, rows, part == 2**53, [0, 2])
        await divides(store, rows, part == 2**53 + 1, [1])
        await divides(store, rows, part < 2**53 + 1, [0, 2])
        await divides(store, rows, part >= 2**53 + 1, [1, 3, 4, 5])
        await divides(store, rows, part > 2**63 - 1, [5])
        await divides(store, rows, part < 2.0**63, [0, 1, 2, 3, 4])

    @proves("J5")
    @partly_needs("hyphen_keys")
    async def test_a_key_may_be_any_text(self, store: Backend) -> None:
        """Dots, quotes, dollars, backslashes, an empty key: each finds its own document only.

        Without the capability ``hyphen_keys`` one that begins with a hyphen is refused.
        """
        rows = await _kept(store, *({key: at, "z": -1} for at, key in enumerate(KEYS)))
        for at, key in enumerate(KEYS):
            if await _refused(store, key):
                continue
            await divides(store, rows, F.data[key] >= 0, [at])
            await divides(store, rows, F.data[key].not_in([at]) & F.data[key].is_missing(),
                          [each for each in range(len(KEYS)) if each != at])  # fmt: skip

    @proves("J5")
    @partly_needs("hyphen_keys")
    async def test_a_key_may_be_any_text_below_others(self, store: Backend) -> None:
        """The same of a key in an object in a list, where a path has a place, and for each test."""
        rows = await _kept(store, *({"x": [{key: {key: "v"}}]} for key in KEYS))
        for at, key in enumerate(KEYS):
            if await _refused(store, key):
                continue
            part = F.data["x"][0][key][key]
            await divides(store, rows, part == "v", [at])
            await divides(store, rows, part.startswith("v") & part.contains("v"), [at])

    @proves("J6")
    async def test_a_list_on_the_way_is_no_object(self, store: Backend) -> None:
        """A key leads into objects only, not into those in a list; a place into lists only."""
        rows = await _kept(
            store,
            {"a": {"b": 1}},
            {"a": [{"b": 1}]},
            [{"a": {"b": 1}}],
            {"a": {"b": [1]}},
            {"a": {"b": {"0": 1}}},
            {"a": [{"b": [{"0": 1}]}]},
            {"a": {"b": [{"0": 1}]}},
        )
        await divides(store, rows, F.data["a"]["b"] == 1, [0])
        await divides(store, rows, F.data["a"]["b"].is_missing(), [1, 2, 5])
        await divides(store, rows, F.data["a"]["b"][0] == 1, [3])
        await divides(store, rows, F.data["a"]["b"]["0"] == 1, [4])
        await divides(store, rows, F.data["a"][0]["b"] == 1, [1])
        await divides(store, rows, F.data[0]["a"]["b"] == 1, [2])

    @proves("J6")
    async def test_a_scalar_has_no_first_element(self, store: Backend) -> None:
        """Some databases read it as a list of one: a place in it is missing."""
        rows = await _kept(store, 5, "a", {"x": 5}, {"x": [5]}, [5], {"x": {"x": 5}})
        await divides(store, rows, F.data[0] == 5, [4])
        await divides(store, rows, F.data["x"][0] == 5, [3])
        await divides(store, rows, F.data["x"][0][0].is_missing(), list(range(6)))

    async def test_a_path_has_up_to_16_steps(self, store: Backend) -> None:
        """The deepest one is found; so is the last element of a list."""
        deep: Json = "here"
        for at in range(MAX_STEPS - 1, -1, -1):
            deep = {"k" * MAX_KEY: deep} if at % 8 else [0, deep]
        rows = await _kept(store, deep, {"x": list(range(50))})
        steps = tuple("k" * MAX_KEY if at % 8 else 1 for at in range(MAX_STEPS))
        await divides(store, rows, _part(steps) == "here", [0])
        await divides(store, rows, F.data["x"][49] == 49, [1])
        await divides(store, rows, F.data["x"][MAX_PLACE].is_missing(), [0, 1])

    @proves("J10")
    @partly_needs("deep_json")
    async def test_a_part_of_deep_json_is_found_or_the_filter_fails(self, store: Backend) -> None:
        """What is nested 60 levels deep hides nothing; without ``deep_json`` it is an error."""
        deep: Json = 1
        for _ in range(60):
            deep = [deep]
        rows = await _kept(store, {"a": deep, "x": 1}, {"x": 1}, {"x": 2}, {"a": {"b": 1}})
        tests: tuple[Filter, ...] = (
            F.data["x"] == 1,
            F.data["a"][0][0].size() == 1,
            F.data["a"].has(1),
        )
        if store.capabilities.deep_json:
            for where, wanted in zip(tests, ([0, 1], [0], []), strict=True):
                await divides(store, rows, where, wanted)
        else:
            for where in (*tests, *map(Not, tests)):
                with pytest.raises(BackendError) as error:
                    await store.execute(Find(STRUCTURED, where))
                assert error.value.hint

    async def test_a_key_may_be_a_member_of_an_enum(self, store: Backend) -> None:
        """It stands for its value, as in a document."""
        rows = await _kept(store, {"kg": 1}, {"KILOGRAM": 1})
        await divides(store, rows, F.data[_Unit.KILOGRAM] == 1, [0])

    @proves("C8")
    async def test_partition_law_over_json(self, store: Backend) -> None:
        """Each document satisfies exactly one of f and ~f, for each kind of test."""
        await filled(store)
        part = F.data["x"]
        tests: tuple[Filter, ...] = (
            *(part == 1, part != 1, part < "b", part.in_([1, None]), part.contains("a")),
            *(part.is_null(), part.not_null(), part.is_missing(), part.has("a"), part.size() == 1),
            *((part == 1) | (part["y"] > 0), (part != 1) & ~(part.size() > 0)),
        )
        for where in tests:
            await agrees(store, where)
            await agrees(store, ~where & (F.data["y"].is_missing() | (F.count == 3)))

    async def test_and_is_commutative(self, store: Backend) -> None:
        """The order of conditions changes no answer, also for two tests of one path."""
        await filled(store)
        part = F.data["x"]
        pairs: tuple[tuple[Filter, Filter], ...] = (
            (part >= 1, part <= 2),
            (part != 1, part.not_null()),
            (part.startswith("a"), ~part.endswith("b")),
            (part["y"].is_missing(), F.data[0] == None),  # noqa: E711 - a filter
        )
        for one, other in pairs:
            await agrees(store, one & other)
            await agrees(store, other & one)
            await agrees(store, one | ~other)
            await agrees(store, ~other | one)

    @laws
    @given(part_filters(STRUCTURED, ROWS))
    async def test_any_filter_of_parts_agrees_with_the_reference(
        self, store: Backend, where: Filter
    ) -> None:
        """Any combination of tests selects what the evaluator selects, and ~f the rest."""
        await agrees(await filled(store), where)

    async def test_a_count_and_an_aggregate_take_paths(self, store: Backend) -> None:
        """Whatever takes a filter takes one of a path, beside one of a field."""
        rows = [structured(at, {"w": at}, count=at % 3) for at in range(12)]
        await add(store, STRUCTURED, *rows)
        where = (F.data["w"] >= 4) & (F.count == 1) & ~(F.data["w"] == 7)
        assert await store.execute(CountDocuments(STRUCTURED, where)) == 2
        request = Aggregate(
            STRUCTURED, (Measure(Function.SUM, "count"),), where=F.data["w"] < 6, group=("count",)
        )
        groups = await store.execute(request)
        assert [group.values for group in groups] == [(0,), (2,), (4,)]

    async def test_a_path_that_has_no_meaning_is_refused(self, store: Backend) -> None:
        """Before any I/O, on all alike: the field is named, and what to write instead."""
        await store.execute(Ensure((STRUCTURED,)))
        part = F.data["x"]
        wrong: tuple[tuple[Filter, str], ...] = (
            (F.note["x"] == 1, "note"),
            (F.count[0] == 1, "count"),
            (F.data[-1] == 1, "data"),
            (F.data[MAX_PLACE + 1] == 1, "data"),
            (F.data[True] == 1, "data"),
            (F.data[cast(str, 1.5)] == 1, "data"),
            (F.data[cast(str, None)] == 1, "data"),
            (F.data["a\0b"] == 1, "data"),
            (F.data["\ud800"] == 1, "data"),
            (F.data["k" * (MAX_KEY + 1)] == 1, "data"),
            (_part(("x",) * (MAX_STEPS + 1)) == 1, "data"),
            (_part(()) == 1, "data"),
            (Test("data", Operator.IS_MISSING), "data"),
            (Test("note", Operator.IS_MISSING), "note"),
            (part < True, "data"),
            (part >= cast(str, [1]), "data"),
            (part > {}, "data"),
            (Test("data", Operator.EQ, nan, part=Part(("x",))), "data"),
            (part == inf, "data"),
            (part == 2**63, "data"),
            (part == "a\0", "data"),
            (part == b"x", "data"),
            (part == F.count, "data"),
            (part.contains(cast(str, 1)), "data"),
            (part.contains(cast(str, None)), "data"),
            (part.in_(range(MAX_PART_VALUES + 1)), "data"),
            (Test("data", Operator.IN, "abc", part=Part(("x",))), "data"),
            (Test("data", cast(Operator, "$where"), 1, part=Part(("x",))), "data"),
            (F.count == cast(int, part), "count"),
        )
        for where, name in wrong:
            for filter_ in (where, Not(where)):
                with pytest.raises(InvalidRequestError) as error:
                    await store.execute(CountDocuments(STRUCTURED, filter_))
                assert error.value.field == name, where
                assert error.value.hint
                assert error.value.outcome is Outcome.NOT_APPLIED
        with pytest.raises(RefusedValueError):
            await store.execute(Find(STRUCTURED, part.in_([nan])))

    async def test_a_definition_takes_no_path(self) -> None:
        """No check and no index of a part: refused where it is made, not where it is first kept."""
        for rule in (F.data["x"] == 1, F.tags.has("a"), F.tags.size() > 1, ~(F.data["x"] < 1)):
            with pytest.raises(ConfigurationError) as error:
                replace(STRUCTURED, checks=(Check("part", rule),))
            assert error.value.hint
            with pytest.raises(ConfigurationError) as error:
                replace(STRUCTURED, indexes=(Index("count", where=rule),))
            assert error.value.hint

    async def test_the_answer_of_a_path_is_the_whole_document(self, store: Backend) -> None:
        """A filter of a part changes nothing about what is returned."""
        rows = await _kept(store, {"x": {"y": 1.0, "z": [1, "a", None]}}, {"x": 1})
        found = await store.execute(Find(STRUCTURED, F.data["x"]["y"] == 1))
        assert found == (rows[0],)
        assert ids(found) == ids(rows[:1])
