"""Parts of JSON as columns of a selection, and as what an order, pages and groups go by."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, cast

import pytest
from pydantic import JsonValue

from healthstore.abc import Backend
from healthstore.entity import Entity
from healthstore.errors import BackendError, InvalidRequestError, UnknownFieldError
from healthstore.model.evaluate import leading, picked, selected, sort_documents
from healthstore.model.ops import Ensure, Find, Leading, Origin
from healthstore.model.query import (
    ALL,
    F,
    FieldOrTerm,
    FieldTerm,
    Filter,
    Nulls,
    Order,
    SortKey,
    Term,
    asc,
    desc,
    field,
    parse_order,
)
from healthstore.model.values import SORTED_TEXT, Document, Json, Kind
from healthstore.repository import Repository
from healthstore.repository.cursors import Position, Query, write_position
from healthstore.repository.pages import read_page
from healthstore.testing.contract._promises import Contract, partly_needs, proves
from healthstore.testing.contract._samples import add, add_entities, exact, ids
from healthstore.testing.contract._structured import (
    KEYS,
    PATHS,
    ROWS,
    STRUCTURED,
    filled,
    structured,
)

__all__ = ("TestPathColumns",)

_TYPES: Mapping[str, type[int | float | str | bool]] = {
    each.__name__: each for each in (int, float, str, bool)
}
_NULLS: tuple[Nulls | None, ...] = (None, "first", "last")
_MOST = 1_000
_HEAD = "x" * SORTED_TEXT


class _Reading(Entity, collection="contract_path_readings"):
    code: str
    data: JsonValue = None


class _Other(Entity, collection="contract_other_paths"):
    data: JsonValue = None


class _Row(NamedTuple):
    code: str
    unit: object = None
    weight: float | None = None


READINGS = [
    _Reading(code=f"r{at}", data=data)
    for at, data in enumerate(
        cast(
            "list[JsonValue]",
            [
                {"unit": "kg", "weight": 80.5, "ok": True},
                {"unit": "kg", "weight": 81, "ok": False, "where": {"city": "Bonn"}},
                {"unit": "lb", "weight": 170},
                {"unit": None, "weight": "heavy"},
                {"unit": ["kg"], "weight": None},
                {},
                None,
                "kg",
                {"unit": "kg", "weight": 80.5, "ok": True},
            ],
        )
    )
]


async def _readings(store: Backend) -> Repository[_Reading]:
    readings = Repository(_Reading, store)
    await store.execute(Ensure((readings.collection,)))
    await add_entities(readings, store, READINGS)
    return readings


def _term(path: tuple[str | int, ...], kind: str) -> FieldTerm:
    part: Any = F.data
    for step in path:
        part = part[step]
    return cast(FieldTerm, part.as_(_TYPES[kind]))


async def _walked(
    store: Backend, orders: tuple[Order, ...], size: int, where: Filter = ALL
) -> tuple[list[Document], list[Document]]:
    """Return what pages of a size hold, forth, and back from the last one."""
    query = Query(STRUCTURED, where, orders)

    def same(document: Document) -> Document:
        return document

    pages = [await read_page(store, query, size, same, token=None, stale=False)]
    while (token := pages[-1].next) is not None:
        pages.append(await read_page(store, query, size, same, token=token, stale=False))
    forth = [each for page in pages for each in page]
    back = [*pages[-1]]
    before = pages[-1].previous
    while before is not None:
        page = await read_page(store, query, size, same, token=before, stale=False)
        back = [*page, *back]
        before = page.previous
    return forth, back


class TestPathColumns(Contract):
    """A part of JSON is a column like any other: selected, told apart, sorted by, grouped by."""

    @proves("J1")
    async def test_a_part_is_selected_as_it_is_stored(self, store: Backend) -> None:
        """Whatever is there, of the very type: 1 stays int, 1.0 float; missing is None."""
        await filled(store)
        columns: tuple[FieldOrTerm, ...] = (
            "count",
            *(Term("data", path, Kind.JSON) for path in PATHS),
            "id",
        )
        op = Find(STRUCTURED, ALL, limit=_MOST, columns=columns)
        found = await store.execute(op)
        wanted = picked(op, sorted(ROWS, key=lambda each: cast(Any, each["id"])))
        assert [*map(exact, found)] == [*map(exact, wanted)]

    async def test_a_term_is_selected_as_a_value_of_its_type(self, store: Backend) -> None:
        """Each type of one part beside the others, in the order in which they are asked for."""
        await filled(store)
        for path in PATHS[:5]:
            columns = tuple(_term(path, kind).term for kind in _TYPES)
            op = Find(STRUCTURED, ALL, limit=_MOST, columns=columns)
            found = await store.execute(op)
            wanted = picked(op, sorted(ROWS, key=lambda each: cast(Any, each["id"])))
            assert [*map(exact, found)] == [*map(exact, wanted)]
            assert [*found[0]] == [each.key for each in columns]

    async def test_any_key_is_a_column(self, store: Backend) -> None:
        """No key is a part of the language of a statement, or of an answer."""
        keys = [each for each in KEYS if store.capabilities.hyphen_keys or not each.startswith("-")]
        await add(store, STRUCTURED, structured(1, {key: at for at, key in enumerate(keys)}))
        for start in range(0, len(keys), 8):
            some = keys[start : start + 8]
            terms = [
                *(Term("data", (key,), Kind.JSON) for key in some),
                *(Term("data", (key,), Kind.INTEGER) for key in some),
            ]
            order = (Order.by(terms[-1]), Order("id"))
            (row,) = await store.execute(Find(STRUCTURED, ALL, order, columns=tuple(terms)))
            assert [*row.values()] == [*range(start, start + len(some))] * 2

    @proves("C3", "J7")
    @pytest.mark.parametrize("kind", [*_TYPES])
    async def test_a_term_sorts_as_a_field_of_its_type(self, store: Backend, kind: str) -> None:
        """Numbers by size, texts by code point, false before true; what is of another type is None."""
        await filled(store)
        for path in PATHS[:4]:
            for make in (asc, desc):
                for nulls in _NULLS:
                    orders = parse_order([make(_term(path, kind), nulls=nulls), "-count"])
                    found = await store.execute(Find(STRUCTURED, ALL, orders, _MOST))
                    assert ids(found) == ids(sort_documents(ROWS, orders)), orders

    async def test_terms_and_fields_sort_together(self, store: Backend) -> None:
        """Several terms, of one part and of others, with a filter, a limit and other columns."""
        await filled(store)
        x = F.data["x"]
        orders = parse_order([desc(x.as_(float), nulls="last"), x.as_(str), "-count", x.as_(bool)])
        wanted = sort_documents(ROWS, orders)
        for limit in (1, 7, 100):
            found = await store.execute(Find(STRUCTURED, ALL, orders, limit))
            assert ids(found) == ids(wanted[:limit])
            op = Find(STRUCTURED, ALL, orders, limit, columns=("id", "note"))
            assert ids(await store.execute(op)) == ids(wanted[:limit])
        op = Find(STRUCTURED, x.is_missing(), orders, _MOST)
        assert ids(await store.execute(op)) == ids(
            each for each in wanted if not _has_x(each["data"])
        )

    @proves("C7")
    @pytest.mark.parametrize("kind", [*_TYPES])
    async def test_pages_by_a_term_are_the_whole_list(self, store: Backend, kind: str) -> None:
        """Forth and back, across nulls and ties: numbers that are one double are one place."""
        values: list[object] = [
            *(2**53, 2**53 + 1, 2.0**53, 1, 1.0, None, None, "a", "b", "a", True, False, True),
            *(2.0**63, 1e300, 5e-324, [1], {"n": 1}, -1, "a ", "A", "\uffff", "\U0001f600"),
        ]
        rows = [
            structured(at * 7 % 31 + 1, {"n": value}, count=at % 2)
            for at, value in enumerate(values)
        ]
        rows.append(structured(40))
        await add(store, STRUCTURED, *rows)
        for make in (asc, desc):
            for nulls in _NULLS:
                orders = parse_order([make(_term(("n",), kind), nulls=nulls), "-count"])
                wanted = sort_documents(rows, orders)
                for size in (1, 2, 5, 24):
                    forth, back = await _walked(store, orders, size)
                    assert ids(forth) == ids(wanted), (orders, size)
                    assert ids(back) == ids(wanted), (orders, size)

    async def test_a_position_holds_the_value_of_the_term(self, store: Backend) -> None:
        """It is the one that any other backend writes, and leads on from there."""
        rows = [structured(at, {"n": value}) for at, value in enumerate((3, 1.5, "a", None, 1))]
        await add(store, STRUCTURED, *rows)
        orders = parse_order([desc(F.data["n"].as_(float), nulls="first")])
        query = Query(STRUCTURED, ALL, orders)
        page = await read_page(store, query, 3, lambda each: each, token=None, stale=False)
        here = Origin(page.source)
        third = sort_documents(rows, orders)[2]
        assert page.next == write_position(query, Position.of(query, third, here))
        other = Query(STRUCTURED, ALL, parse_order([desc(F.data["n"].as_(int), nulls="first")]))
        with pytest.raises(InvalidRequestError):
            await read_page(store, other, 3, lambda each: each, token=page.next, stale=False)

    async def test_long_texts_of_a_part_sort_by_their_heads(self, store: Backend) -> None:
        """As those of a field do: of texts that begin alike the next key decides, on pages, too."""
        texts = [_HEAD + end for end in ("b", "a", "", "c")]
        texts += [_HEAD[:-1], _HEAD[:-1] + "y", "", "a"]
        rows = [structured(9 - at, {"t": text}, count=at) for at, text in enumerate(texts)]
        await add(store, STRUCTURED, *rows)
        term = F.data["t"].as_(str)
        for key in (asc(term), desc(term)):
            orders = parse_order([key])
            wanted = sort_documents(rows, orders)
            assert ids(await store.execute(Find(STRUCTURED, ALL, orders))) == ids(wanted)
            part = await store.execute(Find(STRUCTURED, ALL, orders, columns=("count",)))
            assert [each["count"] for each in part] == [each["count"] for each in wanted]
            for size in (1, 3):
                forth, back = await _walked(store, orders, size)
                assert (ids(forth), ids(back)) == (ids(wanted), ids(wanted))
            told = Find(STRUCTURED, ALL, (key,), columns=(term.term,), distinct=True)
            assert await store.execute(told) == selected(told, rows)
            first = Leading(STRUCTURED, (term.term,), 1, ALL, orders)
            assert ids(await store.execute(first)) == ids(leading(first, rows))

    @pytest.mark.parametrize("kind", ["int", "str", "bool"])
    async def test_distinct_rows_of_terms_are_those_of_python(
        self, store: Backend, kind: str
    ) -> None:
        """Each value once, None among them, beside a field and another term, in any order."""
        await filled(store)
        x, y = _term(("x",), kind), _term(("x", "y"), kind)
        asked: tuple[tuple[tuple[FieldOrTerm, ...], tuple[Order, ...]], ...] = (
            ((x.term,), ()),
            ((x.term, y.term), (desc(y),)),
            ((x.term, "count", y.term), (asc(x, nulls="last"), desc("count"))),
        )
        for columns, order in asked:
            for limit in (3, _MOST):
                op = Find(STRUCTURED, ALL, order, limit, columns=columns, distinct=True)
                rest = (Order.by(each) for each in columns)
                by = {each.column for each in order}
                total = (*order, *(each for each in rest if each.column not in by))
                wanted = Find(STRUCTURED, ALL, total, limit, columns=columns, distinct=True)
                found = await store.execute(op)
                assert [*map(exact, found)] == [*map(exact, selected(wanted, ROWS))], op

    async def test_distinct_rows_and_the_latest_take_filters_of_parts(self, store: Backend) -> None:
        """What is not in the answer is tested all the same."""
        rows = [structured(at, {"n": at}, count=at % 3) for at in range(12)]
        await add(store, STRUCTURED, *rows)
        where = F.data["n"].in_([1, 4, 5])
        op = Find(STRUCTURED, where, (), columns=("count",), distinct=True)
        assert await store.execute(op) == ({"count": 1}, {"count": 2})
        last = Leading(STRUCTURED, ("count",), 1, where, (Order("id", descending=True),))
        assert ids(await store.execute(last)) == (rows[4]["id"], rows[5]["id"])

    @pytest.mark.parametrize("kind", [*_TYPES])
    async def test_the_latest_of_terms_is_that_of_python(self, store: Backend, kind: str) -> None:
        """Groups by a term, the first of each by another one; None is a group, and the oldest."""
        await filled(store)
        x, y = _term(("x",), kind), _term(("x", "y"), "float")
        for first in (1, 3):
            for order in ((desc(x), Order("id")), (desc(y), asc("count"), Order("id"))):
                for per in ((x.term,), ("count",), ("count", x.term)):
                    op = Leading(STRUCTURED, per, first, ALL, order, _MOST)
                    assert ids(await store.execute(op)) == ids(leading(op, ROWS)), op

    async def test_a_repository_selects_parts_by_their_names(self, store: Backend) -> None:
        """A part's key is its text unless it is named; rows may be of a class."""
        readings = await _readings(store)
        rows = await readings.select(
            "code", F.data["unit"], F.data["where"]["city"], order=["code"], limit=3
        )
        assert rows == [
            {"code": "r0", "data.unit": "kg", "data.where.city": None},
            {"code": "r1", "data.unit": "kg", "data.where.city": "Bonn"},
            {"code": "r2", "data.unit": "lb", "data.where.city": None},
        ]
        weight = F.data["weight"].as_(float)
        tuples = await readings.select(
            "code",
            unit=F.data["unit"],
            weight=weight,
            order=[desc(weight), "code"],
            limit=None,
            into=_Row,
        )
        assert tuples[:4] == [
            _Row("r2", "lb", 170.0),
            _Row("r1", "kg", 81.0),
            _Row("r0", "kg", 80.5),
            _Row("r8", "kg", 80.5),
        ]
        assert [each.weight for each in tuples[4:]] == [None] * 5
        assert [each.unit for each in tuples[4:]] == [None, ["kg"], None, None, None]
        units = await readings.select(
            unit=F.data["unit"].as_(str), distinct=True, order=[F.data["unit"].as_(str)]
        )
        assert units == [{"unit": None}, {"unit": "kg"}, {"unit": "lb"}]
        both = await readings.select(
            whole=F.data["weight"].as_(int), real=weight, any=F.data["weight"], order=["code"]
        )
        assert both[1] == {"whole": 81, "real": 81.0, "any": 81}
        assert both[3] == {"whole": None, "real": None, "any": "heavy"}

    async def test_a_repository_sorts_by_parts(self, store: Backend) -> None:
        """In find, first, last, stream and latest; pages of any size are one list."""
        readings = await _readings(store)
        weight = F.data["weight"].as_(float)
        wanted = ["r2", "r1", "r0", "r8", "r3", "r4", "r5", "r6", "r7"]
        order: list[SortKey] = [desc(weight), "code"]
        assert [each.code for each in await readings.find(order=order)] == wanted
        assert [each.code async for each in readings.stream(order=order, page_size=2)] == wanted
        page = await readings.find(order=order, limit=4)
        page = await readings.find(order=order, limit=4, after=page.next)
        assert [each.code for each in page] == wanted[4:8]
        page = await readings.find(order=order, limit=4, after=page.previous)
        assert [each.code for each in page] == wanted[:4]
        smallest = await readings.first(weight.not_null(), order=[weight, "code"])
        largest = await readings.last(order=[weight])
        assert (smallest and smallest.code, largest and largest.code) == ("r0", "r2")
        heaviest = await readings.latest(per=[F.data["unit"].as_(str)], by=weight)
        assert [each.code for each in heaviest[1:]] == ["r1", "r2"]
        plan = await readings.explain(weight > 4_711, order=order)
        assert plan.sort
        assert "4711" not in f"{plan.statement} {plan.native}"

    @proves("J10")
    @partly_needs("deep_json")
    async def test_a_column_of_deep_json_is_found_or_the_request_fails(
        self, store: Backend
    ) -> None:
        """What lies beside JSON of 60 levels is no null; without ``deep_json`` it is an error."""
        deep: Json = 1
        for _ in range(60):
            deep = [deep]
        await add(store, STRUCTURED, structured(1, {"a": deep, "x": 1}), structured(2, {"x": 2}))
        term = F.data["x"].as_(int)
        order = (desc(term), Order("id"))
        asked = (
            Find(STRUCTURED, ALL, order),
            Find(STRUCTURED, columns=(term.term,)),
            Find(STRUCTURED, columns=(Term("data", ("x",), Kind.JSON),)),
            Find(STRUCTURED, ALL, (), columns=(term.term,), distinct=True),
        )
        if store.capabilities.deep_json:
            found = [await store.execute(each) for each in asked]
            assert [len(each) for each in found] == [2, 2, 2, 2]
            assert [*found[1][0].values()] == [*found[2][0].values()] == [1]
        else:
            for each in asked:
                with pytest.raises(BackendError) as error:
                    await store.execute(each)
                assert error.value.hint

    async def test_a_column_or_an_order_without_meaning_is_refused(self, store: Backend) -> None:
        """Before any I/O: a part of no JSON, of another entity, an order of no type, a name twice."""
        readings = Repository(
            _Reading, store
        )  # its collection is not there: who asked would say so
        select = cast("Callable[..., Coroutine[Any, Any, Any]]", readings.select)
        unit, weight = F.data["unit"], F.data["weight"]
        wrong: tuple[tuple[Sequence[object], dict[str, object]], ...] = (
            ((F.code["x"],), {}),
            ((F.data[-1],), {}),
            ((F.data["a\0"],), {}),
            ((F.data.size(),), {}),
            ((field(_Other.data)["unit"],), {}),
            ((field(_Other.data)["unit"].as_(str),), {}),
            ((unit, unit), {}),
            ((weight, weight.as_(float)), {}),
            ((unit,), {"code": "code", "data.unit": "id"}),
            ((unit,), {"distinct": True}),
            ((weight.as_(float),), {"distinct": True}),
            ((unit.as_(str),), {"distinct": True, "order": ["code"]}),
            ((unit.as_(str),), {"distinct": True, "order": [unit.as_(int)]}),
            (("code",), {"order": [unit]}),
            (("code",), {"order": [desc(weight.as_(float)), weight.as_(float)]}),
            (("code",), {"order": [F.code["x"].as_(int)]}),
            (("code",), {"order": unit.as_(str)}),
            # An option's name is no name of a column.
            (("code",), {"where": unit}),
            (("code",), {"order": unit}),
            (("code",), {"limit": unit}),
            (("code",), {"distinct": unit}),
            (("code",), {"into": unit}),
        )
        for columns, options in wrong:
            with pytest.raises(InvalidRequestError) as error:
                await select(*columns, **options)
            assert error.value.hint, (columns, options)
        with pytest.raises(UnknownFieldError):
            await select(F.nothing["x"])
        for columns in ((Term("data", ("x",), Kind.UUID),), (Term("data", (), Kind.JSON),)):
            with pytest.raises(InvalidRequestError) as error:
                await store.execute(Find(STRUCTURED, columns=columns))
            assert error.value.field == "data"
        for kind in (Kind.JSON, Kind.BYTES):
            by = Order.by(Term("data", ("x",), kind))
            with pytest.raises(InvalidRequestError) as error:
                await store.execute(Find(STRUCTURED, ALL, (by,)))
            assert error.value.field == "data"


def _has_x(data: object) -> bool:
    return isinstance(data, dict) and "x" in data
