"""Tests of a field by chance: every operator that has a meaning for it, and some that have none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from healthstore.model.patterns import MAX_TEXT
from healthstore.model.query import Filter, Operator, OtherField, Test
from healthstore.model.values import Kind
from healthstore.testing.differential.cases import recased
from healthstore.testing.differential.schemas import Attribute
from healthstore.testing.differential.values import draw_part, draw_pattern

__all__ = ("COMPARED", "LISTED", "draw_folded_test", "draw_test")

COMPARED = (Operator.EQ, Operator.NE, Operator.LT, Operator.LE, Operator.GT, Operator.GE)
LISTED = (Operator.IN, Operator.NOT_IN)
_TEXTUAL = (
    *(Operator.CONTAINS, Operator.NOT_CONTAINS, Operator.STARTS),
    *(Operator.NOT_STARTS, Operator.ENDS, Operator.NOT_ENDS),
)
_MATCHED = (Operator.MATCHES, Operator.NOT_MATCHES)
_EQUAL = (Operator.EQ, Operator.NE)
_NULL = (Operator.IS_NULL, Operator.NOT_NULL)


def draw_test(  # noqa: PLR0913 - each bound by its name
    random: Random,
    each: Attribute,
    operand: Callable[[Attribute], Any],
    others: Sequence[Attribute],
    *,
    null: float = 0.1,
    matched: bool = False,
) -> Filter:
    """Return a test of a field, with an operand such as ``operand`` gives, or with one of the others."""
    name, kind = each.name, each.type.kind
    if kind is Kind.JSON or random.random() < 0.1:
        return Test(name, random.choice(_NULL))

    if random.random() < 0.15:
        # Often the field itself, if there is no other one of its kind.
        other = random.choice([one for one in others if each.type.comparable_with(one.type)])
        operator = random.choice(COMPARED if each.type.ordered else _EQUAL)
        return Test(name, operator, OtherField(other.name))

    def one() -> Any:
        return None if random.random() < null else operand(each)

    bounded = each.type.max_length is not None and each.type.max_length <= MAX_TEXT
    if matched and bounded and random.random() < 0.2:
        text = operand(each)
        pattern = draw_pattern(random, text if isinstance(text, str) else "")
        return Test(name, random.choice(_MATCHED), pattern)

    operators = random.choice((COMPARED if each.type.ordered else _EQUAL, LISTED))
    if kind is Kind.TEXT and random.random() < 0.5:
        operators = _TEXTUAL
    operator = random.choice(operators)
    if operator in LISTED:
        return Test(name, operator, tuple(one() for _ in range(random.choice((0, 1, 2, 5)))))
    if operator in _TEXTUAL:
        whole = operand(each)
        return Test(name, operator, draw_part(random, whole) if isinstance(whole, str) else whole)
    return Test(name, operator, one())


def draw_folded_test(
    random: Random, each: Attribute, operand: Callable[[Attribute], Any]
) -> Filter:
    """Return a test of a searchable text that ignores case, with operands of some other case."""
    name = each.name

    def other() -> Any:
        value = None if random.random() < 0.1 else operand(each)
        return recased(random, value) if isinstance(value, str) else value

    operator = random.choice((*_EQUAL, *_EQUAL, *LISTED, *LISTED, *_TEXTUAL))
    if operator in LISTED:
        values = tuple(other() for _ in range(random.choice((0, 1, 2, 5))))
        return Test(name, operator, values, folded=True)
    value = other()
    if operator in _TEXTUAL and isinstance(value, str):
        value = draw_part(random, value)
    return Test(name, operator, value, folded=True)
