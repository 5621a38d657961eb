"""Nothing acknowledged is lost: writers go on while a real server is killed, frozen and cut off."""

from __future__ import annotations

from pathlib import Path

from tests.faults.ledger import Ledger
from tests.faults.proxy import proxy
from tests.faults.servers import PrivateServer
from tests.faults.stores import callers, pair

from healthstore.events import FailedBack, FailedOver


async def test_every_acknowledged_write_survives_a_kill(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """What was acknowledged is there once, what was refused is not, the unknown is 0 or 1 times."""
    url = await private_postgresql.database()
    async with pair(url, tmp_path) as store:
        ledger = Ledger(store)
        async with callers(ledger.add) as writes:
            await ledger.more(200)
            private_postgresql.kill()
            await store.happened(FailedOver)
            await private_postgresql.restart()
            await store.happened(FailedBack)
            await ledger.more(100)
        assert ledger.refused, "writes must have been refused while the server was away"
        await ledger.require_kept()
        writes.require_bounded(store.timeout)


async def test_every_acknowledged_write_survives_a_hang(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """A frozen server may finish a write when it goes on, long after its caller has left."""
    url = await private_postgresql.database()
    async with pair(url, tmp_path) as store:
        ledger = Ledger(store)
        async with callers(ledger.add) as writes:
            await ledger.more(200)
            private_postgresql.stop()
            await store.happened(FailedOver)
            private_postgresql.cont()
            await store.happened(FailedBack)
            await ledger.more(100)
        assert ledger.unknown, "writes must have been under way when the server froze"
        await ledger.require_kept()
        writes.require_bounded(store.timeout)


async def test_every_acknowledged_write_survives_lost_replies(
    private_postgresql: PrivateServer, tmp_path: Path
) -> None:
    """Connections are reset right after the server has committed: never a double, never a loss."""
    url = await private_postgresql.database()
    async with (
        proxy("127.0.0.1", private_postgresql.port) as between,
        pair(between.url(url), tmp_path) as store,
    ):
        ledger = Ledger(store)
        async with callers(ledger.add) as writes:
            for strike in (between.reset_on_reply, between.reset_on_request) * 10:
                await ledger.more(5)
                strike()
                await between.struck()
            await ledger.more(5)
        assert ledger.unknown, "replies must have been lost"
        await ledger.require_kept()
        writes.require_bounded(store.timeout)
