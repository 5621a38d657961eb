"""Tests of a part of JSON by chance: often of one that is there, and with a value like it."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any, cast

from healthstore.model.query import MAX_KEY, Filter, Operator, Part, Step, Test
from healthstore.testing.differential.values import draw_part

__all__ = ("draw_part_test", "parts_of")

_EQUAL = (Operator.EQ, Operator.NE)
_ORDERED = (Operator.LT, Operator.LE, Operator.GT, Operator.GE)
_LISTED = (Operator.IN, Operator.NOT_IN)
_TEXTUAL = (
    *(Operator.CONTAINS, Operator.NOT_CONTAINS, Operator.STARTS),
    *(Operator.NOT_STARTS, Operator.ENDS, Operator.NOT_ENDS),
)
_ALONE = (Operator.IS_NULL, Operator.NOT_NULL, Operator.IS_MISSING)
_ELEMENTS = (Operator.HAS, Operator.HAS, Operator.HAS_ANY, Operator.HAS_ALL)
_SCALARS = (*(None, True, False, 0, 1, 1.0, 2.5, 2**53 + 1, float(2**53)), *("", "1", "true", "a"))
_STEPS: tuple[Step, ...] = ("a", "0", "a.b", "$", 'q"', "", 0, 1)


def draw_part_test(random: Random, name: str, whole: object) -> Filter:
    """Return a test of a part of a field, which ``whole`` may be a value of."""
    known = list(parts_of(whole))
    steps, value = random.choice(known)
    chance = random.random()
    if chance < 0.3 or not steps:
        steps = (*steps, random.choice(_STEPS))
    scalars = [each for _, each in known if not isinstance(each, list | dict)]

    def one() -> Any:
        return random.choice((value, *scalars, *_SCALARS))

    def some() -> tuple[Any, ...]:
        return tuple(one() for _ in range(random.choice((0, 1, 2, 5))))

    def test(operators: tuple[Operator, ...], operand: Any = None, *, size: bool = False) -> Test:
        return Test(name, random.choice(operators), operand, None, Part(steps, size))

    kind = random.choice((0, 1, 1, 2, 3, 4, 4))
    if kind == 0:
        return test(_ALONE)
    if kind == 1:
        operator = random.choice(_ELEMENTS)
        return test((operator,), one() if operator is Operator.HAS else some())
    if kind == 2:
        operators = random.choice((_EQUAL, _ORDERED, _LISTED))
        sizes = tuple(random.choice((None, 0, 1, 2, 3)) for _ in range(3))
        return test(operators, sizes if operators is _LISTED else sizes[0], size=True)
    if kind == 3:
        return test(_LISTED, some())
    texts = [each for each in (value, *scalars) if isinstance(each, str)]
    if texts and random.random() < 0.4:
        return test(_TEXTUAL, draw_part(random, random.choice(texts)))
    return test(random.choice((_EQUAL, _ORDERED)), one())


def parts_of(
    value: object, steps: tuple[Step, ...] = ()
) -> Iterator[tuple[tuple[Step, ...], object]]:
    """Yield the parts of a value to which every backend finds the way."""
    yield steps, value
    if len(steps) > 3:
        return
    if isinstance(value, dict):
        for key, inner in cast("dict[str, object]", value).items():
            if len(key) <= MAX_KEY and not key.startswith("-"):  # see Capabilities.hyphen_keys
                yield from parts_of(inner, (*steps, key))
    elif isinstance(value, list):
        for place, inner in enumerate(cast("list[object]", value)):
            yield from parts_of(inner, (*steps, place))
