"""Which collections a transfer takes: those of the store's catalog, or some of them by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from difflib import get_close_matches
from typing import TypeAlias

from healthstore.abc.backend import Backend
from healthstore.errors import ConfigurationError, SchemaMismatchError
from healthstore.model.catalog import (
    CATALOG,
    DIFFERENCE_HINT,
    catalog_id,
    differences,
    from_definition,
)
from healthstore.model.filling import collections_only
from healthstore.model.ops import Get
from healthstore.model.requests import REQUESTS
from healthstore.model.schema import Collection, parents_first
from healthstore.model.values import Document
from healthstore.transfer.filling import require_whole
from healthstore.transfer.pages import pages

__all__ = ("Collections", "catalog", "choose", "choose_from", "remembers", "require_equal")

# Definitions or names; None stands for all.
Collections: TypeAlias = Iterable[Collection | str] | None


async def catalog(backend: Backend) -> dict[str, Collection]:
    """Return the collections of a store by name, as they were defined; none if it has no catalog.

    What the library remembers of requests is none of them: it stays where it is.
    """
    rows: list[Document] = []
    try:
        async with aclosing(pages(backend, CATALOG)) as read:
            async for page in read:
                rows.extend(collections_only(page.rows))
    except ConfigurationError as error:
        if type(error) is not ConfigurationError or rows:
            raise
        # Only a store that answers can be said to have no catalog.
        await backend.ping()
    try:
        defined = [from_definition(row["definition"]) for row in rows]
    except ConfigurationError as error:
        raise error.at(backend=backend.name) from error.__cause__
    return {each.name: each for each in defined if each.name != REQUESTS.name}


async def remembers(backend: Backend) -> bool:
    """Tell whether a store has a collection of requests with idempotency keys."""
    try:
        (row,) = await backend.execute(Get(CATALOG, (catalog_id(REQUESTS.name),)))
    except ConfigurationError as error:
        if type(error) is not ConfigurationError:
            raise
        return False  # it has no catalog
    return row is not None


async def choose(backend: Backend, wanted: Collections) -> tuple[Collection, ...]:
    """Return the collections of a store that are wanted, parents first.

    Raises ConfigurationError for a store without collections and an unknown name,
    SchemaMismatchError for a definition other than the stored one, and IncompleteStoreError for
    half a copy.
    """
    await require_whole(backend)
    return choose_from(await catalog(backend), wanted, backend.name)


def choose_from(
    available: Mapping[str, Collection], wanted: Collections, place: str
) -> tuple[Collection, ...]:
    """Return those of the available collections that are wanted, parents first.

    ``place`` names the store or file in errors, which are as :func:`choose` says.
    """
    if not available:
        raise ConfigurationError(
            "there is no collection that healthstore made",
            hint="call initialize() first, or check the URL: it may name another database",
            backend=place,
        )
    if wanted is None:
        return parents_first(available.values())
    chosen: dict[str, Collection] = {}
    for each in [wanted] if isinstance(wanted, str) else wanted:
        name = each if isinstance(each, str) else each.name
        stored = available.get(name)
        if stored is None:
            raise _unknown(name, available, place)
        if isinstance(each, str):
            chosen[name] = stored
        else:
            require_equal(stored, each, place)
            # What was written keeps its order of fields; errors name the program's entity.
            chosen[name] = replace(stored, entity=each.entity)
    if not chosen:
        raise ConfigurationError(
            "no collection is named", hint="name at least one, or leave the choice out for all"
        )
    return parents_first(chosen.values())


def require_equal(stored: Collection, wanted: Collection, place: str) -> None:
    """Raise SchemaMismatchError unless a stored definition is the wanted one."""
    if stored == wanted:
        return
    raise SchemaMismatchError(
        f"the collection {wanted.name!r} has another definition: "
        + "; ".join(differences(stored, wanted)),
        hint=DIFFERENCE_HINT,
        entity=wanted.entity,
        backend=place,
    )


def _unknown(name: str, available: Mapping[str, Collection], place: str) -> ConfigurationError:
    close = get_close_matches(name, available, n=1)
    known = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(available))}"
    return ConfigurationError(f"there is no collection {name!r}", hint=known, backend=place)
