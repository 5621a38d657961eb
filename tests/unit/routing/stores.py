"""Members whose health a test decides."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self, TypeVar

from healthstore.abc.layer import Layer
from healthstore.abc.prober import Figures, Vitals
from healthstore.adapters.memory import MemoryAdapter
from healthstore.errors import Condition, HealthstoreError, UnavailableError
from healthstore.events import Event
from healthstore.model.ops import Ensure
from healthstore.routing.failover import Failover
from healthstore.routing.policy import FailoverMode, FailoverPolicy, Probe
from healthstore.testing.contract._samples import PEOPLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from healthstore.abc.backend import Unit, UnitOptions
    from healthstore.model.ops import Op

R = TypeVar("R")

QUICK = Probe(
    interval=0.05,
    fast_interval=0.01,
    connect_timeout=0.2,
    query_timeout=0.2,
    hold_down=0.2,
    jitter=0,
    figures_every=0,
)


def refused() -> UnavailableError:
    """Return the error of a server that is not there."""
    error = UnavailableError("refused")
    error.condition = Condition.DOWN
    return error


class Store(Layer):
    """A memory backend that fails or hangs when told to, for requests and checks alike."""

    rank = 1

    def __init__(self, name: str) -> None:
        super().__init__(MemoryAdapter(name))
        self.error: HealthstoreError | None = None
        self.hangs = False
        self.read_only = False
        self.probes_hang = False
        self.checks = 0
        self.probers_open = 0
        self.executed = 0
        self.opened = 0

    async def _strike(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error

    async def open(self) -> None:
        """Open, or fail as told."""
        await self._strike()
        self.opened += 1
        await super().open()

    async def close(self) -> None:
        """Close."""
        self.opened -= 1
        await super().close()

    async def execute(self, op: Op[R]) -> R:
        """Run an operation, or fail as told."""
        self.executed += 1
        await self._strike()
        return await super().execute(op)

    async def begin(self, options: UnitOptions | None = None) -> Unit:
        """Begin a unit, or fail as told."""
        await self._strike()
        assert options is not None
        return await super().begin(options)

    def prober(self) -> StoreProber:
        """Return a prober of this store."""
        return StoreProber(self)


class Slow(Store):
    """A store that is open when a test says so."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ready = asyncio.Event()

    async def open(self) -> None:
        """Open, when it is time."""
        await self.ready.wait()
        await super().open()


class StoreProber:
    """Checks a store as it is at that moment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open = False

    async def connect(self) -> None:
        """Connect."""
        if not self._open:
            self._open = True
            self._store.probers_open += 1

    async def check(self) -> Vitals:
        """Tell how the store is."""
        self._store.checks += 1
        if self._store.probes_hang:
            await asyncio.Event().wait()
        await self._store._strike()
        return Vitals(writable=not self._store.read_only, reason="it is a replica")

    async def write(self) -> None:
        """Check: a write tells no more."""
        await self.check()

    async def measure(self) -> Figures:
        """Return some figures."""
        return Figures("Store 1.0", documents={"people": 3})

    async def close(self) -> None:
        """Disconnect."""
        if self._open:
            self._open = False
            self._store.probers_open -= 1


class World:
    """A failover over stores, its events, and what tests wait for."""

    def __init__(self, *names: str, policy: FailoverPolicy | None = None) -> None:
        self.stores = {name: Store(name) for name in names}
        self.events: list[Event] = []
        self.mock = Store("mock")
        self.policy = policy or FailoverPolicy(mode=FailoverMode.STANDBY_READONLY, probe=QUICK)
        self.failover = Failover(self.stores, self.policy, self.events.append, self.mock)

    def __getitem__(self, name: str) -> Store:
        return self.stores[name]

    async def __aenter__(self) -> Self:
        await self.failover.open()
        for name, store in (*self.stores.items(), ("mock", self.mock)):
            if store.error is None and not store.hangs:
                await (await self.opened(name)).execute(Ensure((PEOPLE,)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.failover.close()

    async def opened(self, name: str) -> Store:
        """Return a store, opened."""
        if name != "mock":
            await self.failover.member(name)
            return self.stores[name]
        return self.mock

    def kinds(self) -> Sequence[str]:
        """Return the names of the events so far."""
        return [type(event).__name__ for event in self.events]

    async def until(self, name: str, *states: str) -> None:
        """Wait until a member is in one of these states."""
        async with asyncio.timeout(5):
            while str(self.failover.report(name, "memory").state) not in states:  # noqa: ASYNC110 - no event tells of each
                await asyncio.sleep(0.002)
