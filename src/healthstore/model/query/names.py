"""``F``: the names of fields in filters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from healthstore.errors import InvalidRequestError
from healthstore.model.arguments import listed
from healthstore.model.query.tests import And, Filter, Operator, OtherField, Test
from healthstore.model.values import Value

__all__ = ("F", "FieldName")


class FieldName:
    """The name of a field in a filter: ``F.weight > 70``. Comparing it gives a filter.

    It is compared with a value, or with another field: ``F.ended_at >= F.started_at``.
    """

    __slots__ = ("name",)
    __hash__ = object.__hash__

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"F.{self.name}"

    def __bool__(self) -> bool:
        raise InvalidRequestError(
            f"F.{self.name} has no truth value", hint=f"compare it: F.{self.name}.is_true()"
        )

    def __eq__(self, value: object) -> Test:  # type: ignore[override]  # a filter, not a bool
        return Test(self.name, Operator.EQ, _operand(value))

    def __ne__(self, value: object) -> Test:  # type: ignore[override]  # a filter, not a bool
        return Test(self.name, Operator.NE, _operand(value))

    def __lt__(self, value: Value | FieldName) -> Test:
        return Test(self.name, Operator.LT, _operand(value))

    def __le__(self, value: Value | FieldName) -> Test:
        return Test(self.name, Operator.LE, _operand(value))

    def __gt__(self, value: Value | FieldName) -> Test:
        return Test(self.name, Operator.GT, _operand(value))

    def __ge__(self, value: Value | FieldName) -> Test:
        return Test(self.name, Operator.GE, _operand(value))

    def in_(self, values: Iterable[Value]) -> Test:
        """Hold for any of these values; for none if there are none."""
        return Test(self.name, Operator.IN, self._listed(values))

    def not_in(self, values: Iterable[Value]) -> Test:
        """Hold for every other value, ``None`` included unless it is listed."""
        return Test(self.name, Operator.NOT_IN, self._listed(values))

    def _listed(self, values: Iterable[Value]) -> tuple[Value, ...]:
        return listed(values, f"what {self.name} is looked up in", "F.name.in_([first, second])")

    def between(self, low: Value | FieldName, high: Value | FieldName) -> Filter:
        """Hold for values from ``low`` to ``high``, both included."""
        return And((self >= low, self <= high))

    def is_null(self) -> Test:
        """Hold when the field is ``None``."""
        return Test(self.name, Operator.IS_NULL)

    def not_null(self) -> Test:
        """Hold when the field is not ``None``."""
        return Test(self.name, Operator.NOT_NULL)

    def is_true(self) -> Test:
        """Hold when the field is ``True``; ``None`` is not."""
        return Test(self.name, Operator.EQ, operand=True)

    def is_false(self) -> Test:
        """Hold when the field is ``False``; ``None`` is not."""
        return Test(self.name, Operator.EQ, operand=False)

    def contains(self, text: str) -> Test:
        """Hold when the text occurs in the field, character for character."""
        return Test(self.name, Operator.CONTAINS, text)

    def startswith(self, text: str) -> Test:
        """Hold when the field starts with the text, character for character."""
        return Test(self.name, Operator.STARTS, text)

    def endswith(self, text: str) -> Test:
        """Hold when the field ends with the text, character for character."""
        return Test(self.name, Operator.ENDS, text)


def _operand(value: object) -> Value | OtherField:
    """Return what a field is compared with: another one by its name, else a value."""
    # The guard refuses what is no value.
    return OtherField(value.name) if isinstance(value, FieldName) else cast(Value, value)


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
