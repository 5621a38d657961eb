"""healthstore: one entity, one repository, five backends.

A service keeps its data in PostgreSQL, MySQL, MariaDB, SQLite, MongoDB or memory without
knowing which, moves it from one to another, and proves that nothing changed.
"""

from healthstore._version import __version__
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
