"""A collection for a benchmark alone: what it holds, and a store that knows nothing else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, TypeVar
from uuid import UUID, uuid4

from pydantic import AwareDatetime, JsonValue

from healthstore import Entity, Index, MaxLength
from healthstore.abc.backend import Backend
from healthstore.abc.bench import Bench
from healthstore.abc.layer import Layer
from healthstore.adapters.memory import MemoryAdapter
from healthstore.cli.failures import CommandError, Failure, failure_of
from healthstore.cli.output import Output
from healthstore.cli.signals import undisturbed
from healthstore.errors import InvalidRequestError
from healthstore.model.catalog import CATALOG
from healthstore.model.ops import Batch, Ensure, Op
from healthstore.model.schema import Collection

__all__ = ("PER_OWNER", "Reading", "ScratchLayer", "lend", "make_readings", "new_entity")

R = TypeVar("R")

PER_OWNER = 50
_REMOVAL_SECONDS = 15.0  # more than a server waits for a lock
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Reading(Entity, collection="healthstore_bench"):
    """A reading: nine fields, one of them about 300 bytes of JSON; an index finds an owner's."""

    owner: UUID
    taken_at: AwareDatetime
    kind: Annotated[str, MaxLength(40)]
    value: float
    unit: Annotated[str, MaxLength(20)]
    steps: int
    valid: bool
    note: Annotated[str, MaxLength(200)] | None = None
    detail: dict[str, JsonValue]


def new_entity() -> type[Reading]:
    """Return the entity of a collection that has a name of its own."""
    name = f"healthstore_bench_{uuid4().hex[:12]}"

    class Own(Reading, collection=name, indexes=[Index("owner", "-taken_at")]):
        """The same, elsewhere."""

    return Own


def make_readings(entity: type[Reading], count: int) -> list[Reading]:
    """Return new readings of owners with fifty each."""
    chance = random.Random(count)  # noqa: S311 - the same work each time, no secret
    owners = [uuid4() for _ in range(-(-count // PER_OWNER))]
    return [
        entity(
            owner=owners[number // PER_OWNER],
            taken_at=_EPOCH + timedelta(minutes=chance.randrange(100_000)),
            kind="glucose",
            value=chance.randrange(4_000) / 4,
            unit="mmol/l",
            steps=chance.randrange(1_000_000),
            valid=True,
            note=None if number % 3 else "after a walk, sitting, left arm, Zürich",
            detail={
                "device": {"maker": "Example Medical", "model": "WX-200", "serial": number},
                "samples": [chance.randrange(4_000) / 4 for _ in range(20)],
                "context": {"posture": "sitting", "meal": None, "calibrated": True},
                "tags": ["home", "morning", "self-measured"],
            },
        )
        for number in range(count)
    ]


class ScratchLayer(Layer):
    """Lets nothing pass but operations on one collection, and notes those that succeed.

    The catalog, which tells what a store was made for, is one in memory: that of the store is
    neither read nor written.
    """

    rank: ClassVar[int] = 110
    part_of_store: ClassVar[bool] = True

    def __init__(self, inner: Backend, *, collection: Collection, sent: list[Op[Any]]) -> None:
        super().__init__(inner)
        self._collection = collection
        self._sent = sent
        self._catalog = MemoryAdapter(inner.name)

    async def open(self) -> None:
        """Open the backend below, and the catalog."""
        await self._catalog.open()
        await self._catalog.execute(Ensure((self._collection,)))
        await self.inner.open()

    async def close(self) -> None:
        """Close both."""
        await self.inner.close()
        await self._catalog.close()

    async def execute(self, op: Op[R]) -> R:
        """Run an operation where it belongs; raise InvalidRequestError for any other one."""
        names = _names(op)
        if names == {self._collection.name}:
            result = await self.inner.execute(op)
            self._sent.append(op)
            return result
        if names == {CATALOG.name}:
            return await self._catalog.execute(op)
        raise InvalidRequestError(
            "a benchmark touches no collection but its own", hint="report this as a defect"
        )


def _names(op: Op[Any]) -> set[str]:
    """Return the names of the collections of an operation; the empty one for an unknown one."""
    operations: Sequence[Op[Any]] = op.operations if isinstance(op, Batch) else (op,)
    return {getattr(getattr(each, "collection", None), "name", "") for each in operations}


@asynccontextmanager
async def lend(
    output: Output, bench: Bench[Any], collection: Collection
) -> AsyncGenerator[None, None]:
    """Make a collection for a block, and remove it afterwards, whatever happened.

    The removal has a time of its own, and no signal cuts it short. If it fails, that is told
    beside the error of the block, or raised as CommandError.
    """
    await bench.require_free(collection)
    try:
        await bench.make(collection)
        yield
    except BaseException:
        left = await _removed(bench, collection)
        if left is not None:
            output.error(left)
        raise
    left = await _removed(bench, collection)
    if left is not None:
        raise CommandError(left)


async def _removed(bench: Bench[Any], collection: Collection) -> Failure | None:
    """Remove a collection; return what is to be told if that fails."""
    try:
        with undisturbed():
            async with asyncio.timeout(_REMOVAL_SECONDS):
                await bench.remove(collection)
    except Exception as error:  # noqa: BLE001 - whatever it is, the name is to be told
        found = failure_of(error)
        return Failure(
            f"the collection {collection.name} is left: {found.message}",
            found.where,
            "remove it by hand; no catalog and no other program knows of it",
            found.code,
            found.exit,
        )
    return None
