"""What the tests of the care diary share."""

from __future__ import annotations

import pytest
from service import User

from healthstore import DatabaseManager
from healthstore.testing.fake import fake


@pytest.fixture
def db(healthstore_manager: DatabaseManager) -> DatabaseManager:
    """Return the store under test: memory, or each of ``--healthstore-backends``."""
    return healthstore_manager


@pytest.fixture
async def users(db: DatabaseManager) -> list[User]:
    """Store ten people, the same in each run."""
    users = fake(User, 10)
    await db.repository(User).add_many(users)
    return users
