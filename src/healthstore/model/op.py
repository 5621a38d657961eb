"""What every operation is: a frozen value with an effect and the type of its result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Generic, TypeVar

__all__ = ("Effect", "Op")

R_co = TypeVar("R_co", covariant=True)


class Effect(StrEnum):
    """Whether an operation reads, writes, or changes the schema."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Op(Generic[R_co]):
    """A request whose result is an ``R_co``."""

    effect: ClassVar[Effect]
