"""The command that empties a store, and what is asked before documents are removed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePath

from healthstore.abc.url import BackendURL
from healthstore.cli.exits import Exit
from healthstore.cli.failures import CommandError, Failure
from healthstore.cli.named import find_entities, stored
from healthstore.cli.output import Output
from healthstore.cli.store import TRANSFER
from healthstore.config.settings import Profile
from healthstore.errors import InvalidRequestError
from healthstore.manager import DatabaseManager
from healthstore.switching import require_confirmed

__all__ = ("clear_store", "require_word")


async def clear_store(
    output: Output, url: str, names: Sequence[str], profile: str | None, confirm: str | None
) -> int:
    """Remove every document of a store, or of some entities there."""
    entities = find_entities(names)
    target = stored(url)
    require_word(url, profile, confirm)
    async with DatabaseManager(members={"target": target}, policy=TRANSFER) as db:
        report = await db.clear("target", entities)
    rows = [(name, f"{count:,}") for name, count in report.collections.items()]
    output.table(("collection", "removed "), rows)
    output.result(
        {
            "ok": True,
            "exit": int(Exit.OK),
            "command": "clear",
            "rows": report.rows,
            "collections": dict(report.collections),
            "seconds": report.seconds,
        }
    )
    return Exit.OK


def require_word(url: str, profile: str | None, confirm: str | None) -> None:
    """Raise CommandError unless a store may be emptied: in production by its database's name."""
    parsed = BackendURL.parse(url)
    word = PurePath(parsed.database).name or parsed.scheme
    said = profile or os.environ.get("HEALTHSTORE_PROFILE") or Profile.DEVELOPMENT
    try:
        require_confirmed(word, confirm, Profile(said))
    except InvalidRequestError as error:
        hint = f"nothing was removed; if it is meant, say --confirm {word}"
        raise CommandError(Failure(error.message, word, hint, "refused", Exit.REFUSED)) from None
    except ValueError:
        known = ", ".join(Profile)
        raise CommandError(
            Failure(f"there is no profile {said!r}", hint=f"one of {known}")
        ) from None
