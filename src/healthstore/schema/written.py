"""A migration as the text of a file: operations and the values in them, as a person writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from keyword import iskeyword
from typing import Any, cast
from uuid import UUID

from healthstore.model.change import Change, ChangeField, CreateCollection, FieldForm
from healthstore.model.definition import Check, Index, Reference, Unique
from healthstore.model.query import (
    TERM_TYPES,
    And,
    Filter,
    Not,
    Operator,
    Or,
    OtherField,
    Term,
    Test,
)
from healthstore.model.schema import Collection
from healthstore.model.values import FieldType, Kind

__all__ = ("written",)

_WIDTH = 100


def written(
    message: str, after: str | None, operations: Sequence[Change], replaces: Sequence[str] = ()
) -> str:
    """Return the text of a migration file; it imports nothing of the program."""
    used: set[str] = {"Migration"}
    texts = [_Writer(used).operation(each) for each in operations]
    title = message.strip().replace("\\", " ").replace('"', "'").capitalize().rstrip(".")
    lines = [f'"""{title}."""', ""]
    lines += sorted(line for line in (_IMPORTS.get(name) for name in used) if line)
    names = ", ".join(sorted(name for name in used if name not in _IMPORTS))
    lines.append(f"from healthstore.schema import {names}")
    if len(lines[-1]) > _WIDTH:
        inner = "".join(f"    {name},\n" for name in names.split(", "))
        lines[-1] = f"from healthstore.schema import (\n{inner})"
    lines += ["", "migration = Migration("]
    lines += [f"    after={after!r},"] if after is not None else []
    if replaces:
        lines += ["    replaces=(", *(f"        {each!r}," for each in replaces), "    ),"]
    body = "".join(f"        {text},\n" for text in texts)
    lines.append(f"    operations=[\n{body}    ],\n)\n")
    return "\n".join(lines)


_IMPORTS: Mapping[str, str] = {
    "Decimal": "from decimal import Decimal",
    "UUID": "from uuid import UUID",
    "datetime": "import datetime",
}


class _Writer:
    """Writes values as Python, and notes the names that they need."""

    def __init__(self, used: set[str]) -> None:
        self._used = used

    def _call(self, name: str, arguments: Iterable[str]) -> str:
        self._used.add(name)
        return f"{name}({', '.join(arguments)})"

    def operation(self, change: Change) -> str:
        """Return an operation."""
        name = type(change).__name__
        if isinstance(change, CreateCollection):
            return self._call(name, [self.collection(change.definition)])
        parts = fields(cast(Any, change))  # every change is a dataclass
        values = [getattr(change, each.name) for each in parts if each.name != "otherwise"]
        arguments = [*map(self.value, values)]
        if isinstance(change, ChangeField) and change.replaces:
            arguments.append(f"otherwise={self.constant(change.otherwise)}")
        return self._call(name, arguments)

    def collection(self, made: Collection) -> str:
        """Return a definition, a line for each field."""
        margin = " " * 12
        lines = [
            f"{margin}    {each.name!r}: {self.form(FieldForm.of(each))},"
            for each in made.fields
            if each.name not in {"id", "version"}
        ]
        parts = [f"{made.name!r}", "\n".join(["{", *lines, f"{margin}}}"])]
        for part in ("uniques", "indexes", "references", "checks"):
            items = getattr(made, part)
            if items:
                parts.append(f"{part}=[{', '.join(map(self.value, items))}]")
        self._used.add("collection")
        inner = "".join(f"{margin}{each},\n" for each in parts)
        return f"collection(\n{inner}        )"

    def value(self, value: object) -> str:
        """Return a value of an operation."""
        match value:
            case FieldForm():
                return self.form(value)
            case Index(keys, where):
                part = [] if where is None else [f"where={self.rule(where)}"]
                return self._call("Index", [*map(self.key, keys), *part])
            case Unique(named, ignore_case, where):
                kept = ["ignore_case=True"] if ignore_case else []
                kept += [] if where is None else [f"where={self.rule(where)}"]
                return self._call("Unique", [*map(repr, named), *kept])
            case Reference(field, collection, on_delete):
                return self._call("Reference", map(repr, (field, collection, on_delete)))
            case Check(name, rule):
                return self._call("Check", (repr(name), self.rule(rule)))
            case _:
                return self.constant(value)

    def key(self, key: str | Term) -> str:
        """Return a key of an index: a name, or a part of JSON as a value of a type."""
        if not isinstance(key, Term):
            return repr(key)
        self._used.add("F")
        path = "".join(f"[{step!r}]" for step in key.steps)
        return f"{_place(key.field)}{path}.as_({TERM_TYPES[key.kind].__name__})"

    def form(self, form: FieldForm) -> str:
        """Return the form of a field."""
        name, limits = _FORMS[form.type.kind]
        arguments = [*limits(form.type)]
        arguments += ["nullable=True"] if form.nullable else []
        if form.default is not None:
            arguments.append(f"default={self.constant(form.default)}")
        return self._call(name, arguments)

    def rule(self, rule: Filter) -> str:
        """Return a filter."""
        if isinstance(rule, And | Or):
            mark = " & " if isinstance(rule, And) else " | "
            return mark.join(f"({self.rule(each)})" for each in rule.items)
        if isinstance(rule, Not):
            return f"~({self.rule(rule.item)})"
        assert isinstance(rule, Test)
        self._used.add("F")
        operator, operand = rule.operator, rule.operand
        place = _place(rule.field)
        if operator in _COMPARED:
            return f"{place} {_COMPARED[operator]} {self.constant(operand)}"
        if operator in {Operator.IS_NULL, Operator.NOT_NULL}:
            return f"{place}.{operator.name.lower()}()"
        if isinstance(operand, tuple):
            items = ", ".join(map(self.constant, operand))
            listed = f"{place}.in_([{items}])"
            return listed if operator is Operator.IN else f"~({listed})"
        tested = f"{place}.{_TEXTUAL[operator]}({self.constant(operand)})"
        return f"~({tested})" if operator.name.startswith("NOT_") else tested

    def constant(self, value: object) -> str:
        """Return what a field holds, or is compared with: a value, or another field."""
        if isinstance(value, OtherField):
            return _place(value.name)
        if isinstance(value, Decimal):
            self._used.add("Decimal")
        elif isinstance(value, UUID):
            self._used.add("UUID")
        elif isinstance(value, datetime | date | time | timedelta):
            self._used.add("datetime")
        return repr(value)


def _place(name: str) -> str:
    return f"F[{name!r}]" if iskeyword(name) else f"F.{name}"


_COMPARED: Mapping[Operator, str] = {
    Operator.EQ: "==",
    Operator.NE: "!=",
    Operator.LT: "<",
    Operator.LE: "<=",
    Operator.GT: ">",
    Operator.GE: ">=",
}


_TEXTUAL: Mapping[Operator, str] = {
    Operator.CONTAINS: "contains",
    Operator.NOT_CONTAINS: "contains",
    Operator.STARTS: "startswith",
    Operator.NOT_STARTS: "startswith",
    Operator.ENDS: "endswith",
    Operator.NOT_ENDS: "endswith",
}


def _none(_: FieldType) -> list[str]:
    return []


def _text(kind: FieldType) -> list[str]:
    beside = ["searchable=True"] if kind.searchable else []
    beside += ["words=True"] if kind.words else []
    return beside if kind.max_length is None else [str(kind.max_length), *beside]


_FORMS: Mapping[Kind, tuple[str, Callable[[FieldType], list[str]]]] = {
    Kind.TEXT: ("Text", _text),
    Kind.INTEGER: ("Integer", _none),
    Kind.BOOLEAN: ("Boolean", _none),
    Kind.FLOAT: ("Float", _none),
    Kind.DECIMAL: ("Number", lambda kind: [str(kind.digits), str(kind.places)]),
    Kind.DATETIME: ("Instant", lambda kind: ["milliseconds=True"] if kind.milliseconds else []),
    Kind.DATE: ("Date", _none),
    Kind.TIME: ("Time", _none),
    Kind.DURATION: ("Duration", _none),
    Kind.UUID: ("Uuid", _none),
    Kind.BYTES: ("Bytes", _none),
    Kind.ENUM: ("Enum", lambda kind: list(map(repr, kind.choices))),
    Kind.JSON: ("Json", _none),
}
