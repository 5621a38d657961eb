"""Filters, orders and positions: one meaning, in every form."""

from __future__ import annotations

from itertools import product
from operator import and_, eq, ge, gt, le, lt, ne, or_
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthstore.errors import InvalidRequestError
from healthstore.model.evaluate import matches, sort_documents
from healthstore.model.query import (
    ALL,
    MAX_ELEMENTS,
    MAX_VALUES,
    NONE,
    And,
    F,
    Filter,
    Not,
    Operator,
    Or,
    Order,
    OtherField,
    Test,
    after,
    asc,
    fields_in,
    normalise,
    parse_order,
    require_moderate,
    walk,
)
from healthstore.model.schema import Collection, Field
from healthstore.model.values import Document, FieldType, Kind, Value
from healthstore.testing.strategies import filters, orders

_FIELDS = {
    "a": FieldType(Kind.INTEGER),
    "b": FieldType(Kind.TEXT),
    "c": FieldType(Kind.BOOLEAN),
    "d": FieldType(Kind.ENUM, choices=("x", "y")),
    "e": FieldType(Kind.INTEGER),
}
_KEY = (Field("id", FieldType(Kind.UUID)), Field("version", FieldType(Kind.INTEGER)))
NULLABLE = Collection(
    "nullable", (*_KEY, *(Field(name, kind, nullable=True) for name, kind in _FIELDS.items()))
)
REQUIRED = Collection("required", (*_KEY, *(Field(name, kind) for name, kind in _FIELDS.items())))
MIXED = Collection(
    "mixed",
    (*_KEY, *(Field(name, kind, nullable=name in "ab") for name, kind in _FIELDS.items())),
)
COLLECTIONS = (NULLABLE, REQUIRED, MIXED)


def rows(collection: Collection) -> list[Document]:
    """Return documents with all combinations of a few values, and nulls where they may be."""
    values: dict[str, tuple[Value, ...]] = {
        "a": (0, 1),
        "b": ("", "a", "é"),
        "c": (True, False),
        "d": ("x", "y"),
        "e": (0, 1, 2),
    }
    each = [(*some, None) if collection.nullable(name) else some for name, some in values.items()]
    return [
        {"id": UUID(int=at), "version": 1, **dict(zip(values, chosen, strict=True))}
        for at, chosen in enumerate(product(*each))
    ]


ROWS = {collection.name: rows(collection) for collection in COLLECTIONS}
cases = st.one_of(
    [
        st.tuples(st.just(collection), filters(collection, ROWS[collection.name]))
        for collection in COLLECTIONS
    ]
)


def selected(collection: Collection, where: Filter) -> list[Value]:
    """Return the ids of the rows that satisfy a filter."""
    return [row["id"] for row in ROWS[collection.name] if matches(where)(row)]


def strictly(test: Test, document: Document) -> bool:
    """Evaluate a test of a normal form as a database does: no test of null holds."""
    if document[test.field] is None:
        return test.operator is Operator.IS_NULL
    if isinstance(test.operand, OtherField) and document[test.operand.name] is None:
        return False
    return matches(test)(document)


def database(where: Filter, document: Document) -> bool:
    """Evaluate a normal form with :func:`strictly`."""
    if isinstance(where, Test):
        return strictly(where, document)
    assert not isinstance(where, Not), "a normal form has no negation"
    held = (database(item, document) for item in where.items)
    return all(held) if isinstance(where, And) else any(held)


@settings(max_examples=300)
@given(cases)
def test_the_normal_form_means_the_same(case: tuple[Collection, Filter]) -> None:
    """A normal form selects what the filter selects, for fields that may be null and others."""
    collection, where = case
    normal = normalise(where, collection.nullable)
    assert selected(collection, normal) == selected(collection, where)


@settings(max_examples=300)
@given(cases)
def test_the_normal_form_needs_no_null_logic(case: tuple[Collection, Filter]) -> None:
    """A database in which no test of null holds, except ``is null``, gives the same answer."""
    collection, where = case
    normal = normalise(where, collection.nullable)
    found = [row["id"] for row in ROWS[collection.name] if database(normal, row)]
    assert found == selected(collection, where)


@given(cases)
def test_a_normal_form_stays_as_it_is(case: tuple[Collection, Filter]) -> None:
    """Normalising twice is normalising once, in meaning."""
    collection, where = case
    normal = normalise(where, collection.nullable)
    again = normalise(normal, collection.nullable)
    assert selected(collection, again) == selected(collection, normal)


@given(cases)
def test_constants_are_folded(case: tuple[Collection, Filter]) -> None:
    """A normal form is ALL, NONE, or contains neither."""
    collection, where = case
    normal = normalise(where, collection.nullable)
    pending = [] if normal in {ALL, NONE} else [normal]
    while pending:
        node = pending.pop()
        assert node not in {ALL, NONE}
        if isinstance(node, And | Or):
            pending.extend(node.items)


@given(cases)
def test_a_filter_and_its_negation_divide_the_rows(case: tuple[Collection, Filter]) -> None:
    """Each row satisfies exactly one of f and ~f, and their normal forms agree."""
    collection, where = case
    holds = selected(collection, normalise(where, collection.nullable))
    fails = selected(collection, normalise(~where, collection.nullable))
    every = [row["id"] for row in ROWS[collection.name]]
    assert sorted([*holds, *fails], key=str) == sorted(every, key=str)


_PYTHON = dict(
    zip(
        (Operator.EQ, Operator.NE, Operator.LT, Operator.LE, Operator.GT, Operator.GE),
        (eq, ne, lt, le, gt, ge),
        strict=True,
    )
)


@given(
    st.sampled_from(COLLECTIONS),
    st.sampled_from(sorted(_PYTHON)),
    st.sampled_from([("a", "e"), ("e", "a"), ("a", "a"), ("e", "e")]),
)
def test_two_fields_are_compared_as_python_compares(
    collection: Collection, operator: Operator, fields: tuple[str, str]
) -> None:
    """None equals None; an order needs two values; the negation holds for all other rows."""
    one, other = fields
    test = Test(one, operator, OtherField(other))
    for row in ROWS[collection.name]:
        values = row[one], row[other]
        equality = operator in {Operator.EQ, Operator.NE}
        wanted = (equality or None not in values) and _PYTHON[operator](*values)
        assert matches(test)(row) is wanted
        assert database(normalise(test, collection.nullable), row) is wanted
        assert matches(~test)(row) is not wanted
        assert database(normalise(~test, collection.nullable), row) is not wanted


def test_a_filter_names_the_fields_of_both_sides() -> None:
    """What a filter looks at is told once each, however it is combined."""
    where = (F.a >= F.e) & ~((F.b == "x") | (F.e == F.a))
    assert fields_in(where) == {"a", "b", "e"}
    assert (F.a >= F.e) == Test("a", Operator.GE, OtherField("e"))
    assert F.a.between(F.e, 3) == And((F.a >= F.e, F.a <= 3))


@settings(max_examples=200)
@given(orders(NULLABLE), st.integers(0, len(ROWS["nullable"]) - 1))
def test_after_is_what_follows(order: tuple[Order, ...], at: int) -> None:
    """The documents after a position are those that come later in the sorted list."""
    ordered = sort_documents(ROWS["nullable"], order)
    position = tuple(ordered[at][key.field] for key in order)
    follows = matches(normalise(after(order, position), NULLABLE.nullable))
    assert [row for row in ordered if follows(row)] == ordered[at + 1 :]


def test_orders_are_total() -> None:
    """A descending key begins with a minus; id ends every order unless it is there."""
    assert parse_order([]) == (Order("id"),)
    wanted = (Order("a", descending=True), Order("b"), Order("id"))
    assert parse_order(["-a", "b"]) == wanted
    assert parse_order(["-id"]) == (Order("id", descending=True),)


def test_operators_make_filters() -> None:
    """F.name compared, combined and negated gives the filter that it reads as."""
    where = (F.a > 1) & ~(F["b"] == "x") | F.c.in_([True, None])
    a, b = Test("a", Operator.GT, 1), Test("b", Operator.EQ, "x")
    c = Test("c", Operator.IN, (True, None))
    assert where == Or((And((a, Not(b))), c))
    assert F.a.between(1, 2) == And((F.a >= 1, F.a <= 2))
    assert [test.field for test in walk(where)] == ["a", "b", "c"]
    assert repr(F) == "F"
    assert repr(F.a) == "F.a"


def test_and_or_not_are_refused() -> None:
    """Python's own and, or, not and chained comparisons would drop a part of the filter."""
    for wrong in (
        lambda: (F.a == 1) and (F.b == 2),
        lambda: not F.a.is_null(),
        lambda: 1 < F.a < 2,
        lambda: bool(F.a),
        lambda: (F.a == 1) & cast(Filter, "b == 2"),
    ):
        with pytest.raises(InvalidRequestError) as refused:
            wrong()
        assert refused.value.hint


def test_a_filter_has_a_limited_size() -> None:
    """More than 5,000 parts or 100 levels are refused, however deep, without a deep stack."""
    deep: Filter = F.a == 1
    for _ in range(100_000):
        deep = Not(deep)
    for where in (deep, Or((F.a == 1,) * 5_000)):
        with pytest.raises(InvalidRequestError) as refused:
            require_moderate(where)
        assert refused.value.hint


def test_the_lists_of_a_filter_have_a_limit_together() -> None:
    """Up to MAX_VALUES values in all lists pass; one more is refused before one is looked at."""
    half = F.a.in_(range(MAX_VALUES // 2))
    require_moderate(half & ~half)
    with pytest.raises(InvalidRequestError) as refused:
        require_moderate(half & (~half | F.b.in_([object()])))  # type: ignore[list-item]  # never read
    assert str(MAX_VALUES) in refused.value.message


def test_the_elements_that_a_filter_looks_for_have_a_limit_together() -> None:
    """Each is a subquery: MAX_ELEMENTS pass, in one list, in two or one by one; one more does not."""
    half = F.a.has_any(range(MAX_ELEMENTS // 2))
    single = Or(tuple(F.a["b"].has(at) for at in range(MAX_ELEMENTS // 2)))
    for where in (half & ~half, half & single):
        require_moderate(where)
        with pytest.raises(InvalidRequestError) as refused:
            require_moderate(where & ~F.b.has_all(["x"]))
        assert str(MAX_ELEMENTS) in refused.value.message
        assert refused.value.hint


def test_what_is_no_filter_is_combined_on_neither_side() -> None:
    """A field, a number or None before & and | is refused as it is behind them."""
    wrong: tuple[object, ...] = (F.b, 1, None, True, "b", [F.b == 1])
    for each in wrong:
        for combine in (and_, or_):
            for pair in ((each, F.a == 1), (F.a == 1, each)):
                with pytest.raises(InvalidRequestError, match="a filter is combined with"):
                    combine(*pair)


def test_an_order_is_a_list() -> None:
    """A set has no order, and of a dict as MongoDB takes it the directions would be lost."""
    for wrong, kind in (({"a": -1}, "a dict"), ({"a"}, "a set"), (frozenset({"a"}), "a set")):
        with pytest.raises(InvalidRequestError, match=f"the order is {kind}, and no list") as error:
            parse_order(wrong)
        assert error.value.hint
    assert parse_order(iter(["a"])) == parse_order(("a",))


def test_nulls_stand_first_or_last() -> None:
    """Whatever else is given, of any type, is refused as that."""
    for wrong in ("middle", "", True, 0, [], {"first"}, F.a):
        with pytest.raises(InvalidRequestError, match="nulls stand first or last"):
            asc("a", nulls=cast("Any", wrong))
