"""The manager: builds members, opens them, names them, and delegates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from healthstore.abc.backend import Backend, Isolation, Unit, UnitOptions
from healthstore.abc.url import BackendURL
from healthstore.build import build_guard, build_member
from healthstore.entity import Entity, collection_of
from healthstore.errors import ConfigurationError, LifecycleError
from healthstore.events import Event, EventBus
from healthstore.model.ops import Ensure, Ensured
from healthstore.model.schema import Collection
from healthstore.repository import Repository
from healthstore.transfer import (
    BackupReport,
    MigrationReport,
    Progress,
    RestoreReport,
    VerificationReport,
    backup,
    migrate,
    restore,
    verify,
)

__all__ = ("DatabaseManager", "Transaction")

M = TypeVar("M", bound=Entity)
E = TypeVar("E", bound=Event)


class Transaction:
    """A unit of work with repositories: everything in it is kept together, or nothing is."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def repository(self, entity: type[M]) -> Repository[M]:
        """Return the entity's repository inside this transaction."""
        # After an error the unit only rolls back, so nothing can be attempted twice.
        return Repository(entity, self._unit, attempts=1)


class DatabaseManager:
    """One or more members, the first of which serves the repositories.

    ``urls`` are named by their kind: ``"sqlite"``, ``"postgresql"``, ``"sqlite-2"``; ``members``
    maps names of your own to URLs, and comes after them. Use the manager with ``async with``,
    or call :meth:`open` and :meth:`close`. Raises ConfigurationError for a URL that cannot be
    used, or if there is none.
    """

    def __init__(self, *urls: str, members: Mapping[str, str] | None = None) -> None:
        self._bus = EventBus()
        self._members = _build(urls, members or {}, self._bus)
        self._active = next(iter(self._members))
        self._guarded = build_guard(self._members[self._active])
        self._opened: set[str] = set()
        self._opening = asyncio.Lock()

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the members, in order."""
        return tuple(self._members)

    @property
    def active(self) -> str:
        """The name of the member that serves the repositories."""
        return self._active

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the active member; the others are opened when they are first used."""
        await self._open(self._active)

    async def close(self) -> None:
        """Close every member, also if closing one of them fails."""
        names, self._opened = self._opened, set()
        results = await asyncio.gather(
            *(self._members[name].close() for name in names), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def repository(self, entity: type[M]) -> Repository[M]:
        """Return the entity's repository on the active member."""
        return Repository(entity, self._guarded)

    async def initialize(self, *entities: type[Entity]) -> Ensured:
        """Create on the active member what the entities need, and check what is there.

        Raises SchemaMismatchError if a collection was made from another definition.
        """
        collections = tuple(collection_of(entity) for entity in entities)
        return await self._guarded.execute(Ensure(collections))

    @asynccontextmanager
    async def transaction(
        self,
        *,
        isolation: Isolation = Isolation.SNAPSHOT,
        read_only: bool = False,
        deadline: float = 30.0,
    ) -> AsyncGenerator[Transaction, None]:
        """Run a block as one unit: commit at its end, roll back if it raises.

        ``deadline`` is in seconds. A SerializationError says that the block can be repeated.
        """
        options = UnitOptions(isolation=isolation, read_only=read_only, deadline=deadline)
        unit = await self._guarded.begin(options)
        try:
            yield Transaction(unit)
            await unit.commit()
        finally:
            await unit.rollback()

    def on(self, kind: type[E], handler: Callable[[E], None]) -> None:
        """Call ``handler`` with every event of this type from now on."""
        self._bus.on(kind, handler)

    async def member(self, name: str) -> Backend:
        """Return a member by name, opened, as transfers use it: without the guard."""
        if name not in self._members:
            close = get_close_matches(name, self.members, n=1)
            raise ConfigurationError(
                f"there is no member {name!r}",
                hint=f"did you mean {close[0]!r}?"
                if close
                else f"members: {', '.join(self.members)}",
            )
        if not self._opened:
            raise LifecycleError("the manager is not open", hint="use it inside `async with`")
        await self._open(name)
        return self._members[name]

    async def migrate(
        self,
        source: str,
        target: str,
        entities: Iterable[type[Entity]] | None = None,
        *,
        on_event: Progress | None = None,
    ) -> MigrationReport:
        """Copy collections from one member to another, and verify them by reading back.

        Without ``entities``, every collection of the source is copied.
        """
        return await migrate(
            await self.member(source),
            await self.member(target),
            _collections(entities),
            on_event=on_event,
        )

    async def verify(
        self,
        left: str,
        right: str,
        entities: Iterable[type[Entity]] | None = None,
        *,
        on_event: Progress | None = None,
    ) -> VerificationReport:
        """Compare two members, document by document; the report says where they differ."""
        return await verify(
            await self.member(left),
            await self.member(right),
            _collections(entities),
            on_event=on_event,
        )

    async def backup(
        self,
        path: str | Path,
        entities: Iterable[type[Entity]] | None = None,
        *,
        source: str | None = None,
        on_event: Progress | None = None,
    ) -> BackupReport:
        """Write a member (the active one by default) to one JSON file, atomically."""
        backend = await self.member(source or self._active)
        return await backup(backend, Path(path), _collections(entities), on_event=on_event)

    async def restore(
        self,
        path: str | Path,
        *,
        into: str | None = None,
        entities: Iterable[type[Entity]] | None = None,
        on_event: Progress | None = None,
    ) -> RestoreReport:
        """Check a backup from end to end, then load it into a member and verify it."""
        backend = await self.member(into or self._active)
        return await restore(Path(path), backend, _collections(entities), on_event=on_event)

    async def _open(self, name: str) -> None:
        async with self._opening:
            if name not in self._opened:
                await self._members[name].open()
                self._opened.add(name)


def _collections(entities: Iterable[type[Entity]] | None) -> tuple[Collection, ...] | None:
    return None if entities is None else tuple(collection_of(entity) for entity in entities)


def _build(urls: Sequence[str], members: Mapping[str, str], bus: EventBus) -> dict[str, Backend]:
    if not urls and not members:
        raise ConfigurationError(
            "no member is given", hint='pass a URL: DatabaseManager("sqlite:///app.db")'
        )
    built: dict[str, Backend] = {}
    for text in urls:
        url = BackendURL.parse(text)
        member = build_member(url, None, bus.emit)
        kind, count = member.name, 2
        while member.name in built:
            member = build_member(url, f"{kind}-{count}", bus.emit)
            count += 1
        built[member.name] = member
    for name, text in members.items():
        if name in built:
            raise ConfigurationError(
                f"two members are called {name!r}", hint="give one of them another name"
            )
        built[name] = build_member(BackendURL.parse(text), name, bus.emit)
    return built
