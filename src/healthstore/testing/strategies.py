"""Hypothesis strategies for what a store can hold and be asked: values, documents, filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from hypothesis import strategies as st

from healthstore.model.decimals import of_units
from healthstore.model.json import sorted_json
from healthstore.model.patterns import MAX_TEXT, canonical
from healthstore.model.query import (
    MAX_KEY,
    MAX_STEPS,
    And,
    Filter,
    Not,
    Nulls,
    Operator,
    Or,
    Order,
    OtherField,
    Part,
    Step,
    Test,
    parse_order,
)
from healthstore.model.schema import Collection, Field
from healthstore.model.values import Document, FieldType, Json, Kind, Value

__all__ = (
    "documents",
    "filters",
    "json_values",
    "orders",
    "part_filters",
    "patterns",
    "texts",
    "values",
)

_INT64 = st.integers(-(2**63), 2**63 - 1)
_FIRST = datetime(1, 1, 2)  # noqa: DTZ001 - Hypothesis takes naive bounds and adds the zone
_LAST = datetime(9999, 12, 30, 23, 59, 59, 999_999)  # noqa: DTZ001 - as above
_COMPARED = (Operator.EQ, Operator.NE, Operator.LT, Operator.LE, Operator.GT, Operator.GE)
_LISTED = (Operator.IN, Operator.NOT_IN)
_TEXTUAL = (
    Operator.CONTAINS,
    Operator.NOT_CONTAINS,
    Operator.STARTS,
    Operator.NOT_STARTS,
    Operator.ENDS,
    Operator.NOT_ENDS,
)
_MATCHED = (Operator.MATCHES, Operator.NOT_MATCHES)
_NULL = (Operator.IS_NULL, Operator.NOT_NULL)


def texts(max_length: int | None = None) -> st.SearchStrategy[str]:
    """Generate text that every backend keeps: any code point but U+0000 and lone surrogates."""
    alphabet = st.characters(codec="utf-8", exclude_characters="\x00")
    return st.text(alphabet, max_size=max_length)


def _floats() -> st.SearchStrategy[float]:
    finite = st.floats(allow_nan=False, allow_infinity=False)
    return finite.map(lambda number: number + 0.0)  # -0.0 + 0.0 is 0.0


def json_values() -> st.SearchStrategy[Json]:
    """Generate JSON values with sorted keys, nested a few levels; None never at the top."""
    leaves: st.SearchStrategy[Json] = st.booleans() | _INT64 | _floats() | texts(20)
    inner = st.recursive(
        st.none() | leaves,
        lambda children: (
            st.lists(children, max_size=4) | st.dictionaries(texts(10), children, max_size=4)
        ),
        max_leaves=12,
    )
    nested = st.lists(inner, max_size=4) | st.dictionaries(texts(10), inner, max_size=4)
    return (leaves | nested).map(sorted_json)


def _decimals(field: FieldType) -> st.SearchStrategy[Decimal]:
    largest = 10**field.digits - 1
    return st.integers(-largest, largest).map(lambda number: of_units(number, field.places))


def _datetimes(field: FieldType) -> st.SearchStrategy[datetime]:
    instants = st.datetimes(_FIRST, _LAST, timezones=st.just(UTC)).map(
        lambda each: each.replace(fold=0)
    )
    if not field.milliseconds:
        return instants
    return instants.map(lambda each: each.replace(microsecond=each.microsecond // 1000 * 1000))


def values(field: FieldType) -> st.SearchStrategy[Value]:
    """Generate canonical, non-null values of a field's type."""
    strategies: Mapping[Kind, st.SearchStrategy[Value]] = {
        Kind.TEXT: texts(field.max_length),
        Kind.INTEGER: _INT64,
        Kind.BOOLEAN: st.booleans(),
        Kind.FLOAT: _floats(),
        Kind.DECIMAL: _decimals(field),
        Kind.DATETIME: _datetimes(field),
        Kind.DATE: st.dates(date(1, 1, 2), date(9999, 12, 30)),
        Kind.TIME: st.times().map(lambda each: each.replace(fold=0)),
        Kind.DURATION: _INT64.map(lambda number: timedelta(microseconds=number)),
        Kind.UUID: st.uuids(),
        Kind.BYTES: st.binary(max_size=200),
        Kind.JSON: cast("st.SearchStrategy[Value]", json_values()),
        Kind.ENUM: st.sampled_from(field.choices or ("",)),
    }
    return strategies[field.kind]


def documents(collection: Collection) -> st.SearchStrategy[Document]:
    """Generate canonical documents of a collection, null where a field may be null."""
    parts: dict[str, st.SearchStrategy[Value]] = {
        each.name: (st.none() | values(each.type)) if each.nullable else values(each.type)
        for each in collection.fields
    }
    return st.fixed_dictionaries(parts).map(lambda document: {**document, "version": 1})


def _parts_in(
    value: object, steps: tuple[Step, ...] = ()
) -> Iterator[tuple[tuple[Step, ...], Json]]:
    """Yield each part of a JSON value, and the steps that lead to it."""
    if steps:
        yield steps, cast(Json, value)
    if len(steps) < MAX_STEPS and isinstance(value, dict):
        for key, inner in cast("dict[str, Json]", value).items():
            if len(key) <= MAX_KEY:
                yield from _parts_in(inner, (*steps, key))
    elif len(steps) < MAX_STEPS and isinstance(value, list):
        for place, inner in enumerate(cast("list[Json]", value)):
            yield from _parts_in(inner, (*steps, place))


def _part_tests(name: str, rows: Sequence[Document]) -> st.SearchStrategy[Filter]:
    """Generate tests of parts of a JSON field; paths and operands are often those of rows."""
    known: dict[str, tuple[Step, ...]] = {}
    found: dict[str, Json] = {}
    for row in rows:
        for steps, value in _parts_in(row[name]):
            known[repr(steps)] = steps
            found[repr(value)] = value
    step = st.sampled_from(["x", "y", "0", "a.b", "$"]) | st.integers(0, 2) | texts(5)
    paths = st.lists(step, min_size=1, max_size=3).map(tuple)
    operands = json_values() | st.none()
    if known:
        paths = st.sampled_from(list(known.values())) | paths
        operands = st.sampled_from(list(found.values())) | operands
    ordered = st.none() | _INT64 | _floats() | texts(5)
    scalars = st.booleans() | _INT64 | _floats() | texts(5)
    alike = [
        each for each in found.values() if each is not None and not isinstance(each, list | dict)
    ]
    if alike:
        scalars = st.sampled_from(alike) | scalars
        ordered = (
            st.sampled_from([each for each in alike if not isinstance(each, bool)] or [0]) | ordered
        )
    parts = paths.map(Part)

    def built(
        operators: tuple[Operator, ...],
        values: st.SearchStrategy[Any],
        of: st.SearchStrategy[Part] = parts,
    ) -> st.SearchStrategy[Filter]:
        return st.builds(
            lambda operator, value, part: Test(name, operator, value, None, part),
            st.sampled_from(operators),
            values,
            of,
        )

    sizes = st.integers(-1, 4) | _INT64 | st.none()
    whole = (st.just(()) | paths).map(Part)
    sized = (st.just(()) | paths).map(lambda steps: Part(steps, size=True))
    return st.one_of(
        built(_COMPARED[:2], operands),
        built(_COMPARED[2:], ordered),
        built((*_NULL, Operator.IS_MISSING), st.none()),
        built(_LISTED, st.lists(operands, max_size=4).map(tuple)),
        built(_TEXTUAL, st.sampled_from(["", "a", "%", "1"]) | texts(3)),
        built((Operator.HAS,), scalars, whole),
        built(
            (Operator.HAS_ANY, Operator.HAS_ALL), st.lists(scalars, max_size=4).map(tuple), whole
        ),
        built(_COMPARED, sizes, sized),
        built(_LISTED, st.lists(sizes, max_size=4).map(tuple), sized),
    )


def part_filters(
    collection: Collection, rows: Sequence[Document] = ()
) -> st.SearchStrategy[Filter]:
    """Generate filters over the parts of a collection's JSON; paths are often those of ``rows``."""
    names = [each.name for each in collection.fields if each.type.kind is Kind.JSON]
    return _combined(st.one_of([_part_tests(name, rows) for name in names]))


def _tests(
    collection: Collection, rows: Sequence[Document], *, matched: bool
) -> st.SearchStrategy[Filter]:
    leaves: list[st.SearchStrategy[Filter]] = []
    for each in collection.fields:
        leaves.append(st.builds(Test, st.just(each.name), st.sampled_from(_NULL)))
        if each.type.kind is not Kind.JSON:
            leaves.append(_pairs(collection, each))
        if not each.type.ordered:
            continue
        known = sorted({repr(row[each.name]): row[each.name] for row in rows}.items())
        operands = values(each.type) | st.none()
        if known:
            operands = st.sampled_from([value for _, value in known]) | operands
        listed = st.lists(operands, max_size=5).map(tuple)
        leaves.append(st.builds(Test, st.just(each.name), st.sampled_from(_COMPARED), operands))
        leaves.append(st.builds(Test, st.just(each.name), st.sampled_from(_LISTED), listed))
        if each.type.kind is Kind.TEXT:
            parts = st.sampled_from(["", "a", "%", "_", "\\", " ", ".", "é"]) | texts(3)
            leaves.append(st.builds(Test, st.just(each.name), st.sampled_from(_TEXTUAL), parts))
            if matched and each.type.max_length is not None and each.type.max_length <= MAX_TEXT:
                operators = st.sampled_from(_MATCHED)
                leaves.append(st.builds(Test, st.just(each.name), operators, patterns()))
    return st.one_of(leaves)


def _pairs(collection: Collection, one: Field) -> st.SearchStrategy[Filter]:
    """Generate comparisons of a field with each one that it can be compared with, itself too."""
    others = [each.name for each in collection.fields if one.type.comparable_with(each.type)]
    operators = _COMPARED if one.type.ordered else _COMPARED[:2]
    operands = st.sampled_from(others).map(OtherField)
    return st.builds(Test, st.just(one.name), st.sampled_from(operators), operands)


def filters(
    collection: Collection, rows: Sequence[Document] = (), *, matched: bool = True
) -> st.SearchStrategy[Filter]:
    """Generate filters over a collection; operands are often values of ``rows``, or None.

    With ``matched`` there are patterns among them, which no check has.
    """
    return _combined(_tests(collection, rows, matched=matched))


def _combined(tests: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    return st.recursive(
        tests,
        lambda children: (
            st.lists(children, max_size=3).map(lambda items: And(tuple(items)))
            | st.lists(children, max_size=3).map(lambda items: Or(tuple(items)))
            | children.map(Not)
        ),
        max_leaves=6,
    )


_ATOMS = (
    *("a", "b", "A", "é", "ß", "\U0001f600", "-", "_", " ", r"\.", r"\\", r"\n", r"\x41", r"\#"),
    *(".", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", "[a-c]", "[^a]", r"[\w.-]", r"[^\d\n]"),
    *(r"[\s\S]", r"[\]\[^-]", "[à-ž]", r"[\u2028\x85]", "[\U0001f5ff-\U0001f601]"),
)
_COUNTED = ("?", "*", "+", "{1}", "{2}", "{0,2}", "{1,3}", "{2,}", "{3,5}")


def patterns() -> st.SearchStrategy[str]:
    """Generate regular expressions of the portable subset, of bounded cost."""
    repeated = st.builds("(?:{}){}".format, st.sampled_from(_ATOMS), st.sampled_from(_COUNTED))
    return st.recursive(
        st.sampled_from(_ATOMS) | repeated,
        lambda inner: (
            st.lists(inner, min_size=1, max_size=4).map("".join)
            | st.lists(inner, min_size=2, max_size=3).map("|".join).map("({})".format)
            | st.builds("({}){}".format, inner, st.sampled_from(_COUNTED))
        ),
        max_leaves=6,
    ).filter(_is_bounded)


def _is_bounded(pattern: str) -> bool:
    try:
        canonical(pattern)
    except ValueError:
        return False
    return True


def orders(collection: Collection) -> st.SearchStrategy[tuple[Order, ...]]:
    """Generate total orders of up to three fields and ``id``, each way, nulls first or last."""
    names = [each.name for each in collection.fields if each.type.ordered]
    nulls: tuple[Nulls | None, ...] = (None, "first", "last")
    keys = st.builds(Order, st.sampled_from(names), st.booleans(), st.sampled_from(nulls))
    several = st.lists(keys, min_size=1, max_size=3, unique_by=lambda key: key.field)
    return several.map(parse_order)
