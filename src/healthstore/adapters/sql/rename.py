"""Renaming a table, its columns, and what is named after them.

The names of keys, indexes, references and checks hold those of the collection and its fields, so
that an error of the database tells which one it is about: they are renamed, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from sqlalchemy import CheckConstraint, Table, UniqueConstraint
from sqlalchemy.schema import AddConstraint, CreateColumn, DropConstraint, DropIndex

from healthstore.adapters.sql.anew import Copy, made_anew
from healthstore.adapters.sql.dialect import Connection, Dialect
from healthstore.adapters.sql.schema import (
    There,
    complete_indexes,
    drop_unknown_indexes,
    missing_indexes,
    names,
)
from healthstore.adapters.sql.tables import (
    HIDDEN,
    bound_name,
    create_table,
    references_of,
    table_of,
)
from healthstore.model import schema
from healthstore.model.change import with_names
from healthstore.model.ops import Explained
from healthstore.model.query import Term, fields_in
from healthstore.model.schema import Collection, Unique

__all__ = ("explain_renaming", "rename")


async def rename(
    connection: Connection, dialect: Dialect, before: Collection, after: Collection
) -> None:
    """Give the table of one definition the names of another.

    Where each statement commits by itself, what is done already is passed over.
    """
    before, after = before.stored, after.stored
    renaming = _Renaming(before, after, dialect)
    await drop_unknown_indexes(connection, dialect, before, before.index_names)
    if before.name != after.name and before.name in await names(connection, dialect.existing):
        for statement in renaming.of_table:
            await connection.run(statement)
    if dialect.renames.index is None:
        await made_anew(connection, dialect, renaming.copy)
    else:
        named = before.names, (*renaming.constraints,), (*renaming.indexes,)
        there = await There.of(connection, dialect, after.name, *named)
        for statement in renaming.statements(there):
            await connection.run(statement)
    await complete_indexes(connection, renaming.after, dialect)


def explain_renaming(before: Collection, after: Collection, dialect: Dialect) -> Explained:
    """Return how :func:`rename` changes a table that is as its definition says."""
    before, after = before.stored, after.stored
    renaming = _Renaming(before, after, dialect)
    first = renaming.of_table if before.name != after.name else ()
    if dialect.renames.index is None:
        indexes = tuple(missing_indexes(renaming.after, (), dialect))
        statements = (*first, *renaming.copy.statements(dialect), *indexes)
        each = dialect.rates.copied + dialect.rates.indexed * len(indexes)
        return Explained(statements, rewrites=True, around=dialect.by_hand, seconds_per_row=each)
    there = There.as_defined(renaming.before, dialect)
    parts = tuple(renaming.statements(there))
    named = {**renaming.uniques, **renaming.indexes}
    kept = {named.get(each, each) for each in there.indexes}
    indexes = tuple(missing_indexes(renaming.after, kept, dialect))
    each = dialect.rates.copied if renaming.rewrites else 0.0
    return Explained(
        (*first, *parts, *indexes),
        renaming.rewrites,
        dialect.by_hand,
        seconds_per_row=each + dialect.rates.indexed * len(indexes),
    )


@dataclass(frozen=True)
class _Renaming:
    """The tables of two definitions that differ by names."""

    old: Collection
    new: Collection
    dialect: Dialect

    @cached_property
    def fields(self) -> Mapping[str, str]:
        """The names of all fields, by those they had."""
        return dict(zip(self.old.names, self.new.names, strict=True))

    @cached_property
    def before(self) -> Table:
        """The table as it is."""
        return table_of(self.old, self.dialect)

    @cached_property
    def after(self) -> Table:
        """The table as it is to be."""
        return table_of(self.new, self.dialect)

    @property
    def of_table(self) -> Iterator[str]:
        """What gives the table its name; the foreign keys of others follow."""
        for each in self.dialect.renames.table:
            yield each.format(self._table(self.before), self._table(self.after))

    @cached_property
    def checks(self) -> Mapping[str, str]:
        """The names of checks that are to have others, by those they had, or to say others."""
        found = {
            self.old.check_name(f"type_{one}"): self.new.check_name(f"type_{other}")
            for one, other in self.fields.items()
        }
        saying = set[str]()
        for each in self.old.checks:
            name = self.old.check_name(each.name)
            found[name] = self.new.check_name(each.name)
            if any(self.fields[one] != one for one in fields_in(each.rule)):
                saying.add(name)
        there = _checks(self.before)
        return {
            one: other
            for one, other in found.items()
            if one in there and (one != other or one in saying)
        }

    @cached_property
    def references(self) -> Mapping[str, str]:
        """The names of references that are to have others, by those they had."""
        return {
            one: other
            for each in self.old.references
            if (one := self.old.check_name(f"ref_{each.field}"))
            != (other := self.new.check_name(f"ref_{self.fields[each.field]}"))
        }

    @cached_property
    def uniques(self) -> Mapping[str, str]:
        """The names of unique keys of all rows that are to have others, by those they had."""
        return self._keys(tuple(each for each in self.old.uniques if each.where is None))

    @cached_property
    def conditional(self) -> Mapping[str, str]:
        """The names of unique keys of some rows that are to have others, by those they had."""
        return self._keys(tuple(each for each in self.old.uniques if each.where is not None))

    @cached_property
    def indexes(self) -> Mapping[str, str]:
        """The names of indexes that are to have others, by those they had."""
        own = (schema.Index(each.field) for each in self.old.references)
        return {**self._keys((*self.old.indexes, *own)), **self.conditional}

    @property
    def constraints(self) -> Mapping[str, str]:
        """The names of all constraints, by those they had."""
        return {**self.uniques, **self.references, **self.checks}

    @property
    def computed(self) -> Mapping[str, str]:
        """The unique keys of some rows that have a computed column, by their names before."""
        there = {str(each.name) for each in _keys_of(self.before)}
        return {one: other for one, other in self.conditional.items() if one in there}

    def _keys(self, keys: tuple[Unique | schema.Index, ...]) -> Mapping[str, str]:
        return {
            one: other
            for each in keys
            if (one := self.old.index_name(each)) != (other := self.new.index_name(self._key(each)))
        }

    def _key(self, key: Unique | schema.Index) -> Unique | schema.Index:
        if isinstance(key, Unique):
            bound = None if key.where is None else with_names(key.where, self.fields)
            return Unique(*(self.fields[each] for each in key.fields), where=bound)
        keys = (self._named(each) for each in key.keys)
        where = None if key.where is None else with_names(key.where, self.fields)
        return schema.Index(*keys, where=where)

    def _named(self, key: str | Term) -> str | Term:
        if isinstance(key, Term):
            return replace(key, field=self.fields[key.field])
        name = key.removeprefix("-")
        return f"{key[: len(key) - len(name)]}{self.fields[name]}"

    @property
    def rewrites(self) -> bool:
        """Whether the statements write every row again: parts are added anew by other names."""
        if self.dialect.renames.constraint is not None:
            return False
        checks, references = _checks(self.after), references_of(self.after)
        added = (
            *(checks[name] for name in self.checks.values()),
            *(references[name].constraint for name in self.references.values()),
        )
        return any(isinstance(each, self.dialect.rewrites.constraints) for each in added)

    def statements(self, there: There) -> Iterator[str]:
        """Yield what renames the parts of a table that has its own name already."""
        renames = self.dialect.renames
        assert renames.index is not None
        if renames.constraint is None:
            yield from self._dropped(there)
        for one, other in self.fields.items():
            if one != other and one in there.columns:
                old, new = self._column(self.before, one), self._column(self.after, other)
                yield f"ALTER TABLE {self._table(self.after)} RENAME COLUMN {old} TO {new}"
        if renames.constraint is None:
            yield from self._renamed(renames.index, {**self.uniques, **self.indexes}, there.indexes)
            # The index that the server has made for a reference has its name.
            yield from self._renamed(renames.index, self.references, there.indexes)
            yield from self._added(there)
        else:
            yield from self._renamed(renames.constraint, self.constraints, there.constraints)
            made = {str(each.name) for each in self.before.indexes}
            yield from self._renamed(renames.index, self.indexes, made)

    def _renamed(self, text: str, pairs: Mapping[str, str], there: set[str]) -> Iterator[str]:
        for one, other in pairs.items():
            if one in there and one != other:
                quoted = (self._table(self.after), self._quote(one), self._quote(other))
                yield text.format(*quoted)

    def _dropped(self, there: There) -> Iterator[str]:
        """Yield what removes checks and hidden columns: they would keep a column from its name."""
        for name, each in _checks(self.before).items():
            if name in self.checks and name in there.constraints:
                yield self._moved(self._statement(DropConstraint(each)))
                there.constraints.discard(name)
        for index in sorted(self.before.indexes, key=lambda each: str(each.name)):
            # A unique key that is an index has a hidden column.
            hidden = any(self.fields[each] != each for each in index.info.get(HIDDEN, ()))
            gone = str(index.name) in self.uniques or hidden
            if gone and str(index.name) in there.indexes:
                yield self._moved(self._statement(DropIndex(index)))
                there.indexes.discard(str(index.name))
        for key in _keys_of(self.before):
            # The column of its condition keeps others from their names.
            name = str(key.name)
            if name in self.computed and name in there.indexes:
                yield self._moved(self._statement(DropConstraint(key)))
                there.indexes.discard(name)
            bound = bound_name(name)
            if name in self.computed and bound in there.columns:
                yield f"ALTER TABLE {self._table(self.after)} DROP COLUMN {self._quote(bound)}"
                there.columns.discard(bound)

    def _added(self, there: There) -> Iterator[str]:
        """Yield what adds checks and references by their names, and only then drops the old ones."""
        after = _checks(self.after)
        for name in self.checks.values():
            if name not in there.constraints:
                yield self._statement(AddConstraint(after[name], isolate_from_table=False))
        keys = {str(each.name): each for each in _keys_of(self.after)}
        for name in self.computed.values():
            if bound_name(name) not in there.columns:
                column = self.after.columns[bound_name(name)]
                text = CreateColumn(column).compile(dialect=self.dialect.ddl_compiler)
                yield f"ALTER TABLE {self._table(self.after)} ADD COLUMN {text}"
            if name not in there.indexes:
                yield self._statement(AddConstraint(keys[name], isolate_from_table=False))
        made = references_of(self.after)
        for one, other in self.references.items():
            if other not in there.constraints:
                constraint = made[other].constraint
                yield self._statement(AddConstraint(constraint, isolate_from_table=False))
            if one in there.constraints:
                yield f"ALTER TABLE {self._table(self.after)} DROP FOREIGN KEY {self._quote(one)}"

    @property
    def copy(self) -> Copy:
        """What makes the table anew, where parts of it cannot be renamed."""
        columns = ", ".join(self._column(self.after, each) for each in self.new.names)
        values = ", ".join(self._column(self.before, each) for each in self.old.names)
        return Copy(
            self.after,
            create_table(self.after, self.dialect, references_of(self.after)),
            f"({columns}) SELECT {values} FROM {self._table(self.after)}",
            frozenset(self.old.names),
            frozenset(str(each.name) for each in self.before.indexes),
        )

    def _moved(self, statement: str) -> str:
        """Return a statement about the old table as one about the table of the new name."""
        return statement.replace(self._table(self.before), self._table(self.after), 1)

    def _statement(self, ddl: AddConstraint | DropConstraint | DropIndex) -> str:
        return str(ddl.compile(dialect=self.dialect.ddl_compiler))

    def _table(self, table: Table) -> str:
        return self.dialect.ddl_compiler.identifier_preparer.format_table(table)

    def _column(self, table: Table, name: str) -> str:
        return self.dialect.ddl_compiler.identifier_preparer.format_column(table.columns[name])

    def _quote(self, name: str) -> str:
        return self.dialect.ddl_compiler.identifier_preparer.quote_identifier(name)


def _keys_of(table: Table) -> list[UniqueConstraint]:
    keys = (each for each in table.constraints if isinstance(each, UniqueConstraint))
    return sorted(keys, key=lambda each: str(each.name))


def _checks(table: Table) -> dict[str, CheckConstraint]:
    checks = {
        str(each.name): each for each in table.constraints if isinstance(each, CheckConstraint)
    }
    return dict(sorted(checks.items()))
