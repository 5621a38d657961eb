"""Parts of JSON as values of one type by chance: often of a part that is there, as what it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

from healthstore.model.evaluate import term_value
from healthstore.model.ops import Bucket, Measure
from healthstore.model.query import (
    TERM_TYPES,
    FieldTerm,
    Filter,
    Operator,
    OtherField,
    Step,
    Term,
    Test,
)
from healthstore.model.values import Kind, Value
from healthstore.testing.differential.parts import parts_of
from healthstore.testing.differential.schemas import Attribute
from healthstore.testing.differential.tests import draw_test

__all__ = ("column_of_term", "draw_term", "draw_term_test", "field_term", "used_terms", "values_of")

_KINDS = tuple(TERM_TYPES)
_LIKELY: Mapping[type, tuple[Kind, ...]] = {
    str: (Kind.TEXT,),
    bool: (Kind.BOOLEAN,),
    int: (Kind.INTEGER, Kind.INTEGER, Kind.FLOAT),
    float: (Kind.FLOAT, Kind.FLOAT, Kind.INTEGER),
}
_STEPS: tuple[Step, ...] = ("a", "b", "a.b", "$", '"', "", "é", 0, 1)


def draw_term(random: Random, name: str, whole: object) -> Term:
    """Return a part of a field, which ``whole`` may be a value of, as a value of some type."""
    known = [(steps, value) for steps, value in parts_of(whole) if steps]
    scalars = [each for each in known if type(each[1]) in _LIKELY]
    invented: tuple[tuple[Step, ...], object] = ((random.choice(_STEPS),), None)
    likely = random.random() < 0.9 and (scalars or known)
    steps, value = random.choice(likely or [invented])
    kinds = _LIKELY.get(type(value), _KINDS)
    return Term(name, steps, random.choice(kinds if random.random() < 0.85 else _KINDS))


def values_of(term: Term, wholes: Iterable[Value]) -> list[Value]:
    """Return the values of a term in those of its field, without None."""
    found = [term_value({term.field: each}, term) for each in wholes]
    return [each for each in found if each is not None]


def column_of_term(term: Term) -> Attribute:
    """Return the field that a term is for those who group and measure: named by its path."""
    return Attribute(str(term), term.type, nullable=True)


def draw_term_test(random: Random, term: Term, operand: Callable[[Attribute], Any]) -> Filter:
    """Return a test of a term, as of a field of its type; now and then of none that has a meaning."""
    column = column_of_term(term)
    drawn = draw_test(random, column, operand, (column,))
    if not isinstance(drawn, Test) or isinstance(drawn.operand, OtherField):
        drawn = Test(column.name, random.choice((Operator.IS_NULL, Operator.NOT_NULL)))
    return Test(term.field, drawn.operator, drawn.operand, None, term.part)


def field_term(term: Term) -> FieldTerm:
    """Return the term as a program writes it: ``F.data["x"].as_(float)``."""
    return FieldTerm(term.field, None, term.part)


def used_terms(
    terms: Iterable[Term], measures: Iterable[Measure], group: Iterable[str | Bucket]
) -> tuple[Term, ...]:
    """Return those terms whose path is a key of the group, or measured."""
    used = {name for each in measures for name in (each.field, each.by)}
    used |= {each for each in group if isinstance(each, str)}
    return tuple(each for each in terms if str(each) in used)
