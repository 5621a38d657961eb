"""``F``: the names of fields in filters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from healthstore.errors import InvalidRequestError
from healthstore.model.arguments import listed
from healthstore.model.query.parts import TERM_TYPES, WHOLE, Part, Step, Term
from healthstore.model.query.tests import And, Filter, Lookup, Operator, OtherField, Test
from healthstore.model.values import Kind, Value

__all__ = ("F", "FieldName", "FieldPart", "FieldSize", "FieldTerm", "field", "name_of")


class _Compared:
    """What a filter compares: a field, or a part of one. Comparing it gives a filter."""

    __slots__ = ("name", "owner", "part")
    __hash__ = object.__hash__
    # What has places is taken for a sequence otherwise, and one that never ends.
    __iter__ = None

    name: str
    owner: type | None
    part: Part | None

    def __repr__(self) -> str:
        part = "" if self.part is None else self.part
        return f"{'F' if self.owner is None else self.owner.__name__}.{self.name}{part}"

    def __bool__(self) -> bool:
        raise InvalidRequestError(
            f"{self!r} has no truth value", hint=f"compare it: F.{self.name}.is_true()"
        )

    def __contains__(self, value: object) -> bool:
        raise InvalidRequestError(
            f"whether something is in {self!r} is not known here",
            hint=f"write F.{self.name}.has(value), of a text F.{self.name}.contains(text)",
        )

    def _test(self, operator: Operator, operand: object = None, *, folded: bool = False) -> Test:
        given: Value | tuple[Value, ...] | OtherField | Lookup
        if isinstance(operand, FieldName):
            given = OtherField(operand.name, operand.owner)
        else:
            given = cast(Value, operand)  # the guard refuses what is no value
        return Test(self.name, operator, given, self.owner, self.part, folded)

    def __eq__(self, value: object) -> Test:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # a filter, not a bool
        return self._test(Operator.EQ, value)

    def __ne__(self, value: object) -> Test:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # a filter, not a bool
        return self._test(Operator.NE, value)

    def __lt__(self, value: Value | FieldName) -> Test:
        return self._test(Operator.LT, value)

    def __le__(self, value: Value | FieldName) -> Test:
        return self._test(Operator.LE, value)

    def __gt__(self, value: Value | FieldName) -> Test:
        return self._test(Operator.GT, value)

    def __ge__(self, value: Value | FieldName) -> Test:
        return self._test(Operator.GE, value)

    def equals(self, value: Value | FieldName, *, ignore_case: bool = False) -> Test:
        """Hold as ``==`` does; with ``ignore_case`` for texts that differ in case only, too.

        That needs a field that is ``Searchable``. It holds where NFKC, a case fold and NFKC again
        make the same of both texts: for ``"STRASSE"`` and ``"straße"``.
        """
        return self._test(Operator.EQ, value, folded=ignore_case)

    def in_(self, values: Iterable[Value] | Lookup, *, ignore_case: bool = False) -> Test:
        """Hold for any of these values; for none if there are none.

        They may be those that another query finds: ``links.query(F.doctor_id == me).field("id")``.
        With ``ignore_case`` as :meth:`equals`.
        """
        return self._test(Operator.IN, self._listed(values), folded=ignore_case)

    def not_in(self, values: Iterable[Value] | Lookup) -> Test:
        """Hold for every other value, ``None`` included unless it is listed."""
        return self._test(Operator.NOT_IN, self._listed(values))

    def _listed(self, values: Iterable[Value] | Lookup) -> tuple[Value, ...] | Lookup:
        if isinstance(values, Lookup):
            return values
        return listed(values, f"what {self.name} is looked up in", "F.name.in_([first, second])")

    def between(self, low: Value | FieldName, high: Value | FieldName) -> Filter:
        """Hold for values from ``low`` to ``high``, both included."""
        return And((self >= low, self <= high))

    def is_null(self) -> Test:
        """Hold when the field is ``None``."""
        return self._test(Operator.IS_NULL)

    def not_null(self) -> Test:
        """Hold when the field is not ``None``."""
        return self._test(Operator.NOT_NULL)

    def is_true(self) -> Test:
        """Hold when the field is ``True``; ``None`` is not."""
        return self._test(Operator.EQ, operand=True)

    def is_false(self) -> Test:
        """Hold when the field is ``False``; ``None`` is not."""
        return self._test(Operator.EQ, operand=False)

    def contains(self, text: str, *, ignore_case: bool = False) -> Test:
        """Hold when the text occurs in the field; unless ``ignore_case``, character for character."""
        return self._test(Operator.CONTAINS, text, folded=ignore_case)

    def startswith(self, text: str, *, ignore_case: bool = False) -> Test:
        """Hold when the field starts with the text; see :meth:`contains`."""
        return self._test(Operator.STARTS, text, folded=ignore_case)

    def endswith(self, text: str, *, ignore_case: bool = False) -> Test:
        """Hold when the field ends with the text; see :meth:`contains`."""
        return self._test(Operator.ENDS, text, folded=ignore_case)


class _Structured(_Compared):
    """A field of JSON, or a part of one, which may have parts in turn and may be a list."""

    __slots__ = ()

    def __getitem__(self, step: Step) -> FieldPart:
        """Return the part at a key of an object, or at a place in a list, counted from 0."""
        steps = () if self.part is None else self.part.steps
        return FieldPart(self.name, self.owner, Part((*steps, step)))

    def has(self, value: Value) -> Test:
        """Hold when one of the list's elements is this value; for no list it does not."""
        return self._element_test(Operator.HAS, value)

    def has_any(self, values: Iterable[Value]) -> Test:
        """Hold when the list has at least one of these values; of no values it has none."""
        return self._element_test(Operator.HAS_ANY, self._sought(values, "has_any"))

    def has_all(self, values: Iterable[Value]) -> Test:
        """Hold when the list has each of these values; of no values it has all."""
        return self._element_test(Operator.HAS_ALL, self._sought(values, "has_all"))

    def size(self) -> FieldSize:
        """Return the number of the list's elements, ``None`` for what is no list, to compare."""
        steps = () if self.part is None else self.part.steps
        return FieldSize(self.name, self.owner, Part(steps, size=True))

    def _element_test(self, operator: Operator, operand: object) -> Test:
        return Test(self.name, operator, cast(Value, operand), self.owner, self.part or WHOLE)

    def _sought(self, values: Iterable[Value], verb: str) -> tuple[Value, ...]:
        return listed(values, f"what {self.name} has", f"F.{self.name}.{verb}([first, second])")


class FieldName(_Structured):
    """The name of a field in a filter: ``F.weight > 70``. Comparing it gives a filter.

    It is compared with a value, or with another field: ``F.ended_at >= F.started_at``. An
    attribute of an entity's class is one, too, of which the ``owner`` is that class:
    ``User.age >= 18``. Of a field of JSON ``F.data["weight"]`` is a part.
    """

    __slots__ = ()

    def __init__(self, name: str, owner: type | None = None) -> None:
        self.name = name
        self.owner = owner
        self.part = None

    def matches(self, pattern: str) -> Test:
        r"""Hold when the pattern matches the whole field: ``F.code.matches(r"[A-Z]\d{2,5}")``.

        It is a regular expression of a subset that means the same everywhere; what else it holds,
        and what may take long, is refused.
        """
        return self._test(Operator.MATCHES, pattern)


class FieldPart(_Structured):
    """A part of a field's JSON in a filter: ``F.data["address"]["city"] == "Bonn"``.

    It is compared with what JSON holds, by the type of that: numbers with numbers, texts with
    texts, bools with bools. ``== None`` holds for null and for what is missing.
    """

    __slots__ = ()

    def __init__(self, name: str, owner: type | None, part: Part) -> None:
        self.name = name
        self.owner = owner
        self.part = part

    def is_missing(self) -> Test:
        """Hold when there is no such part, also where the field is ``None``; not for a null."""
        return self._test(Operator.IS_MISSING)

    def is_null(self) -> Test:
        """Hold when there is a null; not when the part is missing."""
        return self._test(Operator.IS_NULL)

    def not_null(self) -> Test:
        """Hold when there is no null: another value, or nothing."""
        return self._test(Operator.NOT_NULL)

    def as_(self, kind: type[int | float | str | bool]) -> FieldTerm:
        """Return the part as a value of one type, to sort by, to group by, to measure, to index.

        What is of another type is ``None``, as is a null, and what is missing. ``int``: a whole
        number of 64 bits, 2.0 among them; ``float``: any number, the nearest double; ``str`` and
        ``bool``: a text, a bool. It is compared as a field of that type is.
        """
        kinds = [each for each, name in TERM_TYPES.items() if name is kind]
        if not kinds:
            raise InvalidRequestError(
                f"{self!r} is taken as a value of a type that it cannot have",
                hint="use as_(int), as_(float), as_(str) or as_(bool)",
                field=self.name,
            )
        steps = () if self.part is None else self.part.steps
        return FieldTerm(self.name, self.owner, Part(steps, kind=kinds[0]))


class FieldTerm(_Compared):
    """A part of a field's JSON as a value of one type: ``F.data["weight"].as_(float)``."""

    __slots__ = ()

    def __init__(self, name: str, owner: type | None, part: Part) -> None:
        self.name = name
        self.owner = owner
        self.part = part

    @property
    def term(self) -> Term:
        """The term as a value, which is equal to an equal one."""
        part = self.part or WHOLE
        return Term(self.name, part.steps, part.kind or Kind.JSON)


class FieldSize(_Compared):
    """The number of elements of a list in a filter: ``F.tags.size() >= 2``."""

    __slots__ = ()

    def __init__(self, name: str, owner: type | None, part: Part) -> None:
        self.name = name
        self.owner = owner
        self.part = part


def name_of(of: object) -> str | None:
    """Return the name of the field that a text, ``F.name`` or an attribute of a class names.

    None for what names none, and for a part of a field.
    """
    if isinstance(of, FieldName):
        return of.name
    return of if isinstance(of, str) else None


def field(of: object) -> FieldName:
    """Return the field that an attribute of an entity's class names: ``field(User.email)``.

    To a type checker the attribute is a value; so its text operators are found:
    ``field(User.email).contains("ann")``. Raises InvalidRequestError for what names no field.
    """
    if not isinstance(of, FieldName):
        raise InvalidRequestError(
            "this names no field of an entity", hint="write field(User.email), or F.email"
        )
    return of


class _FieldNames:
    """``F.name`` or ``F["name"]``: the field called ``name``."""

    __slots__ = ()

    def __getattr__(self, name: str) -> FieldName:
        if name.startswith("__"):
            raise AttributeError(name)
        return FieldName(name)

    def __getitem__(self, name: str) -> FieldName:
        return FieldName(name)

    def __repr__(self) -> str:
        return "F"


F = _FieldNames()
