"""What is remembered of requests stays with its store, and is in nobody's way."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from healthstore import DatabaseManager, Entity
from healthstore.config.read import read_settings
from healthstore.errors import ConfigurationError
from healthstore.model.ops import CountDocuments
from healthstore.model.requests import REQUESTS


class Payment(Entity, collection="payments"):
    cents: int


async def remembered(db: DatabaseManager, name: str) -> int:
    """Return how many requests a member remembers."""
    return await (await db.member(name)).execute(CountDocuments(REQUESTS))


async def test_transfers_leave_requests_where_they_are(tmp_path: Path) -> None:
    """Migrated, verified, backed up, restored, compared with the entities: only what is the program's."""
    path = tmp_path / "backup.json"
    async with DatabaseManager(f"sqlite:///{tmp_path / 'a.db'}", "memory://") as db:
        await db.initialize(Payment)
        payments = db.repository(Payment)
        first = await payments.add(Payment(cents=1), idempotency_key="k")
        assert await remembered(db, "sqlite") == 1
        await db.initialize(Payment)
        assert not await db.schema.plan(Payment)
        report = await db.migrate("sqlite", "memory")
        assert [each.collection for each in report.collections] == ["payments"]
        verified = await db.verify("sqlite", "memory")
        verified.require()
        assert [each.collection for each in verified.collections] == ["payments"]
        with pytest.raises(ConfigurationError):
            await remembered(db, "memory")
        await db.backup(path)
        assert REQUESTS.name not in path.read_text("utf-8")
        assert await payments.add(Payment(cents=1), idempotency_key="k") == first


async def test_what_is_cleared_may_be_asked_for_again(tmp_path: Path) -> None:
    """The requests of what was removed are forgotten with it."""
    async with DatabaseManager(f"sqlite:///{tmp_path / 'a.db'}") as db:
        await db.initialize(Payment)
        payments = db.repository(Payment)
        first = await payments.add(Payment(cents=1), idempotency_key="k")
        await db.clear("sqlite", [Payment])
        again = await payments.add(Payment(cents=1), idempotency_key="k")
        assert again.id != first.id
        assert await payments.count() == 1


def test_a_setting_says_how_long_a_request_is_known() -> None:
    """Twenty-four hours, or what the variable says; never none."""
    url = {"HEALTHSTORE_PRIMARY": "memory://"}
    assert read_settings(environ=url).settings.remembered == timedelta(hours=24)
    given = read_settings(environ={**url, "HEALTHSTORE_IDEMPOTENCY_HOURS": "0.5"})
    assert given.settings.remembered == timedelta(minutes=30)
    for wrong in ("0", "-1", "9000", "a"):
        with pytest.raises(ConfigurationError):
            read_settings(environ={**url, "HEALTHSTORE_IDEMPOTENCY_HOURS": wrong})
