"""How a change of definitions would be made: its commands, as the shell takes them.

Documents are changed each by itself, a page at a time; here one command stands for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from bson.binary import UuidRepresentation
from bson.json_util import JSONOptions, dumps

from healthstore.adapters.mongo.codec import Codec, Stored, key_of
from healthstore.adapters.mongo.definition import (
    beside,
    index_models,
    is_as,
    required_after,
    required_of,
    validator,
    values_of_new,
)
from healthstore.model.ops import Alter, Drop, Ensure, Explained, Rename
from healthstore.model.schema import Collection, parents_first

__all__ = ("explained",)

# Upper estimates of what each document costs, in seconds: a page of 10,000 that is changed takes
# 3.4 s, a unique index over 300,000 20 s, both of FerretDB 2.7, the slowest that speaks this wire.
_WRITTEN = 3.4 / 10_000
_INDEXED = 20 / 300_000

_TEXT = JSONOptions(uuid_representation=UuidRepresentation.STANDARD)


def explained(change: Ensure | Alter | Rename | Drop) -> Explained:
    """Return the commands of a change, and whether each document is written."""
    return _EXPLAINED[type(change)](change)


def _creation(op: Ensure) -> Explained:
    statements: list[str] = []
    for each in (one.stored for one in parents_first(op.collections)):
        statements.append(f"db.createCollection({_text(each.name)})")
        statements.append(_validated(each.name, validator(Codec(each))))
        statements += _made(each.name, index_models(each))
    return Explained(tuple(statements), seconds_per_row=0.0)


def _alteration(op: Alter) -> Explained:
    before, after = op.before.stored, op.after.stored
    codec = Codec(after)
    filling = values_of_new(before, codec)
    leaving = [name for name in before.names if name not in after.by_name]
    required = required_after(before, after, required_of(before))
    wanted = validator(codec, required)
    statements: list[str] = []
    if filling or leaving:
        meanwhile = validator(codec, required & before.by_name.keys(), leaving)
        statements.append(_validated(after.name, meanwhile))
    elif wanted != validator(Codec(_in_order_of(after, before)), required):
        statements.append(_validated(after.name, wanted))
    if filling:
        lacking = {"$or": [{key: {"$exists": False}} for key in filling]}
        statements.append(_updated(after.name, lacking, {"$set": filling}))
    statements += _changed_indexes(before, after)
    if leaving:
        having = {"$or": [{key_of(name): {"$exists": True}} for name in leaving]}
        gone = {"$unset": dict.fromkeys(map(key_of, leaving), True)}
        statements.append(_updated(after.name, having, gone))
    if filling or leaving:
        statements.append(_validated(after.name, wanted))
    written = bool(filling) + bool(leaving)
    each = _WRITTEN * written + _INDEXED * _indexes_made(before, after)
    return Explained(tuple(statements), bool(written), seconds_per_row=each)


def _in_order_of(after: Collection, before: Collection) -> Collection:
    """Return a definition with its fields and checks in the order of another one's, if it has them."""
    fields = tuple(before.field(name) for name in after.names if name in before.by_name)
    # Its own ones: they may be equal, and compare with a number of another type.
    checks = tuple(own for each in after.checks for own in before.checks if own == each)
    same = len(checks) == len(before.checks)
    return replace(before, fields=fields, checks=checks if same else before.checks)


def _changed_indexes(before: Collection, after: Collection) -> Iterator[str]:
    """Yield what drops indexes, puts others in the place of some, and makes what is new."""
    there = {str(each.document["name"]): each for each in index_models(before)}
    wanted = {str(each.document["name"]): each for each in index_models(after)}
    for name, each in there.items():
        model = wanted.get(name)
        if model is None:
            yield _dropped(after.name, name)
        elif not is_as(each.document, model):
            other = beside(model)
            yield from _made(after.name, [other])
            yield _dropped(after.name, name)
            yield from _made(after.name, [model])
            yield _dropped(after.name, str(other.document["name"]))
    yield from _made(after.name, [each for name, each in wanted.items() if name not in there])


def _indexes_made(before: Collection, after: Collection) -> int:
    """Return how many indexes are built; one that takes another's place is built twice."""
    there = {str(each.document["name"]): each for each in index_models(before)}
    wanted = {str(each.document["name"]): each for each in index_models(after)}
    others = [
        name
        for name in there.keys() & wanted.keys()
        if not is_as(there[name].document, wanted[name])
    ]
    return len(wanted.keys() - there.keys()) + 2 * len(others)


def _renaming(op: Rename) -> Explained:
    before, after = op.before.stored, op.after.stored
    statements: list[str] = []
    if before.name != after.name:
        statements.append(
            f"db.getCollection({_text(before.name)}).renameCollection({_text(after.name)})"
        )
    statements.append(_validated(after.name, validator(Codec(after))))
    kept = {str(each.document["name"]): each for each in index_models(after)}
    gone = [str(each.document["name"]) for each in index_models(before)]
    statements += [_dropped(after.name, each) for each in gone if each not in kept]
    pairs = zip(before.names, after.names, strict=True)
    names = {key_of(one): key_of(other) for one, other in pairs if one != other}
    if names:
        having = {"$or": [{key: {"$exists": True}} for key in names]}
        statements.append(_updated(after.name, having, {"$rename": names}))
    made = [each for name, each in kept.items() if name not in gone]
    statements += _made(after.name, made)
    each = (_WRITTEN if names else 0.0) + _INDEXED * len(made)
    return Explained(tuple(statements), bool(names), seconds_per_row=each)


def _removal(op: Drop) -> Explained:
    return Explained(
        (f"db.getCollection({_text(op.collection.name)}).drop()",), seconds_per_row=0.0
    )


def _validated(name: str, wanted: Stored) -> str:
    command = {
        "collMod": name,
        "validator": wanted,
        "validationLevel": "strict",
        "validationAction": "error",
    }
    return f"db.runCommand({_text(command)})"


def _made(name: str, models: list[Any]) -> Iterator[str]:
    if models:
        indexes = [dict(each.document) for each in models]
        yield f"db.runCommand({_text({'createIndexes': name, 'indexes': indexes})})"


def _dropped(name: str, index: str) -> str:
    return f"db.runCommand({_text({'dropIndexes': name, 'index': index})})"


def _updated(name: str, where: Mapping[str, Any], change: Mapping[str, Any]) -> str:
    return f"db.getCollection({_text(name)}).updateMany({_text(where)}, {_text(change)})"


def _text(value: Any) -> str:
    """Return a value in extended JSON."""
    return dumps(value, json_options=_TEXT)


_EXPLAINED: Mapping[type, Callable[[Any], Explained]] = {
    Alter: _alteration,
    Drop: _removal,
    Ensure: _creation,
    Rename: _renaming,
}
