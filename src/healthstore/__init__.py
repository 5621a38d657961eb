"""healthstore: one entity, one repository, five backends.

A service keeps its data in PostgreSQL, MySQL, MariaDB, SQLite, MongoDB or memory without
knowing which, moves it from one to another, and proves that nothing changed.

The names below are imported when they are first used: a program that only asks for one of them
does not wait for the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from healthstore._version import __version__

if TYPE_CHECKING:
    from healthstore.abc.backend import Isolation
    from healthstore.entity import Digits, Entity, MaxLength, Milliseconds, Ref
    from healthstore.errors import HealthstoreError
    from healthstore.events import OperationFinished
    from healthstore.manager import DatabaseManager, Transaction
    from healthstore.model.ops import Avg, Count, Max, Measure, Min, Sum
    from healthstore.model.query import F, Filter
    from healthstore.model.schema import Check, Index, Unique
    from healthstore.repository import Page, Repository

__all__ = (
    "Avg",
    "Check",
    "Count",
    "DatabaseManager",
    "Digits",
    "Entity",
    "F",
    "Filter",
    "HealthstoreError",
    "Index",
    "Isolation",
    "Max",
    "MaxLength",
    "Measure",
    "Milliseconds",
    "Min",
    "OperationFinished",
    "Page",
    "Ref",
    "Repository",
    "Sum",
    "Transaction",
    "Unique",
    "__version__",
)

_HOMES = {
    "Isolation": "abc.backend",
    **dict.fromkeys(("Digits", "Entity", "MaxLength", "Milliseconds", "Ref"), "entity"),
    "HealthstoreError": "errors",
    "OperationFinished": "events",
    **dict.fromkeys(("DatabaseManager", "Transaction"), "manager"),
    **dict.fromkeys(("Avg", "Count", "Max", "Measure", "Min", "Sum"), "model.ops"),
    **dict.fromkeys(("F", "Filter"), "model.query"),
    **dict.fromkeys(("Check", "Index", "Unique"), "model.schema"),
    **dict.fromkeys(("Page", "Repository"), "repository"),
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # asked for once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
