"""Terms: a part of JSON as a value of one type, compared as a field of that type is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias, cast

import pytest

from healthstore.abc import Backend
from healthstore.errors import InvalidRequestError, Outcome
from healthstore.model.ops import (
    Aggregate,
    Count,
    CountDocuments,
    Ensure,
    Find,
    Leading,
    Max,
    Op,
)
from healthstore.model.query import (
    ALL,
    F,
    FieldPart,
    FieldTerm,
    Filter,
    Not,
    Operator,
    Order,
    Part,
    Term,
    Test,
)
from healthstore.model.values import Kind
from healthstore.testing.contract._promises import Contract, partly_needs, proves, refuses
from healthstore.testing.contract._samples import add
from healthstore.testing.contract._structured import (
    KEYS,
    PATHS,
    STRUCTURED,
    agrees,
    divides,
    filled,
    structured,
)

__all__ = ("TestPathTerms",)

_Compare: TypeAlias = Callable[[FieldTerm, Any], Filter]
_TYPES: Mapping[str, type[int | float | str | bool]] = {
    each.__name__: each for each in (int, float, str, bool)
}
_OPERANDS: Mapping[str, tuple[Any, ...]] = {
    "int": (0, 1, -1, 2**53, 2**53 + 1, 10**16, 2**63 - 1, -(2**63)),
    "float": (0.0, 1.0, 0.1, 2.0**53, 2.0**63, -(2.0**63), 5e-324, 1e300),
    "str": ("", "a", "a ", "A", "\U0001f600", "\uffff", "true", "1", "'", "\\"),
    "bool": (False, True),
}
_COMPARISONS: tuple[_Compare, ...] = (
    *(lambda term, value: term == value, lambda term, value: term != value),
    *(lambda term, value: term < value, lambda term, value: term <= value),
    *(lambda term, value: term > value, lambda term, value: term >= value),
)


def _part(path: tuple[str | int, ...]) -> FieldPart:
    return FieldPart("data", None, Part(path))


class TestPathTerms(Contract):
    """A part of JSON as a value of one type, like a field of that type."""

    @proves("J7")
    @pytest.mark.parametrize("kind", [*_TYPES])
    async def test_a_term_is_compared_as_a_field_of_its_type(
        self, store: Backend, kind: str
    ) -> None:
        """What is of another type is None: no order holds for it, and its negation does."""
        await filled(store)
        values = _OPERANDS[kind]
        for path in PATHS[:4]:
            term = _part(path).as_(_TYPES[kind])
            for value in values:
                for compare in _COMPARISONS:
                    await agrees(store, compare(term, value))
            for where in (term.in_([*values, None]), term.not_in(values), term.is_null()):
                await agrees(store, where)

    async def test_the_text_of_a_term_is_searched(self, store: Backend) -> None:
        """Character for character, in texts only."""
        await filled(store)
        for path in PATHS[:3]:
            term = _part(path).as_(str)
            for text in ("", "a", "'", "\\", "%", "é", "\U0001f600"):
                await agrees(store, term.contains(text) | (F.data["y"].as_(int) == 1))
                await agrees(store, term.startswith(text))
                await agrees(store, term.endswith(text))

    async def test_numbers_become_the_type_that_is_asked_for(self, store: Backend) -> None:
        """As int whole numbers of 64 bits, written either way; as float the nearest double."""
        values: list[object] = [
            *(7, 7.0, 7.5, 2**53 + 1, 2.0**53, 2.0**63, -(2.0**63), 1e300, 5e-324),
            *(True, "7", None, [7], {"n": 7}),
        ]
        rows = [structured(at, {"n": value}) for at, value in enumerate(values)]
        await add(store, STRUCTURED, *rows)
        whole, real = F.data["n"].as_(int), F.data["n"].as_(float)
        await divides(store, rows, whole == 7, [0, 1])
        await divides(store, rows, whole >= 7, [0, 1, 3, 4])
        await divides(store, rows, whole == -(2**63), [6])
        await divides(store, rows, whole.is_null(), [2, 5, 7, 8, 9, 10, 11, 12, 13])
        await divides(store, rows, real == 2.0**53, [3, 4])
        await divides(store, rows, (real > 0) & (real < 1), [8])
        await divides(store, rows, real.is_null(), [9, 10, 11, 12, 13])

    @proves("J5")
    async def test_any_key_is_found_by_a_term(self, store: Backend) -> None:
        """The path stands in the statement: no key is a part of its language."""
        keys = [each for each in KEYS if store.capabilities.hyphen_keys or not each.startswith("-")]
        rows = [structured(at, {key: {key: [at]}}) for at, key in enumerate(keys)]
        await add(store, STRUCTURED, *rows)
        for at, key in enumerate(keys):
            await divides(store, rows, F.data[key][key][0].as_(int) == at, [at])

    @proves("J5")
    @partly_needs("hyphen_keys")
    async def test_a_key_is_found_or_refused_wherever_a_part_may_stand(
        self, store: Backend
    ) -> None:
        """In an order, a column, a group or a measure: none is missing without a word."""
        await add(store, STRUCTURED, structured(1, {"-x": {"k": 5}}))
        term = Term("data", ("-x", "k"), Kind.INTEGER)
        name, order = str(term), (Order.by(term), Order("id"))
        every = Aggregate(STRUCTURED, (Max(name),), names=("n",), terms=(term,))
        groups = replace(every, measures=(Count(),), group=(name,))
        asked: tuple[tuple[Op[Any], Callable[[Any], object], object], ...] = (
            (Find(STRUCTURED, ALL, order, columns=(term,)), lambda rows: rows[0][term.key], 5),
            (Find(STRUCTURED, ALL, order), len, 1),
            (Leading(STRUCTURED, (term,), 1), len, 1),
            (Leading(STRUCTURED, ("note",), 1, order=order), len, 1),
            (every, lambda rows: rows[0].values, (5,)),
            (groups, lambda rows: rows[0].key, (5,)),
            (replace(groups, order=(Order("n"),), take=1), lambda rows: rows[0].key, (5,)),
        )
        for op, told, wanted in asked:
            if store.capabilities.hyphen_keys:
                assert told(await store.execute(op)) == wanted, op
            else:
                await refuses(store, store.execute(op), "hyphen_keys")

    async def test_a_term_that_has_no_meaning_is_refused(self, store: Backend) -> None:
        """Before any I/O, on all alike: the field is named, and what to write instead."""
        await store.execute(Ensure((STRUCTURED,)))
        part = F.data["x"]
        wrong: tuple[tuple[Filter, str], ...] = (
            (F.note["x"].as_(int) == 1, "note"),
            (F.data[-1].as_(int) == 1, "data"),
            (part.as_(int) == 2.5, "data"),
            (part.as_(float) == "1", "data"),
            (part.as_(str) < 1, "data"),
            (part.as_(bool) == 1, "data"),
            (part.as_(float).contains("1"), "data"),
            (part.as_(int) == F.count, "data"),
            (Test("data", Operator.IS_MISSING, part=Part(("x",), kind=Kind.INTEGER)), "data"),
            (Test("data", Operator.HAS, 1, part=Part(("x",), kind=Kind.INTEGER)), "data"),
            (Test("data", Operator.MATCHES, "a", part=Part(("x",), kind=Kind.TEXT)), "data"),
            (Test("data", Operator.EQ, None, part=Part(("x",), kind=Kind.JSON)), "data"),
            (Test("data", Operator.EQ, None, part=Part(("x",), kind=Kind.UUID)), "data"),
            (Test("data", Operator.EQ, 1, part=Part((), kind=Kind.INTEGER)), "data"),
        )
        for where, name in wrong:
            for filter_ in (where, Not(where)):
                with pytest.raises(InvalidRequestError) as error:
                    await store.execute(CountDocuments(STRUCTURED, filter_))
                assert error.value.field == name, where
                assert error.value.hint
                assert error.value.outcome is Outcome.NOT_APPLIED
        for kind in (list, dict, object, complex, None, "int"):
            with pytest.raises(InvalidRequestError):
                cast(Any, part).as_(kind)
