"""The command ``schema show``: what a store holds, from its own catalog."""

from __future__ import annotations

from healthstore.build import build_guard
from healthstore.cli.exits import Exit
from healthstore.cli.output import Output
from healthstore.cli.store import Store
from healthstore.model.catalog import definition
from healthstore.model.ops import CountDocuments
from healthstore.model.query import And, Filter, Not, Operator, Or, Test
from healthstore.model.schema import Collection, Field, parents_first
from healthstore.model.values import Kind
from healthstore.transfer.selection import catalog

__all__ = ("show_schema",)


async def show_schema(output: Output, chosen: Store) -> int:
    """Show the active member's collections: fields, keys, references, number of documents."""
    url = chosen.settings().members[0].backend_url()
    async with chosen.observed() as db:
        store = await db.member(db.active)
        collections = parents_first((await catalog(store)).values())
        guarded = build_guard(store)
        counts = {each.name: await guarded.execute(CountDocuments(each)) for each in collections}
    for each in collections:
        _show(output, each, counts[each.name])
    if not collections:
        output.show("There is no collection that healthstore made.")
    shown = [{**definition(each), "documents": counts[each.name]} for each in collections]
    output.result(
        {
            "ok": True,
            "exit": int(Exit.OK),
            "command": "schema show",
            "store": str(url),
            "collections": shown,
        }
    )
    return Exit.OK


def _show(output: Output, collection: Collection, count: int) -> None:
    rows = [
        (each.name, _type(each), "yes" if each.nullable else "", _roles(collection, each.name))
        for each in collection.fields
    ]
    title = f"{collection.name}: {count:,} {'document' if count == 1 else 'documents'}"
    output.table(("field", "type", "null", "keys"), rows, title=title)
    for check in collection.checks:
        output.show(f"check {check.name}: {_rule(check.rule)}")


def _rule(rule: Filter) -> str:
    """Return what a check demands, as it reads."""
    if isinstance(rule, And | Or):
        word = " and " if isinstance(rule, And) else " or "
        return word.join(f"({_rule(part)})" for part in rule.items)
    if isinstance(rule, Not):
        return f"not ({_rule(rule.item)})"
    assert isinstance(rule, Test)
    if rule.operator in {Operator.IS_NULL, Operator.NOT_NULL}:
        return f"{rule.field} {rule.operator}"
    values = rule.operand if isinstance(rule.operand, tuple) else (rule.operand,)
    return f"{rule.field} {rule.operator} {', '.join(map(_literal, values))}"


def _literal(value: object) -> str:
    return repr(value) if isinstance(value, str | bytes) else str(value)


def _type(field: Field) -> str:
    kind = field.type
    if kind.kind is Kind.DECIMAL:
        return f"decimal({kind.digits}, {kind.places})"
    if kind.choices:
        return f"one of {', '.join(kind.choices)}"
    limit = "" if kind.max_length is None else f"({kind.max_length})"
    return f"{kind.kind}{limit}" + (" in milliseconds" if kind.milliseconds else "")


def _roles(collection: Collection, name: str) -> str:
    roles = ["primary key"] if name == "id" else []
    roles += [_among("unique", each.fields) for each in collection.uniques if name in each.fields]
    roles += [_among("index", each.keys) for each in collection.indexes if name in each.fields]
    roles += [
        f"refers to {each.collection}, on delete {each.on_delete}"
        for each in collection.references
        if each.field == name
    ]
    return "; ".join(roles)


def _among(what: str, names: tuple[str, ...]) -> str:
    return what if len(names) == 1 else f"{what} ({', '.join(names)})"
