"""Altering a table: from the tables of two definitions to the statements between them.

The parts of both tables are compared as the text that makes them, so what needs no statement (a
longer text on SQLite, say) gets none. Where a database cannot alter a part, the table is made
anew under another name, filled and put in the place of the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ClauseElement,
    Column,
    Constraint,
    Index,
    Table,
    UniqueConstraint,
)
from sqlalchemy.schema import (
    AddConstraint,
    CreateColumn,
    CreateIndex,
    DropConstraint,
    DropIndex,
)

from healthstore.adapters.sql.anew import Copy, made_anew
from healthstore.adapters.sql.dialect import Connection, Dialect
from healthstore.adapters.sql.schema import (
    There,
    complete_indexes,
    drop_unknown_indexes,
    missing_indexes,
)
from healthstore.adapters.sql.tables import (
    CONDITION,
    HIDDEN,
    create_indexes,
    create_table,
    references_of,
    set_default,
    table_of,
)
from healthstore.model.ops import Explained
from healthstore.model.schema import Collection, Field
from healthstore.model.values import Kind

__all__ = ("alter", "built_aside", "explain_alteration")


async def alter(
    connection: Connection, dialect: Dialect, before: Collection, after: Collection
) -> None:
    """Make the table of one definition into that of another, and the indexes that are missing.

    Where each statement commits by itself, what is there already is passed over.
    """
    alteration = _Alteration(before, after, dialect)
    if dialect.changed_column is None and alteration.needs_another_table:
        await made_anew(connection, dialect, alteration.copy)
    else:
        known = before.index_names.keys() | alteration.aside.keys()
        await drop_unknown_indexes(connection, dialect, before, known)
        there = await There.of(
            connection,
            dialect,
            after.name,
            alteration.columns,
            alteration.constraints,
            alteration.indexes,
        )
        for statement in alteration.statements(there):
            await connection.run(statement)
    await complete_indexes(connection, alteration.after, dialect)


def built_aside(before: Collection, after: Collection, dialect: Dialect) -> Mapping[str, str]:
    """Return what builds the indexes of an alteration that can be built before it, by their names.

    Those are plain and new, over columns that stay as they are.
    """
    return _Alteration(before, after, dialect).aside


def explain_alteration(before: Collection, after: Collection, dialect: Dialect) -> Explained:
    """Return how :func:`alter` changes a table that is as its definition says."""
    alteration = _Alteration(before, after, dialect)
    if dialect.changed_column is None and alteration.needs_another_table:
        indexes = tuple(missing_indexes(alteration.after, (), dialect))
        statements = (*alteration.copy.statements(dialect), *indexes)
        each = dialect.rates.copied + dialect.rates.indexed * len(indexes)
        return Explained(statements, rewrites=True, around=dialect.by_hand, seconds_per_row=each)
    there = There.as_defined(alteration.before, dialect)
    altering = tuple(alteration.statements(there))
    aside = alteration.aside
    indexes = tuple(missing_indexes(alteration.after, there.indexes | aside.keys(), dialect))
    built = len(aside) + len(indexes)
    return Explained(
        (*aside.values(), *altering, *indexes),
        alteration.rewrites,
        dialect.by_hand,
        seconds_per_row=alteration.seconds_per_row + dialect.rates.indexed * built,
        alone=len(aside),
    )


class _Alteration:
    """What differs between the tables of two definitions of one collection."""

    def __init__(self, before: Collection, after: Collection, dialect: Dialect) -> None:
        before, after = before.stored, after.stored
        self.definitions = before, after
        self.before = table_of(before, dialect)
        self.after = table_of(after, dialect)
        self.dialect = dialect
        for name in set(after.names) - set(self._kept):
            set_default(self.after.columns[name], after.field(name), dialect)

    def _text(self, element: ClauseElement) -> str:
        return str(element.compile(dialect=self.dialect.ddl_compiler))

    def _columns(self, table: Table) -> dict[str, str]:
        return {each.name: self._text(CreateColumn(each)) for each in table.columns}

    def _constraints(self, table: Table) -> dict[str, str]:
        return {
            str(each.name): self._text(_adding(each)) + self._anew(table, each)
            for each in _named(table)
        }

    def _anew(self, table: Table, constraint: Constraint) -> str:
        """Return what tells a key of a computed column that is made anew from the one before."""
        if table is not self.after or not isinstance(constraint, UniqueConstraint):
            return ""
        return " anew" if any(map(self._is_computed_anew, constraint.columns)) else ""

    def _is_computed_anew(self, column: Column[Any]) -> bool:
        return CONDITION in column.info and column.name not in self._kept

    def _indexes(self, table: Table) -> dict[str, str]:
        return {str(each.name): self._text(CreateIndex(each)) for each in table.indexes}

    @cached_property
    def columns(self) -> Mapping[str, str]:
        """The columns before, as the text that makes them."""
        return self._columns(self.before)

    @cached_property
    def constraints(self) -> Mapping[str, str]:
        """The constraints before."""
        return self._constraints(self.before)

    @cached_property
    def indexes(self) -> Mapping[str, str]:
        """The indexes before."""
        return self._indexes(self.before)

    @cached_property
    def _now(self) -> tuple[Mapping[str, str], Mapping[str, str], Mapping[str, str]]:
        after = self.after
        return self._columns(after), self._constraints(after), self._indexes(after)

    @cached_property
    def _kept(self) -> Sequence[str]:
        """The columns whose values stay: those of another kind hold none, and are made anew."""
        before, after = (each.by_name for each in self.definitions)
        kept = [
            name
            for name in self.columns
            if name in after and _kind(before[name]) == _kind(after[name])
        ]
        computed = (each for each in self.after.columns if CONDITION in each.info)
        kept += [
            each.name
            for each in computed
            if self.columns.get(each.name) == self._text(CreateColumn(each))
            and each.info[CONDITION] <= {*kept}
        ]
        return kept

    def _is_bare(self, name: str) -> bool:
        """Tell whether a column that is new has no value to give to the rows that are there."""
        column = self.after.columns[name]
        return not column.nullable and column.server_default is None

    @property
    def _changed_columns(self) -> list[str]:
        columns, _, _ = self._now
        return [
            name
            for name, text in columns.items()
            if name in self._kept and self.columns[name] != text
        ]

    @property
    def _own_checks(self) -> dict[str, CheckConstraint]:
        """The checks that come with a new column and keep it to its type, by the column's name."""
        after = self.definitions[1]
        typed = {name: each.name for name, each in after.type_names.items()}
        return {
            typed[str(each.name)]: each
            for each in _named(self.after)
            if isinstance(each, CheckConstraint)
            and typed.get(str(each.name), "id") not in self.before.columns
        }

    @property
    def needs_another_table(self) -> bool:
        """Whether more than columns with checks of their own is added, or anything but indexes goes."""
        columns, constraints, _ = self._now
        own = {str(each.name) for each in self._own_checks.values()}
        kept = {name: text for name, text in constraints.items() if name not in own}
        gone = self.columns.keys() - set(self._kept)
        bare = (name for name in columns if name not in self._kept and self._is_bare(name))
        changed = self._changed_columns or any(
            self.recoded(each) != self._column(self.before, each) for each in self._kept
        )
        return bool(gone or changed or any(bare) or kept != self.constraints)

    @property
    def _added(self) -> Sequence[Constraint]:
        """The constraints that come, or are others than before."""
        _, constraints, _ = self._now
        return [
            each
            for each in _named(self.after)
            if self.constraints.get(str(each.name)) != constraints[str(each.name)]
        ]

    @cached_property
    def aside(self) -> Mapping[str, str]:
        """What builds new indexes before all else, where they need nothing of it, by their names."""
        if self.dialect.aside is None:
            return {}
        columns, _, _ = self._now
        same = {name for name in self._kept if self.columns[name] == columns[name]}
        new = {
            str(each.name)
            for each in self.after.indexes
            if str(each.name) not in self.indexes
            and not (each.unique or each.info.get(HIDDEN))
            and each.dialect_kwargs.get(self.dialect.index_part) is None
            and same.issuperset(each.columns.keys())
        }
        return {
            name: statement.replace(" INDEX ", f" {self.dialect.aside.index} ", 1)
            for name, statement in create_indexes(self.after, self.dialect).items()
            if name in new
        }

    @property
    def seconds_per_row(self) -> float:
        """What the statements cost each row, but for those that make indexes."""
        rates = self.dialect.rates
        required = (
            bool(self.before.columns[name].nullable) and not self.after.columns[name].nullable
            for name in self._changed_columns
        )
        keys = sum(isinstance(each, UniqueConstraint) for each in self._added)
        read = len(self._added) - keys + sum(required)
        return (rates.copied if self.rewrites else 0) + rates.indexed * keys + rates.read * read

    @property
    def rewrites(self) -> bool:
        """Whether the statements write every row again."""
        columns, _, _ = self._now
        rewrites = self.dialect.rewrites
        changed = (
            rewrites.column(
                self.before.columns[name] if name in self._kept else None, self.after.columns[name]
            )
            for name, text in columns.items()
            if name not in self._kept or self.columns[name] != text
        )
        return any(changed) or any(isinstance(each, rewrites.constraints) for each in self._added)

    def statements(self, there: There) -> Iterator[str]:
        """Yield what alters the table: first goes what names columns, and last it comes."""
        table = self._quoted(self.after)
        yield from self._kept_indexes(there)
        yield from self._dropped(there)
        # One that is computed of others goes before them.
        for name in sorted(self.columns, key=self.definitions[0].by_name.__contains__):
            if name not in self._kept and name in there.columns:
                yield f"ALTER TABLE {table} DROP COLUMN {self._column(self.before, name)}"
                there.columns.discard(name)
        yield from self._fields(table, there)
        for each in _named(self.after):
            if str(each.name) not in there.constraints | there.indexes:
                yield self._text(_adding(each))
                there.constraints.add(str(each.name))

    def _fields(self, table: str, there: There) -> Iterator[str]:
        columns, _, _ = self._now
        change = self.dialect.changed_column
        checks = self._own_checks if change is None else {}
        for name, text in columns.items():
            if name not in there.columns:
                check = checks.get(name)
                with_check = ""
                if check is not None:
                    # A constraint of the column: none of a table can be added.
                    with_check = " " + self._text(_adding(check)).partition(" ADD ")[2]
                    there.constraints.add(str(check.name))
                bare = change is not None and self._is_bare(name)
                # Null at first: MySQL and MariaDB give each row a value of their own, such as 0.
                added = text.removesuffix(" NOT NULL") if bare else text
                yield f"ALTER TABLE {table} ADD COLUMN {added}{with_check}"
                if change is not None and bare:
                    for clause in change(None, self.after.columns[name]):
                        yield f"ALTER TABLE {table} {clause}"
            elif change is not None and self.columns.get(name) != text:
                # One that is there and was not before is left of an attempt that was cut short.
                for clause in change(self.before.columns.get(name), self.after.columns[name]):
                    yield f"ALTER TABLE {table} {clause}"

    def _dropped(self, there: There) -> Iterator[str]:
        """Yield what removes constraints and indexes that are gone, or are to be others."""
        _, constraints, indexes = self._now
        for each in _named(self.before):
            name = str(each.name)
            if constraints.get(name) != self.constraints[name]:
                if name in there.constraints | there.indexes:
                    yield self._text(DropConstraint(each))
                there.constraints.discard(name)
                there.indexes.discard(name)
        for index in sorted(self.before.indexes, key=lambda each: str(each.name)):
            name = str(index.name)
            if indexes.get(name) != self.indexes[name] and name in there.indexes:
                yield self._text(DropIndex(index))
                there.indexes.discard(name)

    def _kept_indexes(self, there: There) -> Iterator[str]:
        """Yield what gives references indexes that would go with others, where they need one."""
        if not self.dialect.references_need_indexes:
            return
        _, constraints, indexes = self._now
        going = {
            next(iter(each.columns)).name
            for each in (*_named(self.before), *self.before.indexes)
            if isinstance(each, UniqueConstraint | Index)
            and each.columns
            and {**self.constraints, **self.indexes}[str(each.name)]
            != {**constraints, **indexes}.get(str(each.name))
        }
        for name, reference in references_of(self.before).items():
            (column,) = reference.constraint.columns
            if column.name in going and name not in there.indexes:
                # Named as the one that the server makes by itself where there is none.
                on = f"{self._quoted(self.before)} ({self._column(self.before, column.name)})"
                yield f"CREATE INDEX {name} ON {on}"
                there.indexes.add(name)

    def _quoted(self, table: Table) -> str:
        return self.dialect.ddl_compiler.identifier_preparer.format_table(table)

    def _column(self, table: Table, name: str) -> str:
        return self.dialect.ddl_compiler.identifier_preparer.format_column(table.columns[name])

    @property
    def copy(self) -> Copy:
        """What makes the table anew, where it cannot be altered."""
        columns = ", ".join(self._column(self.after, each) for each in self._kept)
        values = ", ".join(map(self.recoded, self._kept))
        return Copy(
            self.after,
            create_table(self.after, self.dialect, references_of(self.after)),
            f"({columns}) SELECT {values} FROM {self._quoted(self.before)}",
            frozenset(self.columns),
            frozenset(self.indexes),
        )

    def recoded(self, name: str) -> str:
        """Return what stands for a column's values as they are kept from now on."""
        before, after = self.definitions
        column = self._column(self.before, name)
        return self.dialect.recoded(column, before.field(name).type, after.field(name).type)


def _kind(field: Field) -> tuple[Kind, bool]:
    return field.type.kind, field.type.milliseconds


def _named(table: Table) -> Sequence[Constraint]:
    """Return a table's constraints but its key, in one order."""
    named = (each for each in table.constraints if each.name is not None)
    return sorted(named, key=lambda each: (not isinstance(each, CheckConstraint), str(each.name)))


def _adding(constraint: Constraint) -> AddConstraint:
    return AddConstraint(constraint, isolate_from_table=False)
