"""What an SQL database is to the adapter: constants and converters, and a driver's connection.

A :class:`Dialect` is data: the SQL adapter never asks which database it is on. A
:class:`Connection` is the thin face of a driver: text and values in, rows out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol, TypeAlias

from sqlalchemy import ClauseElement, Column, ColumnElement, Constraint, Select, Table
from sqlalchemy import Dialect as Compiler
from sqlalchemy.types import TypeEngine

from healthstore.abc.backend import Isolation
from healthstore.abc.unit import Phase
from healthstore.adapters.sql.errors import Failure
from healthstore.adapters.sql.paths import Bound, Paths
from healthstore.adapters.sql.plans import Planner
from healthstore.adapters.sql.walks import Walk
from healthstore.model.columns import Converter
from healthstore.model.schema import Collection
from healthstore.model.values import FieldType, Kind
from healthstore.model.zones import Unit

__all__ = (
    "Aside",
    "Buckets",
    "BulkInsert",
    "BulkUpdate",
    "CommitError",
    "Connection",
    "Converter",
    "Dialect",
    "Elements",
    "Ranks",
    "Rates",
    "Renames",
    "Rewrites",
    "Row",
)

# The values of one row as the driver takes or gives them, in the order of the columns.
Row: TypeAlias = Sequence[Any]


class CommitError(Exception):
    """A COMMIT failed, or what travelled with it and may have been committed; ``error`` says how."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class Connection(Protocol):
    """One connection of a driver, used by one task at a time.

    What is the ``last`` write of its transaction may take the COMMIT with it, which saves a trip.
    If it is not known then whether that has run, a CommitError is raised.
    """

    async def fetch(self, sql: str, parameters: Row) -> Sequence[Row]:
        """Run a statement and return its rows."""
        ...

    async def execute(self, sql: str, parameters: Row, *, last: bool = False) -> int:
        """Run an UPDATE or DELETE and return how many rows it matched."""
        ...

    async def update_rows(
        self, update: BulkUpdate, rows: Sequence[Row], *, last: bool = False
    ) -> int:
        """Change rows, each another one, by the fastest way of the driver; return how many matched."""
        ...

    async def insert_rows(
        self, insert: BulkInsert, rows: Iterable[Row], count: int, *, last: bool = False
    ) -> None:
        """Insert so many rows by the fastest way that the driver has.

        They are made as they are asked for: a driver that sends them as they come lets the server
        work meanwhile.
        """
        ...

    async def run(self, sql: str) -> None:
        """Run a statement without parameters or rows."""
        ...

    async def begin(self, sql: str) -> None:
        """Begin a transaction with a statement: now, or together with the next one."""
        ...

    async def commit(self) -> None:
        """Commit the transaction, unless its last write has."""
        ...

    async def ping(self) -> None:
        """Make one round trip."""
        ...

    @property
    def reusable(self) -> bool:
        """Whether the connection is open and in no transaction."""
        ...

    async def discard(self) -> None:
        """Close at once, whatever state it is in; what is not committed is gone. Never raises."""
        ...

    async def abort(self) -> None:
        """Drop it without a word to the server, which may hang: nothing is waited for."""
        ...

    def abandon(self) -> None:
        """Drop it when its event loop has ended: nothing can be awaited."""
        ...


@dataclass(frozen=True, slots=True)
class BulkInsert:
    """What a driver needs for a bulk insert: the table, its columns, and ``INSERT … VALUES``."""

    table: str
    columns: tuple[str, ...]
    kinds: tuple[Kind, ...]
    """Those of the columns' fields."""
    head: str
    """``INSERT INTO t (a, b) VALUES``, without the row."""
    single: str
    """The statement for one row, with placeholders."""


@dataclass(frozen=True, slots=True)
class BulkUpdate:
    """What a driver needs for changing rows by their ids, or by ids and versions."""

    table: str
    columns: tuple[str, ...]
    """Those that change."""
    found_by: tuple[str, ...]
    """The columns by which a row is found; their values come after those that change."""
    single: str
    """The statement for one row, with placeholders in this order."""
    joint: str
    """The statement for all, with an array for each column; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """How a database cuts time, without a zone of its own."""

    instant: Callable[[int], str]
    """From a second since 1970 to what an instant's column is compared with."""
    offset: Callable[[int], str]
    """From the seconds of an offset to what is added to an instant."""
    day: Callable[[date], str]
    """From a day to what a date's column is compared with."""
    of_instant: Callable[[ColumnElement[Any], ColumnElement[Any], Unit, int], ColumnElement[Any]]
    """From an instant, its offset, a unit, and the day on which weeks begin, to the bucket."""
    of_date: Callable[[ColumnElement[Any], Unit, int], ColumnElement[Any]]
    """The same of a date, without an offset."""
    read: Callable[[Any, Unit], date | int]
    """From the driver's value to the first day, or to the second of a minute's or hour's begin."""
    bound: Callable[[date | int, Unit, Kind], Bound]
    """The way back, for buckets of fields of a kind: what one is compared with."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """How a database finds a value by its rank."""

    percentile: Callable[[ColumnElement[Any], int], ColumnElement[Any]] | None = None
    """From a column and a share in parts of 10,000 to its nearest rank.

    None where no aggregate of its own is exact.
    """
    picked: (
        Callable[[ColumnElement[Any], Sequence[ColumnElement[Any]]], ColumnElement[Any]] | None
    ) = None
    """From a column and an order to the value of the first row; None where rows are numbered."""
    nearest: str = ""
    """The greater one of 1 and a whole quotient; its places are for the dividend and the divisor."""


@dataclass(frozen=True, slots=True)
class Renames:
    """Statements that rename: their places are for the table, the old name and the new one.

    ``constraint`` is None where a constraint is dropped and added instead, and a unique key is
    renamed as an index; ``index``, where the table is made anew. ``table`` are those that rename
    it, with the foreign keys of others: their places are for the old name and the new one.
    """

    constraint: str | None = None
    index: str | None = None
    table: tuple[str, ...] = ("ALTER TABLE {} RENAME TO {}",)


@dataclass(frozen=True, slots=True)
class Rewrites:
    """What makes a database write every row of a table again, beside making the table anew.

    ``column`` tells it of a column that comes, where the first one is None, or becomes another
    one; ``constraints`` are the kinds of which each that is added does it.
    """

    column: Callable[[Column[Any] | None, Column[Any]], bool] = lambda *_: True
    constraints: tuple[type[Constraint], ...] = ()


@dataclass(frozen=True, slots=True)
class Rates:
    """Upper estimates of what a change of a table costs each row, in seconds.

    ``copied`` is a row that is written again, ``indexed`` one that comes into an index or a key,
    ``read`` one that is held against a check, a reference or a column that is required by now.
    """

    copied: float
    indexed: float
    read: float


@dataclass(frozen=True, slots=True)
class Elements:
    """What an index of a list's elements is made of: its key, and what SQLAlchemy is told of it."""

    key: ColumnElement[Any]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """How an index is built outside of a transaction, while others write."""

    index: str
    """What then stands for INDEX in the statements that create and drop it."""
    before: tuple[str, ...]
    """What is run on the connection first; its place is for the milliseconds that it may take."""
    able: tuple[str, ...]
    """What not every server is able to do."""
    turn: str
    """The query whether this connection's turn has come, which it has until it is closed."""
    plain: str
    """The query for a table's indexes that are not unique: the name, and the keys of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The constants of one database."""

    compiler: Compiler
    """SQLAlchemy's dialect, which writes statements with the driver's placeholders."""
    ddl_compiler: Compiler
    """The same for DDL, which has no placeholders."""
    column_type: Callable[[FieldType, bool], TypeEngine[Any]]
    """The column type of a field; the flag tells whether the field is indexed."""
    table_options: Mapping[str, object]
    encoders: Mapping[Kind, Callable[[FieldType], Converter | None]]
    """From a canonical value to the driver's; None where both are the same."""
    decoders: Mapping[Kind, Callable[[FieldType], Converter | None]]
    """From the driver's value to the canonical one."""
    null_hides_reference: bool
    """Whether a reference goes unchecked while another field of a key that begins with it is null.

    MySQL does so from 9.6 on, with the first such key of the table. So a unique key begins with
    something else there, and an index comes after one of the reference alone.
    """
    column_check: Callable[[ColumnElement[Any], FieldType], ColumnElement[bool] | None]
    """A check that keeps the column to the field's type where the column type alone does not."""
    constant: Callable[[Any, ColumnElement[Any]], ColumnElement[Any]]
    """What stands in DDL for an encoded value that a column is compared with."""
    default: Callable[[Any, Column[Any]], ColumnElement[Any]]
    """What stands in DDL for an encoded value that is a column's default."""
    among: Callable[[ColumnElement[Any], ColumnElement[Any]], ColumnElement[bool]]
    """The test that a column has one of the values of a list that is one parameter."""
    many: Callable[[FieldType, tuple[Any, ...]], Any]
    """That parameter, from encoded values."""
    contains: Callable[[ColumnElement[Any], ColumnElement[Any]], ColumnElement[bool]]
    ends: Callable[
        [ColumnElement[Any], ColumnElement[Any], ColumnElement[Any]], ColumnElement[bool]
    ]
    """From a column, a text, and the text's length in code points."""
    paths: Paths
    """How parts of JSON are read."""
    matches: Callable[[ColumnElement[Any], ColumnElement[Any]], ColumnElement[bool]]
    """From a column and a pattern as ``pattern`` writes it."""
    pattern: Callable[[str], str]
    """From a canonical pattern to the one that the database is to find in a text."""
    planner: Planner
    """How it is asked for its plan of a query."""
    rank_nulls: bool
    """Whether ORDER BY must say that null is smallest."""
    sorts_whole: bool
    """Whether texts of any length are sorted whole, and faster than by their heads."""
    read_back: str
    """How an UPDATE and the SELECT of its row become one text that is a transaction by itself.

    Empty where UPDATE … RETURNING exists.
    """
    row_locks: bool
    """Whether SELECT … FOR UPDATE exists."""
    first: Callable[[ColumnElement[Any], Select[Any]], ColumnElement[bool]] | None
    """The test that an UPDATE changes a row which a select of its table finds; it finds once.

    None where such an UPDATE does not return the rows.
    """
    detects_conflicts: bool
    """Whether a snapshot unit fails by itself when it writes what changed since its snapshot."""
    adds: Callable[[FieldType], bool]
    """Whether ``column + step`` is exact for a field's type, and fails when it leaves the range."""
    sums: Callable[[FieldType], bool]
    """Whether a field's type can be summed exactly by the database."""
    sum_columns: Callable[[ColumnElement[Any], FieldType], tuple[ColumnElement[Any], ...]]
    sum_value: Callable[[FieldType, Sequence[Any]], Any]
    """From the values of ``sum_columns`` to the canonical sum, or None."""
    sum_keys: Callable[[Sequence[ColumnElement[Any]]], tuple[ColumnElement[Any], ...]]
    """From ``sum_columns``, of no floats, to what sorts as the sum does, one after the other.

    The sum of nothing is 0. The first one compares as the sum with each value of its field.
    """
    buckets: Buckets
    ranks: Ranks
    walk: Walk | None = None
    """How it finds the first rows of groups along an index; None where that takes no less time."""
    joint_update: Callable[[Table, Sequence[str], Sequence[str]], ClauseElement] | None
    """The statement that sets columns of rows, found by others, from an array for each of both.

    None where the driver has a faster way.
    """
    max_parameters: int
    bulk_rows: int
    """The most rows of one bulk insert."""
    existing: str
    """The query for the names of all tables."""
    existing_indexes: str
    """The query for the names of all indexes, and whether each one is whole."""
    elements: Callable[[Column[Any]], Elements] | None
    """What indexes the elements of a column's lists; None where nothing does."""
    indexes_terms: bool
    """Whether a term is a key of an index; else the index has its other keys."""
    index_part: str
    """What SQLAlchemy calls the clause of an index that holds a part of the rows.

    Empty where there is none: then each index holds them all.
    """
    indexes_words: bool = False
    """Whether an index has the elements of lists of any length, such as the words of a text."""
    aside: Aside | None
    """How indexes are built before an alteration; None where they are a part of it."""
    existing_references: str | None
    """The query for the names of all foreign keys; None where one may lead to no table yet."""
    existing_parts: tuple[str, str, str] | None
    """The queries for the names of a table's columns, of its constraints and of its indexes.

    None where a table's changes are made in one transaction: what is there is as it was defined.
    """
    changed_column: Callable[[Column[Any] | None, Column[Any]], Iterable[str]] | None
    """The clauses of ALTER TABLE that make a column into another one; None where there are none.

    The first one is None for a column that is there and was not to be.
    """
    renames: Renames
    """How a table and its parts get other names."""
    rewrites: Rewrites
    rates: Rates
    """Which alterations write every row again."""
    by_hand: tuple[tuple[str, ...], tuple[str, ...]]
    """What is to run before and after a change that somebody makes by hand."""
    belonging: tuple[str, str]
    """The queries for a table's columns, and for its indexes and triggers with the text of each.

    Empty where no table is made anew.
    """
    recoded: Callable[[str, FieldType, FieldType], str]
    """From a column's name to its values as those of another type, where a table is made anew."""
    widened: Callable[[ColumnElement[Any], FieldType, int], ColumnElement[Any]]
    """From a column to its values as a decimal of so many digits, at least its own, keeps them.

    A column of another kind stays what it is. Null stays null.
    """
    lists_lookups: bool
    """Whether what a field is not among is read once by NOT IN, and NOT EXISTS goes row by row.

    Elsewhere NOT EXISTS is read once, and NOT IN only while its list is short.
    """
    references_need_indexes: bool
    """Whether an index stays as long as a foreign key on its first column has no other one."""
    patience: tuple[tuple[str, ...], tuple[str, ...]]
    """What surrounds an alteration: it may take long, but wait for others for seconds only.

    A statement that waits for a table holds up everyone who comes later.
    """
    checks_statements: bool
    """Whether foreign keys are checked at the end of a statement, not row by row."""
    names_references: bool
    """Whether an error tells which foreign key was broken."""
    begin: Mapping[tuple[Isolation, bool], tuple[str, ...]]
    """The statements that begin a unit, by isolation and read-only."""
    begin_write: str
    """The statement that begins the transaction of one operation."""
    admin: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    """What surrounds a change of the schema: before, after success, after failure."""
    classify: Callable[[BaseException, Phase, Collection | None], Failure]
