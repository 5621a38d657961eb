"""Programs by chance: the same seed gives the same program, on every machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any, cast
from uuid import UUID

from healthstore.entity import collection_of
from healthstore.errors import ConfigurationError
from healthstore.model.query import (
    ALL,
    And,
    FieldOrTerm,
    Filter,
    Not,
    Nulls,
    Or,
    Order,
    Term,
    Test,
)
from healthstore.model.values import FieldType, Kind
from healthstore.testing.differential import programs
from healthstore.testing.differential.aggregates import (
    columns_of,
    draw_keys,
    draw_measures,
    draw_order,
)
from healthstore.testing.differential.cases import draw_words, recased
from healthstore.testing.differential.entities import OWN, draw_schemas
from healthstore.testing.differential.operators import draw_operators
from healthstore.testing.differential.parts import draw_part_test
from healthstore.testing.differential.programs import Program, Row, Step
from healthstore.testing.differential.schemas import (
    Attribute,
    Looked,
    Schema,
    Span,
    declare,
)
from healthstore.testing.differential.terms import (
    column_of_term,
    draw_term,
    draw_term_test,
    used_terms,
    values_of,
)
from healthstore.testing.differential.tests import (
    COMPARED,
    LISTED,
    draw_folded_test,
    draw_test,
)
from healthstore.testing.differential.values import (
    draw_id,
    draw_value,
    draw_wrong,
    respell,
)

__all__ = ("draw_program",)

_NULLS: tuple[Nulls | None, ...] = (None, "first", "last")
_INSTANT = datetime(2026, 1, 1, tzinfo=UTC)


def draw_program(seed: int, number: int) -> Program:
    """Return the program of this number in the sequence that a seed begins."""
    random = Random(f"{seed}:{number}")  # noqa: S311 - a program that can be drawn again
    while True:
        schemas = draw_schemas(random)
        try:
            for each in schemas:
                collection_of(declare(each))
        except ConfigurationError:
            continue  # for example an index that is too wide; what is refused is refused above
        precision = random.choice((None, None, None, None, None, 6))
        return Program(schemas, tuple(_Author(random, schemas).write()), precision)


# --- steps -------------------------------------------------------------------------------------


class _Author:
    """Writes the steps of one program, and remembers which values and ids it has used."""

    def __init__(self, random: Random, schemas: Sequence[Schema]) -> None:
        self._random = random
        self._schemas = schemas
        self._used: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
        self._ids: defaultdict[str, list[UUID]] = defaultdict(list)

    def write(self) -> Iterable[Step]:
        for each in self._schemas:
            rows = self._rows(each, self._random.randrange(1, 12))
            yield from (programs.Add(each.name, row) for row in rows)
        for _ in range(self._random.randrange(8, 40)):
            yield self._step()
        for by in ("migrate", "backup"):
            if self._random.random() < 0.3:
                yield programs.Transfer(by, back=self._random.random() < 0.5)
        if self._random.random() < 0.3:
            yield self._random.choice((programs.Initialize(), programs.Reopen()))

    def _step(self) -> Step:
        chance = self._random.random()
        if chance < 0.01:
            schema = self._random.choice(self._schemas)
            change = self._random.choice(("more", "less", "otherwise"))
            return programs.Stale(schema.name, change, write=self._random.random() < 0.5)
        if chance < 0.04:
            steps = tuple(self._plain(_OPERATIONS) for _ in range(self._random.randint(1, 4)))
            return programs.Batch(steps)
        if chance < 0.14:
            return programs.Unit(
                tuple(self._plain(_STEPS) for _ in range(self._random.randint(1, 6))),
                keep=self._random.random() < 0.7,
                read_only=self._random.random() < 0.1,
                serializable=self._random.random() < 0.2,
            )
        return self._plain(_STEPS)

    def _plain(self, steps: Sequence[Callable[[_Author, Schema], Step]]) -> Step:
        return self._random.choice(steps)(self, self._random.choice(self._schemas))

    # --- values ---

    def _value(self, schema: Schema, each: Attribute) -> Any:
        """Return a value for a field, or None; often one that was used before."""
        used = self._used[schema.name, each.name]
        if each.nullable and self._random.random() < 0.25:
            return None
        if each.refers is not None:
            return self._id(each.refers)
        if used and self._random.random() < 0.25:
            return self._random.choice(used)
        value = draw_value(self._random, each)
        used.append(value)
        return draw_wrong(self._random) if self._random.random() < 0.01 else value

    def _operand(self, schema: Schema) -> Callable[[Attribute], Any]:
        def operand(each: Attribute) -> Any:
            if each.name == "id" or each.refers is not None:
                return self._id(each.refers or schema.name)
            used = self._used[schema.name, each.name]
            if used and self._random.random() < 0.8:
                value = self._random.choice(used)
            else:
                value = draw_value(self._random, each)
            if self._random.random() < 0.2:
                return respell(self._random, each.type, value)
            return draw_wrong(self._random) if self._random.random() < 0.02 else value

        return operand

    def _id(self, name: str) -> UUID:
        known = self._ids[name]
        if known and self._random.random() < 0.9:
            return self._random.choice(known)
        return draw_id(self._random)

    def _some_ids(self, schema: Schema) -> tuple[UUID, ...]:
        count = self._random.choice((1, 1, 1, 2, 3, 5))
        return tuple(dict.fromkeys(self._id(schema.name) for _ in range(count)))

    def _version(self) -> int | None:
        return self._random.choice((None, None, None, None, 1, 1, 2, 3))

    def _versions(self, count: int) -> tuple[int, ...] | None:
        if self._random.random() < 0.7:
            return None
        return tuple(self._random.choice((1, 1, 1, 2)) for _ in range(count))

    def _row(self, schema: Schema, *, known: float = 0.04) -> Row:
        identity = self._id(schema.name) if self._random.random() < known else draw_id(self._random)
        self._ids[schema.name].append(identity)
        return self._filled(schema, identity)

    def _filled(self, schema: Schema, identity: UUID) -> Row:
        values = {each.name: self._value(schema, each) for each in schema.attributes}
        return {"id": identity, "created_at": _INSTANT, **values}

    def _rows(self, schema: Schema, count: int) -> list[Row]:
        return [self._row(schema) for _ in range(count)]

    def _family(self, schema: Schema) -> tuple[Row, ...]:
        """Return new rows that may refer to each other: a chain, or in any order."""
        ids = [draw_id(self._random) for _ in range(self._random.choice((2, 3, 20)))]
        self._ids[schema.name].extend(ids)
        rows = [self._filled(schema, each) for each in ids]
        own = [each for each in schema.attributes if each.refers == schema.name]
        for each in own[:1]:
            if self._random.random() < 0.5:
                for row, parent in zip(rows[1:], ids, strict=False):
                    row[each.name] = parent
        return tuple(rows)

    def _where(self, schema: Schema, levels: int = 2) -> Filter:
        chance = self._random.random()
        if levels and chance < 0.4:
            items = tuple(
                self._where(schema, levels - 1) for _ in range(self._random.choice((0, 1, 2, 2, 3)))
            )
            return self._random.choice((And(items), Or(items)))
        if levels and chance < 0.55:
            return Not(self._where(schema, levels - 1))
        if chance > 0.95 or (levels and chance > 0.91):
            return ALL if chance > 0.95 else self._lookup(schema, levels - 1)
        known = (*schema.attributes, *OWN)
        structured = [each for each in schema.attributes if each.type.kind is Kind.JSON]
        often = structured if self._random.random() < 0.3 else []
        # Of all other kinds text is asked about in the most ways.
        texts = [each for each in schema.attributes if each.type.kind is Kind.TEXT]
        searched = [each for each in texts if each.type.searchable] * 4
        each = self._random.choice(often or (*schema.attributes, *texts, *texts, *searched, *known))
        if each.type.kind is Kind.INTEGER and self._random.random() < 0.01:
            span = Span(self._random.choice((0, -40_000)), self._random.choice((20_000, 40_000)))
            return Test(each.name, self._random.choice(LISTED), cast(Any, span))
        return self._test(schema, each)

    def _test(self, schema: Schema, each: Attribute) -> Filter:
        if each.type.kind is Kind.JSON and self._random.random() < 0.9:
            return self._parts(schema, each)
        operand = self._operand(schema)
        if each.type.searchable and self._random.random() < 0.7:
            return draw_folded_test(self._random, each, operand)
        known = (*schema.attributes, *OWN)
        return draw_test(self._random, each, operand, known, matched=True)

    def _lookup(self, schema: Schema, levels: int) -> Filter:
        """Return a test of an attribute among what a query of some entity finds of a like one."""
        other = self._random.choice(self._schemas)
        mine, theirs = self._random.choice(
            [
                (one.name, another.name)
                for one in (*schema.attributes, *OWN)
                for another in (*other.attributes, *OWN)
                if one.type.comparable_with(another.type)
            ]
        )
        inner = Looked(other.name, self._where(other, levels), theirs)
        return Test(mine, self._random.choice(LISTED), cast(Any, inner))

    def _parts(self, schema: Schema, each: Attribute) -> Filter:
        whole = self._operand(schema)(each)
        tests = tuple(
            draw_term_test(self._random, self._term(schema, each), self._operand(schema))
            if self._random.random() < 0.35
            else draw_part_test(self._random, each.name, whole)
            for _ in range(3)
        )
        return self._random.choice((tests[0], Or(tests), Not(And(tests))))

    def _names(self, schema: Schema, wanted: Callable[[FieldType], bool], most: int) -> list[str]:
        names = [each.name for each in (*schema.attributes, *OWN) if wanted(each.type)]
        return self._random.sample(names, min(len(names), self._random.randint(0, most)))

    def _term(self, schema: Schema, each: Attribute) -> Term:
        """Return a part of a field of JSON as a value of some type; its values are known then."""
        term = draw_term(self._random, each.name, self._operand(schema)(each))
        values = values_of(term, self._used[schema.name, each.name])
        self._used[schema.name, str(term)] = values
        return term

    def _terms(self, schema: Schema, most: int, but: str = "") -> list[Term]:
        structured = [each for each in schema.attributes if each.type.kind is Kind.JSON]
        others = [each for each in structured if each.name != but]
        if not others or self._random.random() < 0.5:
            return []
        count = self._random.randint(1, most)
        terms = (self._term(schema, self._random.choice(others)) for _ in range(count))
        return [*{str(each): each for each in terms}.values()]  # of one type each

    def _columns(
        self, schema: Schema, wanted: Callable[[FieldType], bool], most: int
    ) -> list[FieldOrTerm]:
        """Return fields, and parts of JSON as values of a type."""
        columns: list[FieldOrTerm] = []
        columns += [each for each in self._terms(schema, 2) if wanted(each.type)]
        columns += self._names(schema, wanted, most - min(most, len(columns)))
        columns = columns[:most]
        self._random.shuffle(columns)
        return columns

    def _order(self, columns: Iterable[FieldOrTerm]) -> tuple[Order, ...]:
        keys = [Order.by(each, descending=self._random.random() < 0.5) for each in columns]
        return tuple(replace(each, nulls=self._random.choice(_NULLS)) for each in keys)

    # --- one of each ---

    def _add(self, schema: Schema) -> Step:
        return programs.Add(schema.name, self._row(schema, known=0.1))

    def _add_many(self, schema: Schema) -> Step:
        rows = tuple(self._rows(schema, self._random.choice((0, 1, 2, 3, 8))))
        if self._random.random() < 0.3:
            rows = self._family(schema)
        return programs.AddMany(schema.name, rows, atomic=self._random.random() < 0.8)

    def _get(self, schema: Schema) -> Step:
        return programs.Get(schema.name, self._some_ids(schema))

    def _find(self, schema: Schema) -> Step:
        order = self._order(self._columns(schema, _has_order, 3))
        limit = self._random.choice((1, 2, 3, 5, 100))
        return programs.Find(schema.name, self._where(schema), order, limit, pages=30)

    def _search(self, schema: Schema) -> Step:
        known = [each for each in self._schemas if each.searched]
        if not known:
            return self._find(schema)
        schema = self._random.choice(known)
        words = draw_words(self._random, None, most=4)
        used = [each for name in schema.searched for each in self._used[schema.name, name]]
        if used and self._random.random() < 0.4:
            words = f"{words} {self._random.choice(used)[:40]}"
        if self._random.random() < 0.03:
            words = " ".join(map(str, range(9)))  # more than are looked for
        order = self._order(self._columns(schema, _has_order, 2))
        limit = self._random.choice((1, 2, 3, 5, 100))
        text = recased(self._random, words)
        return programs.Search(schema.name, text, self._where(schema), order, limit, pages=12)

    def _select(self, schema: Schema) -> Step:
        distinct = self._random.random() < 0.5
        columns = self._columns(schema, _told_apart if distinct else _any, 3) or ["version"]
        if not distinct:  # a part may be taken as whatever JSON is there
            columns = [
                replace(each, kind=Kind.JSON)
                if isinstance(each, Term) and self._random.random() < 0.2
                else each
                for each in columns
            ]
        sorted_by = columns if distinct else self._columns(schema, _has_order, 2)
        order = self._order(self._random.sample(sorted_by, min(len(sorted_by), 2)))
        limit = self._random.choice((1, 3, 100))
        return programs.Select(
            schema.name, tuple(columns), self._where(schema), order, limit, distinct
        )

    def _latest(self, schema: Schema) -> Step:
        per = self._columns(schema, _has_order, 2) or ["version"]
        by = (self._columns(schema, _has_order, 1) or ["created_at"])[0]
        count = self._random.choice((1, 1, 2, 5))
        return programs.Latest(schema.name, tuple(per), by, count, self._where(schema))

    def _count(self, schema: Schema) -> Step:
        return programs.Count(schema.name, self._where(schema))

    def _aggregate(self, schema: Schema) -> Step:
        known = (*schema.attributes, *OWN)
        lists = [each for each in schema.attributes if each.type.kind is Kind.JSON]
        unwind, element = "", Kind.TEXT
        if lists and self._random.random() < 0.3:
            unwind = self._random.choice(lists).name
            element = self._random.choice((Kind.TEXT, Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN))
            known = tuple(
                Attribute(unwind, FieldType(element)) if each.name == unwind else each
                for each in known
            )
        terms = self._terms(schema, 2, but=unwind)
        parts = tuple(map(column_of_term, terms))
        known = (*known, *parts)
        measures = draw_measures(self._random, (*known, *parts, *parts))
        group = draw_keys(self._random, known)
        if parts and self._random.random() < 0.5:
            first = parts[0].name
            group = (first, *[each for each in group if each != first][:1])
        columns = columns_of(measures, group, known)
        having = And(
            tuple(self._having(schema, columns) for _ in range(self._random.choice((0, 0, 1, 2))))
        )
        order, limit = draw_order(self._random, tuple(columns))
        return programs.Aggregate(
            *(schema.name, measures, self._where(schema), group, having, order, limit),
            unwind=unwind,
            element=element,
            terms=used_terms(terms, measures, group),
        )

    def _having(self, schema: Schema, columns: Mapping[str, Attribute | None]) -> Filter:
        """Return a test of one column of a row, or that it does not hold."""
        name = self._random.choice(tuple(columns))
        each = columns[name]
        if each is None:
            return Test(name, self._random.choice(COMPARED), self._random.randint(0, 3))
        column, operand = replace(each, name=name), self._operand(schema)
        test = draw_test(self._random, column, lambda _: operand(each), (column,))
        return self._random.choice((test, test, Not(test)))

    def _changes(self, schema: Schema) -> Row:
        some = self._random.sample(
            schema.attributes, min(len(schema.attributes), self._random.randint(1, 3))
        )
        return {each.name: self._value(schema, each) for each in some}

    def _update(self, schema: Schema) -> Step:
        operated = draw_operators(self._random, schema.attributes, self._changes(schema))
        return programs.Update(schema.name, self._id(schema.name), operated, self._version())

    def _increment(self, schema: Schema) -> Step:
        numeric = [each for each in schema.attributes if each.type.numeric]
        if not numeric:
            return self._update(schema)
        each = self._random.choice(numeric)
        by = draw_value(self._random, each)
        return programs.Increment(
            schema.name, self._id(schema.name), each.name, by, self._version()
        )

    def _upsert(self, schema: Schema) -> Step:
        on = self._random.choice((("id",), *schema.uniques))
        row = self._row(schema, known=0.4)
        add = tuple(
            each.name
            for each in schema.attributes
            if each.type.numeric and each.name not in on and self._random.random() < 0.3
        )
        return programs.Upsert(schema.name, row, on, add)

    def _upsert_many(self, schema: Schema) -> Step:
        on = self._random.choice((("id",), *schema.uniques))
        count = self._random.choice((1, 2, 3, 8))
        rows = tuple(self._row(schema, known=0.4) for _ in range(count))
        return programs.UpsertMany(schema.name, rows, on, self._random.random() < 0.3)

    def _get_or_add(self, schema: Schema) -> Step:
        on = self._random.choice((("id",), *schema.uniques))
        return programs.GetOrAdd(schema.name, self._row(schema, known=0.4), on)

    def _save(self, schema: Schema) -> Step:
        return programs.Save(schema.name, self._row(schema, known=0.9), self._version())

    def _replace(self, schema: Schema) -> Step:
        rows = {row["id"]: row for row in (self._row(schema, known=0.9) for _ in range(2))}
        kept = tuple(rows.values())[: self._random.choice((1, 1, 2))]
        return programs.Replace(schema.name, kept, self._versions(len(kept)))

    def _patch(self, schema: Schema) -> Step:
        sets = self._changes(schema)
        increments = {
            each.name: draw_value(self._random, each)
            for each in schema.attributes
            if each.type.numeric and each.name not in sets and self._random.random() < 0.5
        }
        ids = self._some_ids(schema)
        return programs.Patch(schema.name, ids, sets, increments, self._versions(len(ids)))

    def _update_where(self, schema: Schema) -> Step:
        batch = self._random.choice((None, None, 1))
        changes, everything = self._changes(schema), self._random.random() < 0.2
        return programs.UpdateWhere(schema.name, self._where(schema), changes, batch, everything)

    def _update_many(self, schema: Schema) -> Step:
        ids = self._some_ids(schema)
        return programs.UpdateMany(
            schema.name, tuple((each, self._changes(schema)) for each in ids)
        )

    def _patch_where(self, schema: Schema) -> Step:
        sets = self._changes(schema)
        increments = {
            each.name: draw_value(self._random, each)
            for each in schema.attributes
            if each.type.numeric and each.name not in sets and self._random.random() < 0.3
        }
        everything = self._random.random() < 0.2
        return programs.PatchWhere(schema.name, self._where(schema), sets, increments, everything)

    def _delete_where(self, schema: Schema) -> Step:
        # Of some only: what is deleted is not there to be asked for.
        where = And(
            (self._where(schema), Test("id", self._random.choice(COMPARED), self._id(schema.name)))
        )
        return programs.DeleteWhere(schema.name, where, self._random.choice((None, None, 1, 3)))

    def _delete(self, schema: Schema) -> Step:
        ids = self._some_ids(schema)
        return programs.Delete(schema.name, ids, self._versions(len(ids)))


def _any(kind: FieldType) -> bool:
    del kind
    return True


def _has_order(kind: FieldType) -> bool:
    return kind.ordered


def _told_apart(kind: FieldType) -> bool:
    return kind.ordered and kind.kind is not Kind.FLOAT


_READS = (
    *(_Author._get, _Author._find, _Author._search, _Author._select, _Author._latest),
    *(_Author._count, _Author._aggregate),
)
_OPERATIONS: tuple[Callable[[_Author, Schema], Step], ...] = (
    *(_Author._get, _Author._find, _Author._count, _Author._add_many),
    *(_Author._replace, _Author._patch, _Author._delete),
    *(_Author._patch_where, _Author._delete_where),
)
_STEPS: tuple[Callable[[_Author, Schema], Step], ...] = (
    *(*_READS, _Author._find, _Author._search, _Author._aggregate, _Author._count),
    *(_Author._add, _Author._add, _Author._add_many, _Author._update, _Author._update),
    *(_Author._increment, _Author._upsert, _Author._replace, _Author._patch, _Author._delete),
    *(_Author._upsert_many, _Author._get_or_add, _Author._save),
    *(_Author._update_where, _Author._update_many, _Author._patch_where, _Author._delete_where),
)
