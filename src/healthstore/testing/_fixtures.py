"""The asynchronous fixtures; the plugin registers them where pytest-asyncio is there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest_asyncio

from healthstore.testing._lending import plainly

if TYPE_CHECKING:
    from healthstore.entity import Entity
    from healthstore.manager import DatabaseManager
    from healthstore.testing._lending import LendDatabase
    from healthstore.testing.faults import Faults

__all__ = ("healthstore_manager", "healthstore_memory")


@pytest_asyncio.fixture
async def healthstore_memory(
    healthstore_entities: tuple[type[Entity], ...], healthstore_faults: Faults
) -> AsyncIterator[DatabaseManager]:
    """Lend an opened manager over an empty memory, with the entities initialized."""
    from healthstore.manager import DatabaseManager  # noqa: PLC0415 - only when it is used

    async with DatabaseManager("memory://", layers=[healthstore_faults.layer]) as db:
        await db.initialize(*healthstore_entities)
        yield db


@pytest_asyncio.fixture
async def healthstore_manager(
    healthstore_target: str,
    healthstore_database: LendDatabase,
    healthstore_entities: tuple[type[Entity], ...],
    healthstore_faults: Faults,
) -> AsyncIterator[DatabaseManager]:
    """Lend an opened manager over an empty store of the backend under test.

    On a server the whole test is one transaction that is rolled back, where there are
    savepoints; elsewhere the database is a new one, or is emptied afterwards.
    """
    from healthstore.manager import DatabaseManager  # noqa: PLC0415 - only when it is used

    async with healthstore_database(healthstore_target) as lent:
        layers = [healthstore_faults.layer, *lent.layers]
        async with plainly(lambda: DatabaseManager(lent.url, layers=layers)) as db:
            await db.initialize(*healthstore_entities)
            yield db
