"""One collection in two stores: both are read in order of ``id`` and merged as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from healthstore.abc.backend import Executor
from healthstore.model.schema import Collection
from healthstore.model.values import Document
from healthstore.transfer.digest import NOTHING, Digest, Digester, Page
from healthstore.transfer.pages import pages

__all__ = ("Change", "Comparison", "Merge")

# So many ids of each sort are named in a report; all are counted.
_NAMED = 100


@dataclass(frozen=True, slots=True)
class Change:
    """A document that both stores have, with the names of the fields in which it differs."""

    id: UUID
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One collection in two stores.

    ``left_rows`` and ``right_rows`` are None where the collection does not exist;
    ``definition`` says in words how the definitions differ, and then nothing else was compared.
    The counts are of all documents, the ids of the first ones: ``missing`` on the right,
    ``extra`` on the right, ``changed``.
    """

    collection: str
    left_rows: int | None
    right_rows: int | None
    left_digest: str = ""
    right_digest: str = ""
    definition: tuple[str, ...] = ()
    missing_count: int = 0
    extra_count: int = 0
    changed_count: int = 0
    missing: tuple[UUID, ...] = ()
    extra: tuple[UUID, ...] = ()
    changed: tuple[Change, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether the collection is the same in both stores."""
        return (
            self.left_rows is not None
            and not self.definition
            and (self.left_rows, self.left_digest) == (self.right_rows, self.right_digest)
        )

    def __str__(self) -> str:
        """Say in a few words what differs."""
        if self.equal:
            return f"{self.collection}: equal"
        if self.left_rows is None or self.right_rows is None:
            side = "left" if self.left_rows is None else "right"
            return f"{self.collection}: not there on the {side}"
        if self.definition:
            return f"{self.collection}: defined otherwise ({'; '.join(self.definition)})"
        counts = f"{self.missing_count} missing, {self.extra_count} extra"
        return f"{self.collection}: {counts}, {self.changed_count} changed"


class _Side:
    """The documents of one store, in order, of which some have been taken."""

    def __init__(self, source: AsyncGenerator[Page, None]) -> None:
        self._source = source
        self._page = Page((), (), NOTHING, 0, 0)
        self._taken = 0
        self._ended = False
        self.digest = NOTHING

    @property
    def fresh(self) -> Page | None:
        """The page, if nothing of it has been taken."""
        return None if self._taken else self._page

    @property
    def empty(self) -> bool:
        """Whether everything that was read has been taken."""
        return self._taken == len(self._page.rows)

    @property
    def bound(self) -> UUID | None:
        """The last id that is known to be complete; None: all of them are."""
        return None if self._ended else cast(UUID, self._page.rows[-1]["id"])

    async def fill(self) -> Page | None:
        """Read the next page if the last one has been taken; return it if one was read."""
        if self._ended or not self.empty:
            return None
        page = await anext(self._source, None)
        self._taken = 0
        if page is None:
            self._ended = True
            self._page = Page((), (), NOTHING, 0, 0)
            return None
        self._page = page
        self.digest += page.digest
        return page

    def take(self, bound: UUID | None) -> dict[UUID, tuple[bytes, Document]]:
        """Take the documents up to an id (None: all), by id, with their digests."""
        taken: dict[UUID, tuple[bytes, Document]] = {}
        while not self.empty:
            row = self._page.rows[self._taken]
            identity = cast(UUID, row["id"])
            if bound is not None and identity > bound:
                break
            taken[identity] = (self._page.digests[self._taken], row)
            self._taken += 1
        return taken

    def skip(self) -> None:
        """Take the whole page unseen."""
        self._taken = len(self._page.rows)


class Merge:
    """Compares one collection, of one definition, in two stores."""

    def __init__(self, collection: Collection, on_page: Callable[[Page, Digest], None]) -> None:
        self._collection = collection
        self._digester = Digester(collection)
        self._on_page = on_page
        self._missing: list[UUID] = []
        self._extra: list[UUID] = []
        self._changed: list[Change] = []
        self._counts = Counter[str]()

    async def run(self, left: Executor, right: Executor) -> tuple[Comparison, Digest, Digest]:
        """Read both stores to the end; return the comparison and the digests."""
        async with (
            aclosing(pages(left, self._collection)) as mine,
            aclosing(pages(right, self._collection)) as its,
        ):
            here, there = _Side(mine), _Side(its)
            while True:
                page = await here.fill()
                await there.fill()
                if page is not None:
                    self._on_page(page, here.digest)
                if here.empty and there.empty:
                    break
                self._step(here, there)
        return self._result(here.digest, there.digest), here.digest, there.digest

    def _step(self, here: _Side, there: _Side) -> None:
        """Compare what is complete on both sides: at least one whole page."""
        one, other = here.fresh, there.fresh
        if one and other and one.digests == other.digests:
            here.skip()
            there.skip()
            return
        bounds = [bound for side in (here, there) if (bound := side.bound) is not None]
        bound = min(bounds, default=None)
        mine, its = here.take(bound), there.take(bound)
        for identity, (digest, row) in mine.items():
            if identity not in its:
                self._note("missing", self._missing, identity)
            elif its[identity][0] != digest:
                self._note_change(identity, row, its[identity][1])
        for identity in its:
            if identity not in mine:
                self._note("extra", self._extra, identity)

    def _note(self, count: str, named: list[UUID], identity: UUID) -> None:
        self._counts[count] += 1
        if len(named) < _NAMED:
            named.append(identity)

    def _note_change(self, identity: UUID, left: Document, right: Document) -> None:
        self._counts["changed"] += 1
        if len(self._changed) < _NAMED:
            self._changed.append(Change(identity, self._digester.changed(left, right)))

    def _result(self, left: Digest, right: Digest) -> Comparison:
        return Comparison(
            self._collection.name,
            left.count,
            right.count,
            str(left),
            str(right),
            missing_count=self._counts["missing"],
            extra_count=self._counts["extra"],
            changed_count=self._counts["changed"],
            missing=tuple(self._missing),
            extra=tuple(self._extra),
            changed=tuple(self._changed),
        )
