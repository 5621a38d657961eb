"""Entities by chance: all kinds of fields, keys, indexes, checks and references."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, cast, get_args

from healthstore.model.query import And, Filter, Not, Or
from healthstore.model.schema import OnDelete
from healthstore.model.values import FieldType, Kind
from healthstore.testing.differential.schemas import Attribute, Member, Rule, Schema
from healthstore.testing.differential.tests import draw_test
from healthstore.testing.differential.values import draw_value, respell

__all__ = ("OWN", "draw_schemas")

# Words of SQL and of databases, to see each name quoted.
_COLLECTIONS = ("user", "order", "groups", "a", "records_of_2026", "index", "values")
_NAMES = (
    *("key", "value", "from", "group", "rank", "desc", "limit", "note", "kg", "flag", "table"),
    *("user", "text", "date", "type", "references", "check", "data", "level", "owner", "n"),
)
_CHOICES = ("new", "Open", "it's", "äußerst", "a b", "true", "0")
_FREQUENT = (
    *(Kind.TEXT, Kind.TEXT, Kind.INTEGER, Kind.INTEGER),
    *(Kind.FLOAT, Kind.DECIMAL, Kind.JSON, Kind.JSON),
)
OWN = (
    Attribute("id", FieldType(Kind.UUID)),
    Attribute("created_at", FieldType(Kind.DATETIME)),
    Attribute("updated_at", FieldType(Kind.DATETIME)),
    Attribute("version", FieldType(Kind.INTEGER)),
)


def draw_schemas(random: Random) -> tuple[Schema, ...]:
    """Return the schemas of a program: one to three, which may refer to those before them."""
    names = random.sample(_COLLECTIONS, random.choice((1, 1, 2, 2, 3)))
    return tuple(_draw_schema(random, name, names[: at + 1]) for at, name in enumerate(names))


def _draw_schema(random: Random, name: str, targets: Sequence[str]) -> Schema:
    chosen = random.sample(_NAMES, random.randint(1, 7))
    attributes = [_draw_attribute(random, each) for each in chosen]
    if len(targets) > 1 or random.random() < 0.3:
        attributes.extend(_draw_reference(random, each, targets) for each in ("parent", "other"))
    if len(attributes) > 1 and random.random() < 0.4:
        attributes.pop()
    indexed = [
        each.name
        for each in (*attributes, OWN[1])
        if each.type.kind not in {Kind.JSON, Kind.BYTES}
        and (each.type.kind is not Kind.TEXT or each.type.max_length is not None)
    ]
    uniques = _draw_keys(random, [each for each in indexed if each != "created_at"])
    indexes = tuple(
        tuple(random.choice(("", "-")) + each for each in keys)
        for keys in _draw_keys(random, indexed)
    )
    checks = tuple(
        Rule(f"rule_{at}", _draw_rule(random, attributes)) for at in range(random.choice((0, 1, 2)))
    )
    whole = [each.name for each in attributes if each.type.kind is Kind.INTEGER]
    total = tuple(whole[:3]) if len(whole) > 2 and random.random() < 0.7 else ()
    searchable = [each.name for each in attributes if each.type.searchable]
    ignoring = _draw_keys(random, searchable)
    if ignoring and random.random() < 0.3:
        ignoring = ((*ignoring[0][:1], random.choice(indexed)), *ignoring[1:])
    return Schema(name, tuple(attributes), uniques, indexes, checks, total, ignoring)


def _draw_attribute(random: Random, name: str) -> Attribute:
    kind = random.choice((*Kind, *_FREQUENT))
    limit: int | None = None
    digits = places = 0
    choices: tuple[str, ...] = ()
    form = ""
    searchable = words = False
    if kind is Kind.TEXT:
        limit = random.choice((None, None, 1, 5, 40, 255, 640))
        searchable = limit is not None and random.random() < 0.7
        words = random.random() < 0.6
        form = random.choice(("", "", "", "lower", "strip", "" if limit else "long"))
    elif kind is Kind.DECIMAL:
        digits = random.choice((1, 5, 12, 28))
        places = random.choice((0, min(2, digits), digits))
    elif kind is Kind.ENUM:
        choices = tuple(random.sample(_CHOICES, random.randint(1, 4)))
        form = random.choice(("", "literal"))
    elif kind is Kind.JSON:
        form = random.choice(("", "list", "dict"))
    milliseconds = kind is Kind.DATETIME and random.random() < 0.3
    return Attribute(
        name,
        FieldType(kind, limit, digits, places, milliseconds, choices, searchable, words),
        nullable=random.random() < 0.5,
        form=form,
    )


def _draw_reference(random: Random, name: str, targets: Sequence[str]) -> Attribute:
    on_delete = random.choice(cast("tuple[OnDelete, ...]", get_args(OnDelete)))
    nullable = on_delete == "set_null" or random.random() < 0.7
    target = random.choice(targets)
    return Attribute(name, FieldType(Kind.UUID), nullable, refers=target, on_delete=on_delete)


def _draw_keys(random: Random, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    if not names:
        return ()
    keys = (
        tuple(random.sample(names, min(len(names), random.choice((1, 1, 2)))))
        for _ in range(random.choice((0, 1, 1, 2)))
    )
    return tuple(dict.fromkeys(keys))


def _draw_rule(random: Random, attributes: Sequence[Attribute]) -> Filter:
    """Return a filter that many documents satisfy, with operands as somebody would write them."""

    def operand(each: Attribute) -> Any:
        value = draw_value(random, each)
        if each.type.kind is Kind.ENUM and each.form != "literal" and random.random() < 0.5:
            return Member(value)
        return respell(random, each.type, value) if random.random() < 0.5 else value

    tests = [draw_test(random, random.choice(attributes), operand, attributes) for _ in range(3)]
    return random.choice(
        (tests[0], Or((tests[0], tests[1])), Not(And((tests[0], tests[1]))), Or(tuple(tests)))
    )
