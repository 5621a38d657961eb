"""What no database could keep is refused where it is defined, with the same numbers everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from healthstore.errors import ConfigurationError
from healthstore.model.definition import (
    Definition,
    Field,
    Index,
    OnDelete,
    Reference,
    Unique,
    holds_words,
)
from healthstore.model.hidden import kept_parts
from healthstore.model.query import TERM_HEAD, TERM_TYPES, Lookup, Operator, OtherField, Test, walk
from healthstore.model.values import MAX_DIGITS, MAX_FOLDED, FieldType, Kind, Value, canonicaliser

__all__ = ("require_keepable", "require_short")

# PostgreSQL cuts names at 63 bytes without a word, MySQL refuses more than 64.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_RESERVED = "sqlite_"  # SQLite keeps such names for itself
_HIDING = "pg_"  # PostgreSQL finds a table of its own catalog first
# PostgreSQL's system columns, SQLite's names of the row's number, InnoDB's hidden columns.
_SYSTEM_COLUMNS = frozenset(
    {
        *("cmax", "cmin", "ctid", "oid", "tableoid", "xmax", "xmin", "rowid"),
        *("db_mix_id", "db_roll_ptr", "db_row_id", "db_trx_id", "fts_doc_id"),
    }
)
# The least that any of the databases allows, with some room.
_MAX_FIELDS, _MAX_INDEXES, _MAX_INDEX_FIELDS = 500, 50, 16
# SQLite and MySQL find a part by a path in the statement, where these have a meaning.
_UNPLAIN = re.compile(r'["\\\x00-\x1f]')
_BESIDE = 8  # bytes of a part of JSON beside other keys, if it is no text
# MySQL keeps what is indexed of a row's lists, as they were, in a page of 16,384 bytes.
_MAX_ELEMENT_INDEXES = 4
# MySQL indexes at most 3072 bytes: 640 code points of utf8mb4 and a little room.
_MAX_INDEXED_TEXT = MAX_FOLDED
_MAX_INDEX_BYTES = 2_560
_INDEX_BYTES: dict[Kind, int] = {Kind.UUID: 16, Kind.DECIMAL: 30, Kind.DATE: 10}
_NOT_INDEXED = frozenset({Kind.JSON, Kind.BYTES})
# MySQL and MariaDB count at most 65,535 bytes for a row. A text of up to 255 code points counts
# as it is declared, and so does a longer one that is indexed; what is longer counts as a pointer.
_MAX_ROW_BYTES, _POINTER, _DECLARED_TEXT = 65_000, 12, 255
# What stays in a row's page when it is full: InnoDB keeps 8,126 bytes, PostgreSQL 8,160, each
# with a head of its own. InnoDB moves a value out if it has over 40 bytes and may have over 255.
_MAX_PAGE_BYTES, _MAX_INSIDE, _MOVABLE_TEXT = 8_000, 40, 64
# What a value takes at most in either of them, PostgreSQL's alignment included.
_PAGE_BYTES: dict[Kind, int] = {Kind.UUID: 16, Kind.BOOLEAN: 1, Kind.DATE: 7}
_ALIGNED = 15
# MariaDB keeps 65,535 bytes of all of a table's columns and checks, and names them all.
_MAX_DEFINITION_BYTES, _COLUMN, _CONSTRAINT = 60_000, 20, 72


def require_keepable(collection: Definition) -> None:
    """Raise ConfigurationError where a database could not keep the definition.

    Raises UnknownFieldError where a part of it names a field that is not there.
    """
    _check_name(collection.name, "collection", collection)
    for each in collection.fields:
        _check_name(each.name, "field", collection)
        _check_type(each, collection)
    if len(collection.by_name) != len(collection.fields):
        raise ConfigurationError("two fields have the same name", entity=collection.entity)
    _check_key_fields(collection)
    for key in _keys(collection):
        _check_key(key, collection)
    _check_ignoring(collection)
    kept = _kept(collection)
    if kept is not collection:
        for unique in kept.uniques:
            _check_indexable(unique.fields, kept, 0 if unique.where is None else _BESIDE)
    for reference in collection.references:
        _check_reference(reference, collection)
    _check_own_references(collection)
    _check_sizes(kept)
    _check_row(kept)
    for check in collection.checks:
        _check_name(check.name, "check", collection)
    _check_twice(collection)


def _check_key(key: Unique | Index, collection: Definition) -> None:
    if not key.fields:
        raise ConfigurationError(
            "an index names no field", hint='write Index("user_id")', entity=collection.entity
        )
    if isinstance(key, Unique) and key.where is not None:
        _check_indexable(key.fields, collection, _BESIDE)
        _check_few(key, collection)
    elif isinstance(key, Index) and key.terms:
        _check_terms(key, collection)
    elif isinstance(key, Index) and _is_of_json(key, collection):
        _check_elements(key, collection)
    else:
        _check_indexable(key.fields, collection)


def _check_twice(collection: Definition) -> None:
    """Refuse parts that would have one name in a database."""
    # A database knows these by the names of checks.
    ours = {
        *(f"type_{each.name}" for each in collection.fields),
        *(f"ref_{each.field}" for each in collection.references),
    }
    parts: Mapping[str, Sequence[object]] = {
        "two checks have the same name, or one that begins with type_ or ref_ and names a field": [
            *(check.name for check in collection.checks),
            *ours,
        ],
        "a unique key or an index is declared twice": _keys(collection),
        "a field has two references": [each.field for each in collection.references],
    }
    for message, names in parts.items():
        if len(set(names)) < len(names):
            raise ConfigurationError(
                message, hint="leave one out, or rename it", entity=collection.entity
            )


def require_short(collection: Definition) -> None:
    """Raise ConfigurationError if fields, canonical checks and enums are too long together."""
    size = 0
    for each in collection.fields:
        size += len(each.name) + _COLUMN
        if each.type.choices:
            size += len(each.name) + _CONSTRAINT + sum(map(_literal, each.type.choices))
    for check in collection.checks:
        size += _CONSTRAINT + sum(map(_test_bytes, walk(check.rule)))
    for unique in collection.uniques:
        if unique.where is not None:  # of which MySQL has a column
            size += _CONSTRAINT + _COLUMN + sum(map(_test_bytes, walk(unique.where)))
    if size > _MAX_DEFINITION_BYTES:
        raise ConfigurationError(
            f"the fields, the checks and the members of enums take about {size} bytes; "
            f"at most {_MAX_DEFINITION_BYTES} are kept",
            hint="keep a long list of values in a collection of its own, and refer to it",
            entity=collection.entity,
        )


def _test_bytes(test: Test) -> int:
    if isinstance(test.operand, OtherField):
        return 3 * (len(test.field) + len(test.operand.name) + _AROUND)  # and each test of null
    assert not isinstance(test.operand, Lookup), "a check looks nothing up"
    values = test.operand if isinstance(test.operand, tuple) else (test.operand,)
    size = sum(map(_literal, values))
    twice = test.operator in {Operator.STARTS, Operator.NOT_STARTS}  # once for an index to be used
    return 2 * len(test.field) + _AROUND + (2 * size if twice else size)


_AROUND = 40  # operators, functions, quotes and the test of null


def _literal(value: Value) -> int:
    """Return how many bytes a value takes in a statement, at most."""
    if isinstance(value, str):
        return len(value.encode()) + value.count("'") + value.count("\\") + 4
    return 2 * len(value) + 8 if isinstance(value, bytes) else _AROUND


def _keys(collection: Definition) -> tuple[Unique | Index, ...]:
    return (*collection.uniques, *collection.indexes)


def _kept(collection: Definition) -> Definition:
    """Return a definition with its hidden fields, which take room as others do."""
    if not collection.hidden:
        return collection
    shown, hidden, uniques, indexes = kept_parts(collection)
    parts = (uniques, indexes, collection.references, collection.checks)
    return Definition(collection.name, (*shown, *hidden), *parts, entity=collection.entity)


def _check_sizes(collection: Definition) -> None:
    indexed = {key.fields[0] for key in _keys(collection)}
    # MySQL gives a reference an index if it has none.
    added = {each.field for each in collection.references} - indexed
    indexes = len(_keys(collection)) + len(added)
    if len(collection.fields) > _MAX_FIELDS or indexes > _MAX_INDEXES:
        raise ConfigurationError(
            f"{len(collection.fields)} fields and {indexes} indexes; "
            f"at most {_MAX_FIELDS} and {_MAX_INDEXES} are kept",
            hint="keep some of them in a JSON field, or in another collection",
            entity=collection.entity,
        )
    # MySQL indexes no words: they are more than such an index takes.
    lists = sum(
        collection.of_elements(each) and not holds_words(each.fields[0])
        for each in collection.indexes
    )
    if lists > _MAX_ELEMENT_INDEXES:
        raise ConfigurationError(
            f"{lists} indexes of lists; at most {_MAX_ELEMENT_INDEXES} are kept",
            hint="index those lists of which elements are looked for",
            entity=collection.entity,
        )


def _check_terms(index: Index, collection: Definition) -> None:
    """Refuse an index of parts of JSON that a database could not keep, or keeps in its own way."""
    names = tuple(key.removeprefix("-") for key in index.keys if isinstance(key, str))
    term, *others = index.terms
    beside = 4 * TERM_HEAD if term.kind is Kind.TEXT else _BESIDE
    _check_indexable(names, collection, beside)
    if others:  # MongoDB refuses a document where two of them are lists
        raise ConfigurationError(
            "an index has two parts of JSON among its keys",
            hint="declare an index for each of them",
            entity=collection.entity,
            field=others[0].field,
        )
    refusal = ""
    if collection.field(term.field).type.kind is not Kind.JSON or not term.steps:
        refusal = "is indexed by a part that it does not have"
    elif term.kind not in TERM_TYPES:
        refusal = "is indexed by a part of a kind that not every database indexes"
    elif any(isinstance(step, int) for step in term.steps):
        refusal = "is indexed by a path through a list, which has no index"
    elif any(not step or _UNPLAIN.search(str(step)) for step in term.steps):
        refusal = "is indexed by a path with a key that not every database can name in an index"
    if refusal:
        raise ConfigurationError(
            refusal,
            hint='use keys as in F.data["weight"], and as_(str), as_(float), as_(int) or '
            "as_(bool); or give the part a field of its own",
            entity=collection.entity,
            field=term.field,
        )


def _is_of_json(index: Index, collection: Definition) -> bool:
    return any(collection.field(name).type.kind is Kind.JSON for name in index.fields)


def _check_elements(index: Index, collection: Definition) -> None:
    """Refuse an index of a list's elements that has other keys, or an order, which they have not."""
    if len(index.keys) > 1 or index.keys != index.fields:
        raise ConfigurationError(
            "an index of a list's elements has one key, and no direction",
            hint=f'declare it apart from others, as in Index("{index.fields[0]}")',
            entity=collection.entity,
            field=next(
                name for name in index.fields if collection.field(name).type.kind is Kind.JSON
            ),
        )


def _check_row(collection: Definition) -> None:
    """Refuse a definition whose rows might not fit into MySQL, MariaDB or PostgreSQL when full."""
    indexed = {name for key in _keys(collection) for name in key.fields}
    row = page = 0
    for each in collection.fields:
        declared, inside = _sizes(each.type, indexed=each.name in indexed)
        row += declared
        page += inside
    if row > _MAX_ROW_BYTES:
        raise ConfigurationError(
            f"a row takes up to {row} bytes, 4 for each character of texts of at most "
            f"{_DECLARED_TEXT}; at most {_MAX_ROW_BYTES} are kept",
            hint=f"a text of more than {_DECLARED_TEXT} characters, or without MaxLength, counts "
            f"{_POINTER} unless it is indexed; or keep some fields in another collection",
            entity=collection.entity,
        )
    if page > _MAX_PAGE_BYTES:
        raise ConfigurationError(
            f"the fields take up to {page} bytes of a row's page, a text, JSON or bytes "
            f"{_MAX_INSIDE + 1} of them; at most {_MAX_PAGE_BYTES} are kept",
            hint="keep some of the fields in one JSON field, or in another collection",
            entity=collection.entity,
        )


def _sizes(kind: FieldType, *, indexed: bool) -> tuple[int, int]:
    """Return what a full value counts in MySQL's row, and what of it stays in the page."""
    if kind.kind is Kind.DECIMAL:
        # PostgreSQL: a head of 3 bytes, and 2 for each 4 digits on either side of the point.
        size = 3 + 2 * (kind.digits // 4 + 2)
        return size, size
    if kind.kind not in {Kind.TEXT, Kind.ENUM, Kind.JSON, Kind.BYTES}:
        size = _PAGE_BYTES.get(kind.kind, _ALIGNED)
        return size, size
    longest = max(map(len, kind.choices)) if kind.choices else kind.max_length
    pointed = longest is not None and longest > _DECLARED_TEXT and not (indexed or kind.choices)
    if longest is None or pointed:
        return _POINTER, _MAX_INSIDE + 1
    fixed = indexed and longest < _MOVABLE_TEXT
    return 4 * longest + 2, 1 + (4 * longest if fixed else min(4 * longest, _MAX_INSIDE))


def _check_name(name: str, what: str, collection: Definition) -> None:
    if not _NAME.fullmatch(name) or name.startswith(_RESERVED):
        raise ConfigurationError(
            f"the name of {what} {name!r} does not fit every database",
            hint="use a letter, then letters, digits and _, all lower case, at most 48 in all",
            entity=collection.entity,
        )
    hidden = what == "collection" and name.startswith(_HIDING)
    if hidden or (what == "field" and name in _SYSTEM_COLUMNS):
        raise ConfigurationError(
            f"the name of {what} {name!r} is one that a database has for itself",
            hint=f"choose another name, for example {name}_ or my_{name}",
            entity=collection.entity,
        )


def _check_type(each: Field, collection: Definition) -> None:
    kind = each.type
    if kind.kind is Kind.DECIMAL and not (
        1 <= kind.digits <= MAX_DIGITS and 0 <= kind.places <= kind.digits
    ):
        raise ConfigurationError(
            "a Decimal needs Digits(digits, places)",
            hint=f"annotate it, for example Annotated[Decimal, Digits(12, 4)]; digits <= {MAX_DIGITS}",
            entity=collection.entity,
            field=each.name,
        )
    _check_limits(each, collection)
    _check_searchable(each, collection)
    if kind.kind is Kind.ENUM and not any(kind.choices):
        raise ConfigurationError(
            "an enum has no members, or only the empty text",
            hint="give it a member that is not empty",
            entity=collection.entity,
            field=each.name,
        )
    for choice in kind.choices:
        try:
            canonicaliser(FieldType(Kind.TEXT))(choice)
        except ValueError as error:
            raise ConfigurationError(
                f"a member of the enum {error}", entity=collection.entity, field=each.name
            ) from None
    if kind.max_length is not None and kind.max_length < 1:
        raise ConfigurationError(
            "MaxLength must be at least 1", entity=collection.entity, field=each.name
        )


def _check_searchable(each: Field, collection: Definition) -> None:
    """Refuse a searchable text that not every database can index."""
    kind = each.type
    if kind.searchable and (kind.max_length is None or kind.max_length > MAX_FOLDED):
        raise ConfigurationError(
            "a text that is Searchable, or in a key that ignores case, needs a length that every "
            "database can index",
            hint=f"annotate it with MaxLength(n), n <= {MAX_FOLDED}",
            entity=collection.entity,
            field=each.name,
        )


def _check_limits(each: Field, collection: Definition) -> None:
    """Refuse a limit that belongs to another kind: nothing would keep to it."""
    kind = each.type
    foreign = {
        "Digits": bool(kind.digits or kind.places) and kind.kind is not Kind.DECIMAL,
        "MaxLength": kind.max_length is not None and kind.kind is not Kind.TEXT,
        "Milliseconds": kind.milliseconds and kind.kind is not Kind.DATETIME,
        "Searchable": kind.searchable and kind.kind is not Kind.TEXT,
        "Search": kind.words and kind.kind is not Kind.TEXT,
        "a list of members": bool(kind.choices) and kind.kind is not Kind.ENUM,
    }
    for limit, present in foreign.items():
        if present:
            raise ConfigurationError(
                f"{limit} means nothing for a field of kind {kind.kind}",
                hint="leave it out, or give the field the type that it belongs to",
                entity=collection.entity,
                field=each.name,
            )


def _check_key_fields(collection: Definition) -> None:
    for name, kind in (("id", Kind.UUID), ("version", Kind.INTEGER)):
        found = collection.by_name.get(name)
        if found is None or found.type.kind is not kind or found.nullable:
            raise ConfigurationError(
                f"a collection needs a field {name!r} of kind {kind}", entity=collection.entity
            )


def _check_indexable(names: Iterable[str], collection: Definition, size: int = 0) -> None:
    chosen = tuple(names)
    if len(set(chosen)) < len(chosen) or len(chosen) > _MAX_INDEX_FIELDS:
        raise ConfigurationError(
            f"an index names a field twice, or more than {_MAX_INDEX_FIELDS} fields",
            entity=collection.entity,
        )
    for name in chosen:
        kind = collection.field(name).type
        if kind.kind in _NOT_INDEXED:
            raise ConfigurationError(
                f"a field of kind {kind.kind} cannot be indexed",
                entity=collection.entity,
                field=name,
            )
        if kind.kind is Kind.TEXT:
            if kind.max_length is None or kind.max_length > _MAX_INDEXED_TEXT:
                raise ConfigurationError(
                    "indexed text needs a length that every database can index",
                    hint=f"annotate it with MaxLength(n), n <= {_MAX_INDEXED_TEXT}",
                    entity=collection.entity,
                    field=name,
                )
            size += 4 * kind.max_length
        elif kind.kind is Kind.ENUM:
            size += 4 * max(map(len, kind.choices))
        else:
            size += _INDEX_BYTES.get(kind.kind, 8)
    if size > _MAX_INDEX_BYTES:
        raise ConfigurationError(
            f"the fields of an index take up to {size} bytes; databases allow {_MAX_INDEX_BYTES}",
            hint="shorten MaxLength, or index fewer fields",
            entity=collection.entity,
        )


def _check_few(unique: Unique, collection: Definition) -> None:
    """Refuse a key that would be of too many columns with that of its condition."""
    if len(unique.fields) >= _MAX_INDEX_FIELDS:
        raise ConfigurationError(
            f"a unique key under a condition names more than {_MAX_INDEX_FIELDS - 1} fields",
            hint="name fewer fields",
            entity=collection.entity,
            field=unique.fields[-1],
        )


def _check_ignoring(collection: Definition) -> None:
    """Refuse a key that ignores the case of no text: it would say what it is not."""
    for unique in collection.uniques:
        kinds = {collection.field(name).type.kind for name in unique.fields}
        if unique.ignore_case and Kind.TEXT not in kinds:
            raise ConfigurationError(
                "a unique key ignores case, and has no text",
                hint="leave ignore_case away, or name a text",
                entity=collection.entity,
                field=unique.fields[0],
            )


def _check_own_references(collection: Definition) -> None:
    """Refuse a second required reference to the own collection.

    MySQL never deletes a document that refers to itself by both (its error 6575).
    """
    required = [
        each.field
        for each in collection.references
        if each.collection == collection.name and not collection.nullable(each.field)
    ]
    if len(required) > 1:
        raise ConfigurationError(
            f"{', '.join(required)} are required references to the own collection; "
            "not every backend could delete a document that refers to itself by two",
            hint="let all of them but one be None",
            entity=collection.entity,
            field=required[1],
        )


def _check_reference(reference: Reference, collection: Definition) -> None:
    referring = collection.field(reference.field)
    if referring.type.kind is not Kind.UUID:
        raise ConfigurationError(
            "a reference must be a UUID", entity=collection.entity, field=reference.field
        )
    if reference.on_delete not in get_args(OnDelete):
        raise ConfigurationError(
            f"on_delete is none of {', '.join(get_args(OnDelete))}",
            entity=collection.entity,
            field=reference.field,
        )
    if reference.on_delete == "set_null" and not referring.nullable:
        raise ConfigurationError(
            'on_delete="set_null" needs a field that may be None',
            entity=collection.entity,
            field=reference.field,
        )
