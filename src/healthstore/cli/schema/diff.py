"""The command ``schema diff``: how a store's definitions compare with those of entities."""

from __future__ import annotations

from collections.abc import Sequence

from healthstore.cli.exits import Exit
from healthstore.cli.named import find_all
from healthstore.cli.output import Output
from healthstore.cli.store import Store

__all__ = ("compare_schema",)


async def compare_schema(
    output: Output, store: Store, names: Sequence[str], *, sql: bool = False
) -> int:
    """Show what makes the active member's collections into those of the entities.

    With ``sql`` also what the store would run, in which the constants of the definitions stand.
    """
    entities = find_all(names)
    async with store.observed() as db:
        plan = await db.schema.plan(*entities)
    rows = [
        (
            each.collection,
            str(each.operation),
            str(each.effect),
            f"{each.against:,}",
            "" if each.rows is None else f"{each.rows:,}",
            "yes" if each.rewrites else "",
            each.span,
        )
        for each in plan.operations
    ]
    if rows:
        output.table(
            ("collection", "change", "effect", "against", "of rows", "rewrites", "up to"), rows
        )
    else:
        output.show(str(plan))
    if sql:
        for statement in (one for each in plan.operations for one in each.statements):
            output.show(f"{statement};")
    code = Exit.BEHIND if plan else Exit.OK
    output.result(
        {
            "ok": not plan,
            "exit": int(code),
            "command": "schema diff",
            "store": plan.store,
            "effect": str(plan.effect),
            "operations": [
                {
                    "collection": each.collection,
                    "operation": type(each.operation).__name__,
                    "change": str(each.operation),
                    "effect": str(each.effect),
                    "rows": each.rows,
                    "against": each.against,
                    "rewrites": each.rewrites,
                    "seconds": each.seconds,
                    **({"statements": each.statements} if sql else {}),
                }
                for each in plan.operations
            ],
        }
    )
    return code
