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
    from healthstore.config.settings import MemberSettings, Profile, Settings
    from healthstore.entity import (
        Computed,
        Digits,
        Entity,
        MaxLength,
        Milliseconds,
        Ref,
        Search,
        Searchable,
    )
    from healthstore.errors import HealthstoreError, Outcome
    from healthstore.events import (
        ConfigReloaded,
        ConnectionLost,
        Event,
        FailedBack,
        FailedOver,
        MemberDegraded,
        MockEntered,
        MockLeft,
        OperationFinished,
        Recovered,
        SlowQuery,
        Switched,
    )
    from healthstore.manager import DatabaseManager
    from healthstore.model.measures import (
        Avg,
        Bucket,
        Count,
        CountDistinct,
        First,
        Last,
        Max,
        Measure,
        Min,
        Percentile,
        Sum,
    )
    from healthstore.model.operators import (
        Add,
        Append,
        AtLeast,
        AtMost,
        Exclude,
        Include,
        Merge,
        Now,
    )
    from healthstore.model.plans import QueryPlan
    from healthstore.model.query import Condition, F, Filter, Order, asc, desc, field
    from healthstore.model.schema import Check, Index, Unique
    from healthstore.repository import Children, Page, Repository
    from healthstore.routing.policy import (
        Failback,
        FailoverMode,
        FailoverPolicy,
        Mock,
        Probe,
        Startup,
    )
    from healthstore.routing.report import Health, MemberHealth, Mode
    from healthstore.statistics import OperationStatistics
    from healthstore.switching import SwitchReport
    from healthstore.transaction import Transaction

__all__ = (
    "Add",
    "Append",
    "AtLeast",
    "AtMost",
    "Avg",
    "Bucket",
    "Check",
    "Children",
    "Computed",
    "Condition",
    "ConfigReloaded",
    "ConnectionLost",
    "Count",
    "CountDistinct",
    "DatabaseManager",
    "Digits",
    "Entity",
    "Event",
    "Exclude",
    "F",
    "Failback",
    "FailedBack",
    "FailedOver",
    "FailoverMode",
    "FailoverPolicy",
    "Filter",
    "First",
    "Health",
    "HealthstoreError",
    "Include",
    "Index",
    "Isolation",
    "Last",
    "Max",
    "MaxLength",
    "Measure",
    "MemberDegraded",
    "MemberHealth",
    "MemberSettings",
    "Merge",
    "Milliseconds",
    "Min",
    "Mock",
    "MockEntered",
    "MockLeft",
    "Mode",
    "Now",
    "OperationFinished",
    "OperationStatistics",
    "Order",
    "Outcome",
    "Page",
    "Percentile",
    "Probe",
    "Profile",
    "QueryPlan",
    "Recovered",
    "Ref",
    "Repository",
    "Search",
    "Searchable",
    "Settings",
    "SlowQuery",
    "Startup",
    "Sum",
    "SwitchReport",
    "Switched",
    "Transaction",
    "Unique",
    "__version__",
    "asc",
    "desc",
    "field",
)

_HOMES = {
    "Isolation": "abc.backend",
    **dict.fromkeys(("MemberSettings", "Profile", "Settings"), "config.settings"),
    **dict.fromkeys(
        (
            "Computed",
            "Digits",
            "Entity",
            "MaxLength",
            "Milliseconds",
            "Ref",
            "Search",
            "Searchable",
        ),
        "entity",
    ),
    **dict.fromkeys(("HealthstoreError", "Outcome"), "errors"),
    **dict.fromkeys(
        (
            "ConfigReloaded",
            "ConnectionLost",
            "Event",
            "FailedBack",
            "FailedOver",
            "MemberDegraded",
            "MockEntered",
            "MockLeft",
            "OperationFinished",
            "Recovered",
            "SlowQuery",
            "Switched",
        ),
        "events",
    ),
    "DatabaseManager": "manager",
    "SwitchReport": "switching",
    "Transaction": "transaction",
    **dict.fromkeys(
        (
            *("Avg", "Bucket", "Count", "CountDistinct", "First", "Last", "Max", "Measure", "Min"),
            *("Percentile", "Sum"),
        ),
        "model.measures",
    ),
    **dict.fromkeys(("Condition", "F", "Filter", "Order", "asc", "desc", "field"), "model.query"),
    **dict.fromkeys(("Check", "Index", "Unique"), "model.schema"),
    **dict.fromkeys(("Children", "Page", "Repository"), "repository"),
    **dict.fromkeys(
        ("Add", "Append", "AtLeast", "AtMost", "Exclude", "Include", "Merge", "Now"),
        "model.operators",
    ),
    "QueryPlan": "model.plans",
    **dict.fromkeys(
        ("Failback", "FailoverMode", "FailoverPolicy", "Mock", "Probe", "Startup"), "routing.policy"
    ),
    **dict.fromkeys(("Health", "MemberHealth", "Mode"), "routing.report"),
    "OperationStatistics": "statistics",
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
