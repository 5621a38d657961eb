"""From a file of rows into one collection: every row or none."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import count, islice, takewhile
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from healthstore.abc.backend import Backend, UnitOptions
from healthstore.errors import (
    CapabilityError,
    HealthstoreError,
    IntegrityError,
    Outcome,
    RefusedValueError,
)
from healthstore.model.collector import collector_paused
from healthstore.model.documents import canonical_documents
from healthstore.model.evaluate import check_document
from healthstore.model.filling import Filling
from healthstore.model.ops import Ensure, Insert
from healthstore.model.schema import Collection
from healthstore.model.size import require_small, surely_small
from healthstore.model.values import Document
from healthstore.transfer._offload import to_the_end
from healthstore.transfer.blame import blamed
from healthstore.transfer.digest import Digest, Digester
from healthstore.transfer.filling import filling, require_whole
from healthstore.transfer.pages import PAGE_BYTES, PAGE_ROWS, drawn
from healthstore.transfer.place import file_path
from healthstore.transfer.progress import Finished, Planned, Progress, Reporter, Stage
from healthstore.transfer.rows import FilePage, Row, RowFile, bad_row
from healthstore.transfer.undo import Undo
from healthstore.transfer.walk import walk

__all__ = ("Convert", "Documents", "LoadReport", "load")

# From the values of a row, by name, to what a caller's model makes of them: the values of a
# document, or what the second function makes canonical documents of, some at a time.
Convert: TypeAlias = Callable[[Mapping[str, object]], Any]
Documents: TypeAlias = Callable[[Sequence[Any]], Sequence[Document]]

# The unit must outlive the largest file; each write in it has a deadline of its own.
_UNIT_SECONDS = 24 * 3600.0
_TOGETHER = 100  # rows that are converted together
_UNCONVERTED = (ArithmeticError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What was loaded from a file: the number of documents, their digest, and the seconds."""

    path: Path
    target: str
    collection: str
    rows: int
    digest: str
    seconds: float


async def load(  # noqa: PLR0913 - whence, whither, and how a row becomes a document
    path: str | os.PathLike[str],
    collection: Collection,
    target: Backend,
    convert: Convert,
    *,
    documents: Documents | None = None,
    on_event: Progress | None = None,
) -> LoadReport:
    """Add every row of a JSON Lines or CSV file, plain or gzip, to a collection.

    ``convert`` makes the values of a document of the values of a row and may raise
    HealthstoreError or ValueError to refuse it; it is called in threads, and more than once for
    some rows. With ``documents`` it may make anything: that makes canonical documents of what
    some rows became, as ``to_documents`` does of entities, and tells the ``index`` of one that
    it refuses.
    The first page of rows is checked before anything is made; then all are added in one unit,
    each page checked before it is. Where the target has no transactions every row is checked
    before the first is added; after a failure what was added is removed again, and the error says
    so; there the store is marked meanwhile and does not serve, so that a load that is killed is
    told. The collection is created if it is missing, and may hold other documents.

    Raises RefusedValueError for a row that is malformed or refused, and an IntegrityError for
    one that the store refuses, each with the number of its line; InvalidRequestError for a
    file that cannot be read; IncompleteStoreError if another transfer has not ended.
    """
    started = time.perf_counter()
    if collection.references and not target.capabilities.references:
        raise CapabilityError(
            "this backend cannot enforce references",
            hint="load into one that can, then migrate",
            entity=collection.entity,
            field=collection.references[0].field,
            backend=target.name,
        )
    report = Reporter(on_event)
    place = file_path(path)
    file = RowFile(place, collection)
    if documents is None:
        convert = _completed(collection, convert)
        documents = partial(canonical_documents, collection)
    most = target.capabilities.max_document_bytes
    source = _Source(file, convert, documents, most)
    fill = _in_one_unit if target.capabilities.transactions else _undoable
    digest = await fill(source, target, report)
    seconds = time.perf_counter() - started
    report(Finished(digest.count, seconds))
    return LoadReport(place, target.name, collection.name, digest.count, str(digest), seconds)


class _Source:
    """A file's rows as documents: complete, canonical, as declared, and of ``most`` bytes."""

    def __init__(self, file: RowFile, convert: Convert, documents: Documents, most: int) -> None:
        self.file = file
        self.collection = file.collection
        self._most = most
        self._convert = convert
        self._documents = documents
        self._digester = Digester(file.collection)

    def checked(self, most: int | None = None) -> Generator[FilePage, None, None]:
        """Yield pages, ``most`` at most, without digests.

        Raises RefusedValueError, with its line, for a bad row. Blocks. Close the generator: it
        has the file open.
        """
        with closing(iter(self.file)) as file:
            for number in islice(count(), most):
                with collector_paused():
                    page = self._next_page(file, number)
                if page is None:
                    return
                yield page

    def pages(self) -> Generator[FilePage, None, None]:
        """Yield pages as :meth:`checked` does, with digests."""
        with closing(self.checked()) as pages:
            for each in pages:
                found = self._digester.page(each.rows)
                yield FilePage(
                    *(found.rows, found.digests, found.digest, found.size, found.largest),
                    each.lines,
                    each.number,
                )

    def _next_page(self, file: Iterator[Row], number: int) -> FilePage | None:
        rows: list[Document] = []
        lines: list[int] = []
        size = 0
        while len(rows) < PAGE_ROWS and size < PAGE_BYTES:
            found, made = self._part(file)
            if not found:
                break
            size += self._sized(found, made)
            lines += found
            rows += made
        digest = Digest(len(rows))
        return FilePage(rows, (), digest, size, size, lines, number) if rows else None

    def _part(self, file: Iterator[Row]) -> tuple[list[int], Sequence[Document]]:
        """Return the documents of the next rows, and their lines: few, or those that are long."""
        lines: list[int] = []
        made: list[Any] = []
        size = 0
        try:
            for each in file:
                made.append(self._converted(each))
                lines.append(each.line)
                size += each.size
                if len(made) == _TOGETHER or size >= PAGE_BYTES:
                    break
        except HealthstoreError:
            self._made(lines, made)  # a row before it may be refused: the first one counts
            raise
        return lines, self._made(lines, made)

    def _converted(self, row: Row) -> object:
        try:
            return self._convert(row.values)
        except HealthstoreError as error:
            raise self._refused(row.line, error) from None
        except _UNCONVERTED as error:
            # Not its text: that of pydantic, and of most others, quotes the value.
            problem = f"cannot be converted ({type(error).__name__})"
            raise bad_row(row.line, problem, self.collection) from None

    def _made(self, lines: Sequence[int], made: Sequence[object]) -> Sequence[Document]:
        """Return the documents of rows that were converted."""
        try:
            documents = self._documents(made)
        except HealthstoreError as error:
            raise self._refused(lines[error.index or 0], error) from None
        if self.collection.checks:
            for line, each in zip(lines, documents, strict=True):
                self._check(line, each)
        return documents

    def _check(self, line: int, document: Document) -> None:
        try:
            check_document(self.collection, document)
        except HealthstoreError as error:
            raise self._refused(line, error) from None

    def _sized(self, lines: Sequence[int], documents: Sequence[Document]) -> int:
        """Return about how many bytes the long values of documents take; refuse one too large."""
        names = self.collection.sized
        size = len(msgspec.msgpack.encode([[each[name] for name in names] for each in documents]))
        if not surely_small(size, self._most):
            try:
                require_small(self.collection, documents, self._most)
            except HealthstoreError as error:
                raise self._refused(lines[error.index or 0], error) from None
        return size

    def _refused(self, line: int, error: HealthstoreError) -> RefusedValueError:
        return bad_row(line, error.message, self.collection, field=error.field, hint=error.hint)


async def _in_one_unit(source: _Source, target: Backend, report: Reporter) -> Digest:
    """Add every page as it is read, and commit."""
    page: FilePage | None = None
    await _check(source, report, pages=1)  # a wrong file, or entity, makes no collection
    await require_whole(target)
    await target.execute(Ensure((source.collection,)))
    unit = await target.begin(UnitOptions(deadline=_UNIT_SECONDS))
    try:

        async def add(each: FilePage) -> None:
            nonlocal page
            page = each
            await unit.execute(Insert(source.collection, tuple(each.rows), canonical=True))

        digest = await _add_all(source, add, report)
        await unit.commit()
    except IntegrityError as error:
        await unit.rollback()
        await _check(source, report)  # what is wrong in the file itself is told first, as elsewhere
        raise await _blamed(error, page, source, target) from None
    finally:
        await unit.rollback()
    return digest


async def _undoable(source: _Source, target: Backend, report: Reporter) -> Digest:
    """Check every row, then add every page; after a failure remove what was added.

    The store is marked meanwhile: a process that is killed removes nothing.
    """
    page: FilePage | None = None
    checked = await _check(source, report)
    report(Planned({source.collection.name: checked.count}))
    await require_whole(target)
    mark = Filling.begun("load", source.file.name, (source.collection.name,))
    async with filling(target, mark) as under_way:
        await target.execute(Ensure((source.collection,)))
        with Undo(source.collection, target) as undo:

            async def add(each: FilePage) -> None:
                nonlocal page
                page, under_way.begun = each, True
                await undo.add(each)

            try:
                return await _add_all(source, add, report, checked.count)
            except BaseException as error:
                text = await _removed(undo)
                under_way.begun = undo.left > 0
                if not isinstance(error, HealthstoreError):
                    error.add_note(text)
                    raise
                error.hint = "; ".join(filter(None, (error.hint, text)))
                error.outcome = Outcome.UNKNOWN if undo.left else Outcome.NOT_APPLIED
                if isinstance(error, IntegrityError) and not undo.left:
                    raise await _blamed(error, page, source, target) from None
                raise


async def _removed(undo: Undo) -> str:
    """Remove what was added, and say how that went."""
    try:
        await to_the_end(undo.remove())
    except HealthstoreError as error:
        return (
            f"{undo.left} documents of the file could not be removed again ({error.code}): "
            "remove them, or load into an empty database"
        )
    return "what had been added was removed again"


async def _check(source: _Source, report: Reporter, pages: int | None = None) -> Digest:
    """Raise RefusedValueError for a bad row of the file, or of its first pages; write nothing."""
    found = drawn(source.checked(pages))
    digest, _ = await walk(
        Stage.CHECK, source.collection, found, report, share=lambda: source.file.share
    )
    return digest


async def _add_all(
    source: _Source,
    add: Callable[[FilePage], Awaitable[None]],
    report: Reporter,
    total: int | None = None,
) -> Digest:
    digest, _ = await walk(
        *(Stage.COPY, source.collection, drawn(source.pages()), report),
        total=total,
        handle=add,
        share=lambda: source.file.share,
    )
    return digest


async def _blamed(
    error: IntegrityError, page: FilePage | None, source: _Source, target: Backend
) -> HealthstoreError:
    """Return the error with the line of the row that the store refused."""
    if page is None:
        return error
    with closing(source.checked()) as pages:
        before = takewhile(lambda each: each.number < page.number, pages)
        return await blamed(error, page, before, source.collection, target)


def _completed(collection: Collection, convert: Convert) -> Convert:
    """Return what makes all values of a document: those that are missing are None."""
    missing = dict.fromkeys(collection.names)
    return lambda row: {**missing, **convert(row)}
