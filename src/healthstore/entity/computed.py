"""Fields that are computed of others, and kept: ``Annotated[int, Computed(lambda r: r.a + r.b)]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

__all__ = ("FAILED", "Computed")

FAILED: Final = "computed_failed"
"""The type of pydantic's error for a value that its function could not make."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A field whose value a function makes of the fields that stand before it.

    ``total_minutes: Annotated[int, Computed(lambda r: r.prep + r.cook)]`` need not be given; a
    given value that is another one is refused where it would be written. It is stored, and so
    filtered and sorted by as any field, and computed again in each write of the entity. What is
    read is as it was stored. The function gets what has those fields as attributes, and must
    always give the same for the same. It is the last note of its annotation.
    """

    function: Callable[[Any], object]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return the schema of the field, whose default is what the function makes."""
        return core_schema.with_default_schema(
            core_schema.no_info_before_validator_function(_made, handler(source)),
            default_factory=self._default,
            default_factory_takes_data=True,
            validate_default=True,
        )

    def _default(self, data: Mapping[str, object]) -> object:
        try:
            return self.function(SimpleNamespace(**data))
        except Exception as error:  # noqa: BLE001 - of the program's own function, in any way
            return _Failure(type(error).__name__)


@dataclass(frozen=True, slots=True)
class _Failure:
    """What stands for a value that was not made: the name of the error's class."""

    kind: str


def _made(value: object) -> object:
    if isinstance(value, _Failure):
        raise PydanticCustomError(
            FAILED,
            "cannot be computed: its function raises {kind} (it sees the fields that stand before it)",
            {"kind": value.kind},
        )
    return value
