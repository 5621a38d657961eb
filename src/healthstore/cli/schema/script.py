"""The command ``schema sql``: migrations as a script that somebody else may run."""

from __future__ import annotations

from pathlib import Path

from healthstore.abc.registry import kind_of
from healthstore.cli.exits import Exit
from healthstore.cli.output import Output
from healthstore.cli.store import Store
from healthstore.schema.files import ZERO, read_chain
from healthstore.schema.offline import asking
from healthstore.schema.script import script

__all__ = ("tell_script",)


async def tell_script(
    output: Output,
    store: Store,
    folder: Path,
    places: tuple[str | None, str],
    dialect: str | None,
) -> int:
    """Show what leads from one place of the migrations to another.

    Without the first it begins where the active member is; where only a dialect is known, at the
    beginning.
    """
    since, target = places
    if dialect is None and since is None:
        async with store.observed() as db:
            text = await db.schema.sql(target, folder)
    else:
        kind = dialect or kind_of(store.settings().members[0].backend_url())
        chain = read_chain(folder)
        first = chain.place(ZERO if since is None else since)
        text = await script(chain, first, chain.place(target), asking(kind))
    output.show(text.rstrip())
    output.result({"ok": True, "exit": int(Exit.OK), "command": "schema sql", "script": text})
    return Exit.OK
