"""Reading a whole store as it is at one moment, where the store can do that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from healthstore.abc.backend import Backend, Executor, UnitOptions
from healthstore.abc.unit import deadline_exceeded
from healthstore.errors import DeadlineExceededError, SerializationError

__all__ = ("Consistency", "Reading", "reading")

# A snapshot must outlive the largest transfer; each read in it has a deadline of its own.
_SNAPSHOT_SECONDS = 24 * 3600.0
_BEGIN_SECONDS = 60.0


class Consistency(StrEnum):
    """Of which moment the documents are that a transfer reads."""

    SNAPSHOT = "snapshot"
    """All of one moment: writers during the transfer are not seen."""
    FUZZY = "fuzzy"
    """Each page of its own moment: a writer during the transfer may be seen in part."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Where to read from, and what that promises."""

    executor: Executor
    consistency: Consistency


@asynccontextmanager
async def reading(source: Backend, wanted: Consistency) -> AsyncGenerator[Reading, None]:
    """Lend a read-only unit of the source; the source itself where it has no transactions.

    A server that ends the snapshot before its time raises what it raises, with a hint.
    """
    if wanted is Consistency.FUZZY or not source.capabilities.transactions:
        yield Reading(source, Consistency.FUZZY)
        return
    try:
        async with asyncio.timeout(_BEGIN_SECONDS):
            unit = await source.begin(UnitOptions(read_only=True, deadline=_SNAPSHOT_SECONDS))
    except TimeoutError:
        raise deadline_exceeded(write=False).at(backend=source.name) from None
    try:
        yield Reading(unit, Consistency.SNAPSHOT)
    except (DeadlineExceededError, SerializationError) as error:
        if error.backend == source.name:
            error.hint = "; ".join(filter(None, (error.hint, _ENDED)))
        raise
    finally:
        await unit.rollback()


# MongoDB ends transactions after a minute unless transactionLifetimeLimitSeconds is raised.
_ENDED = (
    "if the server limits how long a snapshot lives, raise that limit, "
    'or read with consistency="fuzzy" while nobody writes'
)
