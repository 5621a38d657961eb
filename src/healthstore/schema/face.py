"""What a program calls as ``db.schema``: it turns entities into definitions, and delegates."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from math import inf
from pathlib import Path

from healthstore.abc.backend import Backend
from healthstore.config.settings import Profile
from healthstore.entity import Entity, collection_of
from healthstore.errors import InvalidRequestError, MigrationError
from healthstore.model.arguments import listed
from healthstore.model.ops import Alter, Drop, Ensure, Explain, Explained, Rename
from healthstore.model.schema import Collection
from healthstore.schema.evolve import DEADLINE, evolve
from healthstore.schema.files import ZERO, Chain, read_chain
from healthstore.schema.plan import Plan, plan
from healthstore.schema.progress import Pace, PageTransformed
from healthstore.schema.reset import ResetReport, require_no_production, reset
from healthstore.schema.script import script
from healthstore.schema.squash import adopted
from healthstore.schema.upgrade import move, stamp
from healthstore.transfer.ledger import read_book

__all__ = ("HistoryEntry", "Schema")


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A migration, and when it was applied, in UTC; None if it was not.

    One that is ``under_way`` is applied in part: by somebody now, or it was cut short. The next
    ``upgrade`` completes it; if it is being taken back, the next ``downgrade``.
    """

    id: str
    applied: datetime | None
    under_way: bool = False


class Schema:
    """Compares the definitions of a manager's members with those of entities, and changes them."""

    def __init__(
        self,
        member: Callable[[str | None], Awaitable[Backend]],
        members: Callable[[], Iterable[str]],
        filling: Callable[[str], AbstractAsyncContextManager[None]],
        profile: Profile,
    ) -> None:
        self._member = member
        self._members = members
        self._filling = filling
        self._profile = profile

    async def plan(self, *entities: type[Entity], member: str | None = None) -> Plan:
        """Return what makes a member's collections into those of the entities; changes nothing.

        ``member`` is the active one by default. What the store holds beside these entities is
        left alone. Raises InvalidRequestError if no entity is named, or two have one collection.
        """
        wanted = _wanted(entities, "db.schema.plan(User, Weight)")
        return await plan(await self._member(member), wanted)

    async def evolve(
        self,
        *entities: type[Entity],
        dry_run: bool = False,
        members: str | Iterable[str] | None = None,
        deadline: float = DEADLINE,
    ) -> Plan:
        """Make a member's collections into those of the entities; return the plan that was applied.

        Only additive changes are applied, which no document stands against: SchemaChangeError
        names others, before anything is changed. ``members`` is the active one by default, a
        name, several, or ``"all"``. Documents that are there get the default of a new field, or
        None. Programs of the definition before go on, where they can read what is new. What was
        cut short is completed by calling it again. The alteration of one collection may take
        ``deadline`` seconds. With ``dry_run`` nothing is changed.
        """
        wanted = _wanted(entities, "db.schema.evolve(User, Weight)")
        given: object = deadline
        if isinstance(given, bool) or not isinstance(given, int | float) or not given > 0:
            raise InvalidRequestError(
                "the deadline of a change must be positive", hint="give seconds, such as 3600.0"
            )
        stores = [await self._member(each) for each in self._named(members)]
        return await evolve(stores, wanted, dry_run=dry_run, deadline=deadline)

    async def upgrade(  # noqa: PLR0913 - options are keywords, each with a default
        self,
        target: str | int = "head",
        directory: str | Path = "migrations",
        *,
        member: str | None = None,
        allow_loss: bool = False,
        wait: float = 60.0,
        pause: float = 0.0,
        on_event: Callable[[PageTransformed], None] | None = None,
    ) -> tuple[str, ...]:
        """Apply the migrations of a folder up to a target; return the ids of those applied.

        ``target`` is a number, an id, ``"head"`` or ``"zero"``; one that the store is beyond
        takes migrations back, as :meth:`downgrade`. Each step is noted in the store, so that what
        was cut short is completed by the next call. Without ``allow_loss`` a field or collection
        in which documents hold something is not dropped, and what does not fit a field's new form
        is not replaced (``otherwise=``): SchemaChangeError counts them, before anything is
        changed. Another process that applies migrations is waited for, ``wait``
        seconds at most; then SerializationError names it. A Transform waits ``pause`` seconds
        between its pages of 1,000 documents, so that others are served, and ``on_event`` is told of
        each page. Raises MigrationError for files that are wrong, or are others than those that
        the store has.
        """
        pace = Pace(pause, on_event)
        return await self._move(target, directory, member, pace, allow_loss=allow_loss, wait=wait)

    async def downgrade(  # noqa: PLR0913 - options are keywords, each with a default
        self,
        target: str | int | None = None,
        directory: str | Path = "migrations",
        *,
        member: str | None = None,
        allow_loss: bool = False,
        wait: float = 60.0,
        pause: float = 0.0,
        on_event: Callable[[PageTransformed], None] | None = None,
    ) -> tuple[str, ...]:
        """Take migrations back, the last one or down to a target; return their ids.

        What a migration has added is dropped, which needs ``allow_loss`` where documents hold
        something else in it than what they were given. ``wait``, ``pause`` and ``on_event`` are
        as in :meth:`upgrade`. Raises MigrationError, before anything is changed, for a Transform
        without ``down``.
        """
        pace = Pace(pause, on_event)
        return await self._move(target, directory, member, pace, allow_loss=allow_loss, wait=wait)

    async def current(self, *, member: str | None = None) -> str | None:
        """Return the id of the last migration that a member has; None if it has none."""
        return (await read_book(await self._member(member))).current

    async def history(
        self, directory: str | Path = "migrations", *, member: str | None = None
    ) -> tuple[HistoryEntry, ...]:
        """Return the migrations of a folder, in order, and when each was applied to a member."""
        store, chain = await self._member(member), await _read(directory)
        book = adopted(store.name, chain, await read_book(store))
        times = {each.id: datetime.fromisoformat(each.at) for each in book.applied}
        begun = None if book.under_way is None else book.under_way.id
        return tuple(
            HistoryEntry(each, times.get(each), under_way=each == begun) for each in chain.ids
        )

    async def sql(
        self,
        target: str | int = "head",
        directory: str | Path = "migrations",
        *,
        since: str | int | None = None,
        member: str | None = None,
    ) -> str:
        """Return as a script what takes a member to a target by the migrations; runs nothing.

        It begins after ``since``, or where the member is. Where a migration calls a function the
        script says how to go on, and last what lets the store know what it has. The constants of
        defaults and checks stand in it. Raises CapabilityError for a backend that is not changed
        by statements, and MigrationError as :meth:`upgrade`.
        """
        store, chain = await self._member(member), await _read(directory)
        if since is None:
            since = adopted(store.name, chain, await read_book(store)).current or ZERO

        async def ask(change: Ensure | Alter | Rename | Drop) -> Explained:
            return await store.execute(Explain(change))

        return await script(chain, chain.place(since), chain.place(target), ask)

    async def stamp(
        self,
        target: str | int = "head",
        directory: str | Path = "migrations",
        *,
        member: str | None = None,
        wait: float = 60.0,
    ) -> None:
        """Note that a member has the migrations up to a target, without applying them.

        For a store whose collections were made in another way. Raises MigrationError if they are
        not as they are after that migration.
        """
        await stamp(await self._member(member), await _read(directory), target, wait=wait)

    async def reset(
        self,
        name: str,
        directory: str | Path = "migrations",
        *,
        dry_run: bool = False,
        wait: float = 60.0,
    ) -> ResetReport:
        """Drop every collection of the member of this name, and apply the migrations of a folder.

        Without a file it stays empty; nothing is filled in. It is for databases of development
        and tests: InvalidRequestError refuses it in the profile production. With ``dry_run``
        documents are counted, and nothing is changed. A reset that is cut short leaves a store
        that serves nobody until it is reset again. Others who apply migrations are waited for as
        in :meth:`upgrade`. Raises MigrationError for files that are wrong, before anything goes.
        """
        require_no_production(name, self._profile)
        store, chain = await self._member(name), await _read(directory)
        async with self._filling(name):
            return await reset(store, chain, wait=wait, dry_run=dry_run)

    async def _move(  # noqa: PLR0913 - what the two ways share
        self,
        target: str | int | None,
        directory: str | Path,
        member: str | None,
        pace: Pace,
        *,
        allow_loss: bool,
        wait: float,
    ) -> tuple[str, ...]:
        given: object = pace.pause
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < inf:
            raise InvalidRequestError(
                "the pause between two pages must not be negative", hint="give seconds, such as 0.1"
            )
        chain = await _read(directory)
        if not chain.folder.is_dir():
            raise MigrationError(
                f"there is no folder {chain.folder}",
                hint="name the one of the migration files: directory=…, --dir",
            )
        store = await self._member(member)
        return await move(store, chain, target, allow_loss=allow_loss, wait=wait, pace=pace)

    def _named(self, members: str | Iterable[str] | None) -> tuple[str | None, ...]:
        if members is None:
            return (None,)
        if isinstance(members, str):
            return tuple(self._members()) if members == "all" else (members,)
        names = tuple(dict.fromkeys(listed(members, "members", 'members=["primary"]')))
        if not names:
            raise InvalidRequestError("no member is named", hint='members="all" names every one')
        return names


async def _read(directory: str | Path) -> Chain:
    return await asyncio.to_thread(read_chain, directory)


def _wanted(entities: Iterable[type[Entity]], example: str) -> list[Collection]:
    wanted = [collection_of(each) for each in entities]
    if not wanted:
        raise InvalidRequestError("no entity is named", hint=example)
    return wanted
