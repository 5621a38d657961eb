"""Filters from untrusted JSON: what a client of a service asks for, within what it may ask.

::

    {"and": [
        {"field": "age", "op": ">=", "value": 18},
        {"not": {"field": "name", "op": "startswith", "value": "A"}}
    ]}

A filter is one of four objects, and has no other keys:

===================================================  ============================================
``{"and": [filter, …]}``                             holds when all hold; always, if there is none
``{"or": [filter, …]}``                              holds when one holds; never, if there is none
``{"not": filter}``                                  holds when the filter does not
``{"field": name, "op": operator, "value": value}``  holds a field against a value
===================================================  ============================================

The operators are ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=`` with a value; ``in`` and ``not_in``
with a list of values; ``contains``, ``startswith`` and ``endswith`` with a text; ``has`` with a
value, ``has_any`` and ``has_all`` with a list of values, of a field that is a list; ``is_null``
and ``not_null`` without ``"value"``. They mean what those of :data:`healthstore.F` mean.

A part of a field's JSON that ``allow`` names, as ``F.data["weight"]``, is asked about by its path as
text, ``"data.weight"``: with a text, a number, true, false or null as ``"value"``, and of the type
of the part, if it has one by ``as_``. No other path is taken.

Values are JSON as an entity of it is read: a text for a text, an instant with its offset
(``"2026-01-31T07:30:00Z"``), a date, a time, a duration (``"PT1H30M"``), a UUID, the value of an
enum's member and bytes (those of its UTF-8); a number for an integer and a float; true or false
for a boolean; a text (``"72.5"``), an integer or a number of at most 15 digits for a Decimal; null
for a field that is None. Nothing else is converted: ``"5"`` is no integer, 1 is no boolean, and
true is no number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, cast

from healthstore.entity import (
    Entity,
    collection_of,
    column_of,
    field_name,
    parse_part_test,
    parse_test,
)
from healthstore.errors import ConfigurationError, InvalidRequestError, UnknownFieldError
from healthstore.model.parts import checked_column
from healthstore.model.query import (
    ELEMENTS,
    MAX_ELEMENTS,
    PLURAL,
    And,
    FieldName,
    FieldOrTerm,
    FieldPart,
    FieldTerm,
    Filter,
    Not,
    Operator,
    Or,
    Term,
    Test,
)

__all__ = ("MAX_BYTES", "MAX_DEPTH", "MAX_PARTS", "MAX_VALUES", "parse")

MAX_DEPTH: Final = 32
"""The most objects inside one another."""
MAX_PARTS: Final = 1_000
"""The most objects in one filter, whatever they are."""
MAX_VALUES: Final = 10_000
"""The most values in the lists of one filter together."""
MAX_BYTES: Final = 1_000_000
"""The most bytes, as UTF-8, in the texts that are values of one filter, together."""

_OPERATORS: Mapping[str, Operator] = {
    "==": Operator.EQ,
    "!=": Operator.NE,
    "<": Operator.LT,
    "<=": Operator.LE,
    ">": Operator.GT,
    ">=": Operator.GE,
    "in": Operator.IN,
    "not_in": Operator.NOT_IN,
    "is_null": Operator.IS_NULL,
    "not_null": Operator.NOT_NULL,
    "contains": Operator.CONTAINS,
    "startswith": Operator.STARTS,
    "endswith": Operator.ENDS,
    "has": Operator.HAS,
    "has_any": Operator.HAS_ANY,
    "has_all": Operator.HAS_ALL,
}
_MANY = PLURAL | {Operator.HAS_ANY, Operator.HAS_ALL}
_ALONE = frozenset({Operator.IS_NULL, Operator.NOT_NULL})
_GROUPS: Mapping[str, type[And | Or]] = {"and": And, "or": Or}
_TEST = frozenset({"field", "op"})
_LESS = "ask for less at once"
_FORM = 'write {"field": …, "op": …, "value": …}, {"and": […]}, {"or": […]} or {"not": …}'


def parse(  # noqa: PLR0913 - each bound by its name
    data: object,
    entity: type[Entity],
    *,
    allow: Iterable[str | FieldName | FieldPart | FieldTerm] = (),
    max_depth: int = MAX_DEPTH,
    max_parts: int = MAX_PARTS,
    max_values: int = MAX_VALUES,
    max_bytes: int = MAX_BYTES,
) -> Filter:
    """Return the filter that JSON from outside asks for, canonical, for every verb that takes one.

    ``data`` is what a JSON decoder returns: dicts, lists, texts, numbers, booleans and None; with
    ``json.loads(body, parse_float=Decimal)`` no digit of a Decimal is lost. It may be hostile:
    what comes out are tests of this entity's fields against values of their types, and nothing
    else. ``allow`` names the fields, and the parts of JSON, that may be asked about; without it
    there is none. What is not allowed is refused as what does not exist.

    At most 32 levels, 1,000 parts, 10,000 values in lists and 1,000,000 bytes of text are taken;
    ``max_depth``, ``max_parts``, ``max_values`` and ``max_bytes`` set lower bounds. Of all values
    at most 1,000 are those of ``has``, ``has_any`` and ``has_all``, as in every filter.

    Raises InvalidRequestError, or one of its subclasses, for everything that is wrong with the
    data, before any I/O; it tells the place (``and[2].not``), and the field and the operator where
    they are known, never a value. Raises ConfigurationError where ``allow`` names what is no field,
    or a bound is none, whatever the data is.
    """
    bounds = _Bounds(
        _bound("max_depth", max_depth, MAX_DEPTH),
        _bound("max_parts", max_parts, MAX_PARTS),
        _bound("max_values", max_values, MAX_VALUES),
        _bound("max_bytes", max_bytes, MAX_BYTES),
    )
    return _Reading(entity, _allowed(entity, allow), bounds).part(data, "", 1)


def _allowed(
    entity: type[Entity], allow: Iterable[str | FieldName | FieldPart | FieldTerm]
) -> Mapping[str, FieldOrTerm]:
    """Return what may be asked about, by the text that names it in a filter."""
    names = collection_of(entity).names
    given: object = allow
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise ConfigurationError(
            "allow is no list of fields", hint='write allow=["name"]', entity=entity.__name__
        )
    allowed: dict[str, FieldOrTerm] = {}
    for each in allow:
        if isinstance(each, FieldPart | FieldTerm):
            part = _allowed_part(entity, each)
            if allowed.setdefault(str(part), part) != part:
                raise ConfigurationError(
                    f"allow names {part} twice, with different types",
                    hint="name it once: a filter tells no type",
                    entity=entity.__name__,
                )
        elif (name := _allowed_name(entity, each)) in names:
            allowed[name] = name
        else:
            raise ConfigurationError(
                f"allow names {each!r}, which is no field",
                hint=f"known: {', '.join(names)}",
                entity=entity.__name__,
            )
    return allowed


def _allowed_name(entity: type[Entity], of: object) -> str:
    """Return the name of a field; none for what names none, or a field of another entity."""
    try:
        return field_name(entity, of)
    except InvalidRequestError:
        return ""


def _allowed_part(entity: type[Entity], part: FieldPart | FieldTerm) -> FieldOrTerm:
    try:
        return checked_column(collection_of(entity), column_of(entity, part))
    except InvalidRequestError as error:
        raise ConfigurationError(
            f"allow names {part!r}, which is no part of the entity's JSON: {error.message}",
            hint=error.hint,
            entity=entity.__name__,
            field=part.name,
        ) from None


def _bound(name: str, given: int, most: int) -> int:
    if type(given) is not int or not 1 <= given <= most:
        raise ConfigurationError(
            f"{name} is no integer from 1 to {most}", hint="a bound can be lowered only"
        )
    return given


class _Bounds(NamedTuple):
    """The most of each in one filter."""

    depth: int
    parts: int
    values: int
    size: int


class _Reading:
    """One filter while it is read, and how much of it there may still be."""

    def __init__(
        self, entity: type[Entity], allowed: Mapping[str, FieldOrTerm], most: _Bounds
    ) -> None:
        self._entity = entity
        self._allowed = allowed
        self._most = most
        self._parts, self._values, self._size = most.parts, most.values, most.size
        self._elements = MAX_ELEMENTS

    def part(self, data: object, place: str, depth: int) -> Filter:
        """Return the filter of one object, at a level of those that are allowed."""
        most = self._most
        if depth > most.depth:
            raise self._wrong(place, f"there are more than {most.depth} levels", _LESS)
        self._parts -= 1
        if self._parts < 0:
            raise self._wrong(place, f"there are more than {most.parts} parts", _LESS)
        if not isinstance(data, dict):
            raise self._wrong(place, f"expects an object, not {type(data).__name__}", _FORM)
        given = cast("dict[object, object]", data)
        if given.keys() == {"not"}:
            return Not(self.part(given["not"], _inside(place, "not"), depth + 1))
        for key, kind in _GROUPS.items():
            if given.keys() == {key}:
                return kind(self._parts_of(given[key], _inside(place, key), depth + 1))
        return self._test(given, place)

    def _parts_of(self, data: object, place: str, depth: int) -> tuple[Filter, ...]:
        if not isinstance(data, list):
            raise self._wrong(place, f"expects a list, not {type(data).__name__}", _FORM)
        given = cast("list[object]", data)
        return tuple(self.part(each, f"{place}[{at}]", depth) for at, each in enumerate(given))

    def _test(self, data: dict[object, object], place: str) -> Test:
        if not _TEST <= data.keys() <= _TEST | {"value"}:
            raise self._wrong(place, "has not the keys of a filter", _FORM)
        name = self._field(data["field"], place)
        written = data["op"]
        operator = _OPERATORS.get(written) if isinstance(written, str) else None
        if operator is None:
            known = f"known: {', '.join(_OPERATORS)}"
            raise self._wrong(place, "there is no such operator", known, name)
        alone = operator in _ALONE
        if ("value" in data) is alone:
            said = f"{written} takes no value" if alone else f"{written} needs a value"
            raise self._wrong(place, said, 'see to the key "value"', name)
        value = data.get("value")
        if operator in _MANY:
            value = self._listed(value, place, name, f"{written}")
        values = value if isinstance(value, tuple) else (value,)
        self._count(values, place, name)
        asked = self._allowed[name]
        if isinstance(asked, Term):
            self._require_plain(values, place, name)
        if operator in ELEMENTS:
            self._elements -= len(values)
            if self._elements < 0:
                said = f"there are more than {MAX_ELEMENTS} elements to look for"
                raise self._wrong(place, said, _LESS, name)
        try:
            if isinstance(asked, Term):
                return parse_part_test(self._entity, asked, operator, value)
            return parse_test(self._entity, asked, operator, value)
        except InvalidRequestError as error:
            raise type(error)(
                _at(place, f"{written}: {error.message}"),
                hint=error.hint,
                entity=self._entity.__name__,
                field=name,
            ) from None

    def _field(self, given: object, place: str) -> str:
        """Return the name of a field; what is not allowed and what is not there is one thing."""
        if isinstance(given, str) and given in self._allowed:
            return given
        raise UnknownFieldError(
            _at(place, "there is no such field"),
            hint=f"known: {', '.join(self._allowed) or 'none'}",
            entity=self._entity.__name__,
        )

    def _listed(self, data: object, place: str, name: str, operator: str) -> tuple[object, ...]:
        if not isinstance(data, list):
            said = f"{operator} needs a list of values, not {type(data).__name__}"
            raise self._wrong(place, said, 'write "value": [first, second]', name)
        given = cast("list[object]", data)
        self._values -= len(given)
        if self._values < 0:
            said = f"the lists hold more than {self._most.values} values"
            raise self._wrong(place, said, _LESS, name)
        return tuple(given)

    def _require_plain(self, values: tuple[object, ...], place: str, name: str) -> None:
        for each in values:
            if isinstance(each, list | dict):
                said = f"a part is compared with plain values, not with a {type(each).__name__}"
                raise self._wrong(place, said, "use a text, a number, true, false or null", name)

    def _count(self, values: tuple[object, ...], place: str, name: str) -> None:
        for each in values:
            if not isinstance(each, str):
                continue
            # Lone surrogates are counted, too, and refused later.
            size = len(each) if each.isascii() else len(each.encode(errors="surrogatepass"))
            self._size -= size
            if self._size < 0:
                said = f"the texts take more than {self._most.size} bytes"
                raise self._wrong(place, said, _LESS, name)

    def _wrong(
        self, place: str, message: str, hint: str, name: str | None = None
    ) -> InvalidRequestError:
        return InvalidRequestError(
            _at(place, message), hint=hint, entity=self._entity.__name__, field=name
        )


def _inside(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _at(place: str, message: str) -> str:
    return f"at {place or 'the top'}: {message}"
