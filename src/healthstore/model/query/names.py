"""``F``: the names of fields in filters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from healthstore.errors import InvalidRequestError
from healthstore.model.arguments import listed
from healthstore.model.query.tests import And, Filter, Lookup, Operator, OtherField, Test
from healthstore.model.values import Value

__all__ = ("F", "FieldName", "field")


class FieldName:
    """The name of a field in a filter: ``F.weight > 70``. Comparing it gives a filter.

    It is compared with a value, or with another field: ``F.ended_at >= F.started_at``. An
    attribute of an entity's class is one, too, of which the ``owner`` is that class:
    ``User.age >= 18``.
    """

    __slots__ = ("name", "owner")
    __hash__ = object.__hash__

    def __init__(self, name: str, owner: type | None = None) -> None:
        self.name = name
        self.owner = owner

    def __repr__(self) -> str:
        return f"{'F' if self.owner is None else self.owner.__name__}.{self.name}"

    def __bool__(self) -> bool:
        raise InvalidRequestError(
            f"{self!r} has no truth value", hint=f"compare it: F.{self.name}.is_true()"
        )

    def _test(self, operator: Operator, operand: object = None) -> Test:
        given: Value | tuple[Value, ...] | OtherField | Lookup
        if isinstance(operand, FieldName):
            given = OtherField(operand.name, operand.owner)
        else:
            given = cast(Value, operand)  # the guard refuses what is no value
        return Test(self.name, operator, given, self.owner)

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

    def in_(self, values: Iterable[Value] | Lookup) -> Test:
        """Hold for any of these values; for none if there are none.

        They may be those that another query finds: ``links.query(F.doctor_id == me).field("id")``.
        """
        return self._test(Operator.IN, self._listed(values))

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

    def contains(self, text: str) -> Test:
        """Hold when the text occurs in the field, character for character."""
        return self._test(Operator.CONTAINS, text)

    def startswith(self, text: str) -> Test:
        """Hold when the field starts with the text, character for character."""
        return self._test(Operator.STARTS, text)

    def endswith(self, text: str) -> Test:
        """Hold when the field ends with the text, character for character."""
        return self._test(Operator.ENDS, text)


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
