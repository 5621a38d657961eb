"""Applying migrations to a store, up and down, so that what was cut short goes on where it was."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from healthstore.abc.backend import Backend
from healthstore.abc.layer import stack
from healthstore.errors import (
    CapabilityError,
    HealthstoreError,
    MigrationError,
    SchemaChangeError,
)
from healthstore.layers.guard import GuardLayer
from healthstore.layers.references import ReferencesLayer
from healthstore.model.change import ChangeEffect, changes_between
from healthstore.model.ledger import Applied, Book, UnderWay
from healthstore.model.ops import Alter, Drop, Ensure, Rename
from healthstore.schema.evolve import alter_patiently
from healthstore.schema.fence import Ends, Fence, gone_after, is_first_to_fence, to_fence
from healthstore.schema.files import Chain, Link
from healthstore.schema.functions import called
from healthstore.schema.ledger import Ledger, now
from healthstore.schema.progress import Pace
from healthstore.schema.rewrite import rewrite
from healthstore.schema.running import Documents
from healthstore.schema.squash import adopted
from healthstore.schema.standing import (
    require_fits,
    require_no_loss,
    require_none_against,
    require_none_against_yet,
    require_none_replaced,
)
from healthstore.schema.steps import (
    Alteration,
    Creation,
    Narrowing,
    Removal,
    Renaming,
    Rewriting,
    Running,
    Step,
    is_marked,
    mark_of,
    taken_back,
)
from healthstore.transfer.filling import require_whole
from healthstore.transfer.selection import catalog

__all__ = ("move", "require_known", "stamp")

_RUN_SECONDS = 3600.0  # for a function that is called once, with all that it does


async def move(  # noqa: PLR0913 - each has a name where it is called
    store: Backend,
    chain: Chain,
    target: str | int | None,
    *,
    allow_loss: bool,
    wait: float,
    pace: Pace = Pace(),  # noqa: B008 - frozen
) -> tuple[str, ...]:
    """Take a store to a target by the migrations of a chain; return their ids, in order.

    None is one back. A migration that was cut short is completed first. Each is applied step by
    step, and each step is noted in the store's ledger. Raises MigrationError, before anything is
    changed, if the chain is not that which the store has; SchemaChangeError if documents stand
    against a change or, without ``allow_loss``, lose something by it; SerializationError if
    another process applies migrations for longer than ``wait`` seconds.
    """
    await require_whole(store)
    if target is not None:
        chain.place(target)
    async with Ledger.locked(store, wait) as ledger:
        book = adopted(store.name, chain, ledger.book)
        require_known(store.name, chain, book)
        if book != ledger.book:
            await ledger.write(book)
        moving = _Moving(store, chain, ledger, pace, allow_loss=allow_loss)
        _require_same_way(store.name, chain, ledger.book, target)
        done = [*await moving.complete()]
        there = len(ledger.book.applied)
        # One back: what was cut short was that one.
        back = there if done else max(there - 1, 0)
        wanted = back if target is None else chain.place(target)
        while len(ledger.book.applied) < wanted:
            done.append(await moving.apply(chain.links[len(ledger.book.applied)], down=False))
        while len(ledger.book.applied) > wanted:
            done.append(await moving.apply(chain.links[len(ledger.book.applied) - 1], down=True))
    return tuple(done)


def _require_same_way(name: str, chain: Chain, book: Book, target: str | int | None) -> None:
    """Raise MigrationError if a migration is under way, and the target lies the other way.

    To complete it would take the store further from where it is wanted.
    """
    begun = book.under_way
    if begun is None:
        return
    place = len(book.applied)  # before it, or with it if it is being taken back
    wanted = place - 1 if target is None else chain.place(target)
    if begun.down and wanted >= place:
        raise MigrationError(
            f"the migration {begun.id!r} is being taken back, which was cut short",
            hint="complete it first: db.schema.downgrade(), healthstore schema downgrade",
            backend=name,
        )
    if not begun.down and wanted <= place:
        raise MigrationError(
            f"the migration {begun.id!r} is under way, and a part of it is done",
            hint="complete it first: db.schema.upgrade(), healthstore schema upgrade; then take it "
            "back",
            backend=name,
        )


async def stamp(store: Backend, chain: Chain, target: str | int, *, wait: float) -> None:
    """Note in a store's ledger that it has the migrations up to a target; nothing is applied.

    Raises MigrationError if its definitions are not those after that migration.
    """
    await require_whole(store)
    place = chain.place(target)
    links = chain.links[:place]
    wanted = links[-1].state if links else {}
    stored = await catalog(store)
    for name, each in wanted.items():
        if name not in stored or changes_between(stored[name], each):
            raise MigrationError(
                f"the store's collection {name!r} is not as it is after that migration",
                hint="compare them by db.schema.plan(), healthstore schema diff",
                backend=store.name,
            )
    async with Ledger.locked(store, wait) as ledger:
        if ledger.book.under_way is not None:
            raise MigrationError(
                f"the migration {ledger.book.under_way.id!r} is under way",
                hint="complete it first: db.schema.upgrade()",
                backend=store.name,
            )
        applied = tuple(Applied(each.id, each.checksum, now()) for each in links)
        await ledger.write(replace(ledger.book, applied=applied))


def require_known(name: str, chain: Chain, book: Book, what: str = "store") -> None:
    """Raise MigrationError unless the migrations of a store are the first ones of a chain.

    ``what`` it is besides a store, such as a backup of one.
    """
    noted: list[tuple[str, str | None]] = [(each.id, each.checksum) for each in book.applied]
    if book.under_way is not None and not book.under_way.down:
        noted.append((book.under_way.id, None))  # its file may have been mended since
    for place, (identity, checksum) in enumerate(noted):
        link = chain.links[place] if place < len(chain.links) else None
        if link is None or link.id != identity:
            known = identity in chain.ids
            raise MigrationError(
                f"the {what} has the migration {identity!r} "
                + (
                    f"at place {place + 1}, where the files have another one"
                    if known or link is not None
                    else f"and the files do not: the program is older than the {what}"
                ),
                hint=f"bring the file back to {chain.folder}, or deploy the program that has it",
                backend=name,
            )
        if checksum not in {None, link.checksum}:
            raise MigrationError(
                f"the migration {identity!r} was changed after it was applied",
                hint="put the file back as it was, and write another migration",
                backend=name,
            )


class _Moving:
    """Applies migrations to one store, whose ledger it holds."""

    def __init__(
        self, store: Backend, chain: Chain, ledger: Ledger, pace: Pace, *, allow_loss: bool
    ) -> None:
        self._store = store
        self._chain = chain
        self._ledger = ledger
        self._pace = pace
        self._allow_loss = allow_loss
        self._guarded = stack(store, [GuardLayer, ReferencesLayer])
        self._fence = Fence(store, ledger)

    async def complete(self) -> Sequence[str]:
        """Complete what another process has begun and not ended."""
        begun = self._ledger.book.under_way
        if begun is None:
            return ()
        link = next(each for each in self._chain.links if each.id == begun.id)
        return (await self._take(link, begun),)

    async def apply(self, link: Link, *, down: bool) -> str:
        """Apply a migration, or take it back."""
        steps = _steps(link, down=down)
        try:
            for step in steps:
                self._require_able(step)
            stored = await catalog(self._store)
            require_fits(self._store.name, stored, steps)
            if not self._allow_loss:
                await require_no_loss(self._guarded, stored, steps)
            await require_none_against_yet(self._guarded, steps)
        except HealthstoreError as error:
            raise _in(link, error) from None
        begun = UnderWay(
            link.id, link.checksum, down, checked=bool(steps) and isinstance(steps[0], Alteration)
        )
        await self._note(begun)
        return await self._take(link, begun)

    async def _take(self, link: Link, begun: UnderWay) -> str:
        steps = _steps(link, down=begun.down)
        self._require_as_done(link, steps, begun)
        for place in range(begun.step, len(steps)):
            done = mark_of(steps[: place + 1])
            after = UnderWay(link.id, link.checksum, begun.down, place + 1, done=done)
            try:
                await self._fenced(steps, place, after)
            except HealthstoreError as error:
                raise _in(link, error) from None
            await self._note(after)
        had = self._ledger.book.applied
        applied = had[:-1] if begun.down else (*had, Applied(link.id, link.checksum, now()))
        await self._ledger.write(replace(self._ledger.book, applied=applied, under_way=None))
        return link.id

    def _require_as_done(self, link: Link, steps: Sequence[Step], begun: UnderWay) -> None:
        """Raise MigrationError if the file of a migration under way has other steps done than these."""
        if begun.done and not is_marked(steps[: begun.step], begun.done):
            raise MigrationError(
                f"the part of the migration {link.id!r} that was done is another one in its file",
                hint="put back what stands before the operation that failed, and mend that one, or "
                "what comes after it",
                backend=self._store.name,
            )

    async def _note(self, under_way: UnderWay) -> None:
        await self._ledger.write(replace(self._ledger.book, under_way=under_way))

    async def _fenced(self, steps: Sequence[Step], place: int, then: UnderWay) -> None:
        """Take a step; first those programs end that it, or what follows, would take by surprise."""
        step, ends = steps[place], to_fence(steps, place)
        before = self._ledger.book.gone
        gone = gone_after(before, step)
        if gone != before:
            await self._ledger.write(replace(self._ledger.book, gone=gone))
        first = is_first_to_fence(steps, place)
        try:
            if isinstance(step, Alteration):
                await self._require_none_against(step)
            if ends:
                await self._fence.put(ends)
                await self._counted_again(step, first=first)
            await self._step(step, then)
        except HealthstoreError:
            await self._ledger.require_held()
            await self._lift(ends, first=first)
            raise
        except asyncio.CancelledError:
            await self._lift(ends, first=first)
            raise
        self._fence.taken(step)

    async def _lift(self, ends: Ends, *, first: bool) -> None:
        """Let programs of before in again, unless a function has made what they would undo."""
        if first and self._ledger.under_way.cursor is None:
            await self._fence.lift(ends)

    async def _counted_again(self, step: Step, *, first: bool) -> None:
        """Count what was written between the first count and the fence."""
        if isinstance(step, Alteration):
            await require_none_against(self._guarded, step)
        meant = step.alteration if isinstance(step, Narrowing) else step
        if isinstance(meant, Alteration | Removal) and first and not self._allow_loss:
            there = meant.before if isinstance(meant, Alteration) else meant.gone
            await require_no_loss(self._guarded, {there.name: there}, [meant])

    async def _step(self, step: Step, then: UnderWay) -> None:
        """Take a step; ``then`` is what the ledger says afterwards."""
        match step:
            case Creation(made):
                await self._guarded.execute(Ensure(made))
            case Removal(gone):
                await self._guarded.execute(Drop(gone))
            case Alteration():
                await self._alter(step)
            case Narrowing():
                await self._narrow(step)
            case Renaming(before, after):
                await alter_patiently(self._guarded, Rename(before, after))
            case Rewriting():
                await self._rewrite(step)
            case Running():
                await self._run(step, then)

    # --- definitions -----------------------------------------------------------------------

    async def _require_none_against(self, step: Alteration) -> None:
        if not self._ledger.under_way.checked:
            await require_none_against(self._guarded, step)
            await self._note(replace(self._ledger.under_way, checked=True))

    async def _alter(self, step: Alteration) -> None:
        await alter_patiently(
            self._guarded, Alter(step.before, step.after, ChangeEffect.LOSES_DATA)
        )

    async def _narrow(self, step: Narrowing) -> None:
        """Replace what does not fit, then alter, in that order also after it was cut short."""
        if not self._ledger.under_way.checked:
            if not self._allow_loss:
                await require_none_replaced(self._guarded, step)
            rewriting = step.rewriting if self._allow_loss else step.searched
            if rewriting is not None:
                await self._rewrite(rewriting)
                # What others wrote meanwhile refuses what follows; the next call looks at it, too.
                await self._note(replace(self._ledger.under_way, cursor=None))
            try:
                await self._require_none_against(step.alteration)
            except SchemaChangeError as error:
                error.hint = f"call it again, if others wrote them meanwhile; else {error.hint}"
                raise
        await self._alter(step.alteration)

    # --- documents -------------------------------------------------------------------------

    def _require_able(self, step: Step) -> None:
        if not isinstance(step, Rewriting | Running):
            return
        what = f"Transform of {step.rows.name!r}" if isinstance(step, Rewriting) else "Run"
        if step.function is None:
            raise MigrationError(
                f"the {what} has no function for this direction",
                hint="give it down=, or restore a backup",
            )
        if not (step.idempotent or self._store.capabilities.transactions):
            raise CapabilityError(
                f"a {what.split(maxsplit=1)[0]} needs transactions, which this store does not have",
                hint="say idempotent=True if its function may get the same documents twice; "
                "MongoDB has transactions on a replica set (one node is enough)",
            )

    async def _rewrite(self, step: Rewriting) -> None:
        self._require_able(step)
        await rewrite(self._guarded, self._ledger, step, self._pace, allow_loss=self._allow_loss)

    async def _run(self, step: Running, then: UnderWay) -> None:
        """Call a function in a unit that notes the step as taken: both, or nothing."""
        self._require_able(step)
        assert step.function is not None
        if not self._store.capabilities.transactions:
            await called(step.function, Documents(self._guarded, step.state))
            return
        async with self._ledger.unit(self._guarded, then, _RUN_SECONDS) as unit:
            await called(step.function, Documents(unit, step.state))


def _steps(link: Link, *, down: bool) -> Sequence[Step]:
    return taken_back(link.steps) if down else link.steps


def _in(link: Link, error: HealthstoreError) -> HealthstoreError:
    error.message = f"in the migration {link.id!r}: {error.message}"
    return error
