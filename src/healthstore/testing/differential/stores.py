"""Stores for a comparison: new, empty, and under the layers that a service's repositories have."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from healthstore.abc.backend import Backend
from healthstore.abc.layer import stack
from healthstore.abc.url import BackendURL
from healthstore.build import Build, build_guard, build_member, build_whole
from healthstore.config.settings import MemberSettings
from healthstore.events import EventBus
from healthstore.layers.timeout import TimeoutLayer
from healthstore.statistics import Statistics
from healthstore.testing.provision import Provision, disposable, text_of

__all__ = ("MEMORY", "Place", "Store", "new_store")

_FIRST = datetime(2026, 2, 1, tzinfo=UTC)
_PATIENCE = 60.0  # seconds for a connection: a run may have a busy machine for an hour


@dataclass(frozen=True, slots=True)
class Place:
    """Where stores are made: beside the database of a URL.

    ``layers`` lie over each adapter; ``provision`` makes and drops databases of a scheme that
    :data:`~healthstore.testing.provision.PROVISIONS` does not list.
    """

    name: str
    url: BackendURL = field(repr=False)
    layers: tuple[Build, ...] = ()
    provision: Provision | None = None


MEMORY = Place("memory", BackendURL.parse("memory://"))


@dataclass(slots=True)
class Store:
    """One open store: ``backend`` is what transfers use, ``guarded`` what repositories use."""

    backend: Backend
    guarded: Backend
    step: int = 0

    def clock(self) -> datetime:
        """Return the present instant of the program: the same on every store."""
        return _FIRST + timedelta(seconds=self.step)


@asynccontextmanager
async def new_store(place: Place) -> AsyncGenerator[Store, None]:
    """Make an empty store, open it, and drop it afterwards."""
    async with disposable(place.url, place.provision) as url:
        settings = MemberSettings(
            name=place.name, url=SecretStr(text_of(url)), connect_timeout=_PATIENCE
        )
        bus, statistics = EventBus(), Statistics()
        member = build_member(settings, bus, statistics, place.layers)
        await member.open()
        try:
            whole = build_whole(member, settings, bus, statistics)
            # A repository's requests get their deadline from failover, which is not here.
            yield Store(whole, build_guard(stack(member, [TimeoutLayer])))
        finally:
            await member.close()
