"""From a file of rows into one collection: every row or none."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import TypeAlias, cast

import msgspec

from healthstore.abc.backend import Backend, UnitOptions
from healthstore.errors import (
    CapabilityError,
    HealthstoreError,
    IntegrityError,
    NotNullError,
    Outcome,
    RefusedValueError,
)
from healthstore.model.collector import collector_paused
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

__all__ = ("Convert", "LoadReport", "load")

# From the values of a row, by name, to a document; what a caller's model makes of them.
Convert: TypeAlias = Callable[[Mapping[str, object]], Mapping[str, object]]

# The unit must outlive the largest file; each write in it has a deadline of its own.
_UNIT_SECONDS = 24 * 3600.0


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
    canonical: bool = False,
    on_event: Progress | None = None,
) -> LoadReport:
    """Add every row of a JSON Lines or CSV file, plain or gzip, to a collection.

    ``convert`` makes a document of the values of a row and may raise HealthstoreError or
    ValueError to refuse it; it is called twice for each row, in threads. With ``canonical`` what
    it makes is canonical, as what ``to_document`` makes is, and its values are taken as they are.
    First every row is checked and nothing is written; then all are added in one unit. Where the target has no
    transactions, what was added is removed again after a failure, and the error says so; there
    the store is marked meanwhile and does not serve, so that a load that is killed is told.
    The collection is created if it is missing, and may hold other documents.

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
    make = convert if canonical else _canonical(collection, convert)
    source = _Source(place.name, file, collection, make, target.capabilities.max_document_bytes)
    checked, _ = await walk(
        Stage.CHECK, collection, drawn(source.pages()), report, share=lambda: file.share
    )
    report(Planned({collection.name: checked.count}))
    await require_whole(target)
    fill = _in_one_unit if target.capabilities.transactions else _undoable
    digest = await fill(source, target, report, checked.count)
    seconds = time.perf_counter() - started
    report(Finished(digest.count, seconds))
    return LoadReport(place, target.name, collection.name, digest.count, str(digest), seconds)


class _Source:
    """A file's rows as documents: complete, canonical, as declared, and of ``most`` bytes."""

    def __init__(
        self, name: str, file: RowFile, collection: Collection, convert: Convert, most: int
    ) -> None:
        self.name = name
        self._most = most
        self.collection = collection
        self._file = file
        self._convert = convert
        self._digester = Digester(collection)

    def pages(self) -> Generator[FilePage, None, None]:
        """Yield pages; raise RefusedValueError, with its line, for a bad row. Blocks.

        Close the generator: it has the file open.
        """
        with closing(iter(self._file)) as file:
            for number in count():
                with collector_paused():
                    page = self._next_page(file, number)
                if page is None:
                    return
                yield page

    def _next_page(self, file: Iterator[Row], number: int) -> FilePage | None:
        rows: list[Document] = []
        lines: list[int] = []
        size = 0
        for line, values in file:
            row = self._document(line, values)
            rows.append(row)
            lines.append(line)
            size += _size(self.collection, row)
            if len(rows) == PAGE_ROWS or size >= PAGE_BYTES:
                break
        return self._page(rows, lines, number) if rows else None

    def _page(self, rows: list[Document], lines: list[int], number: int) -> FilePage:
        page = self._digester.page(rows)
        if not surely_small(page.largest, self._most):
            for line, row in zip(lines, rows, strict=True):
                self._require_small(line, row)
        return FilePage(
            page.rows, page.digests, page.digest, page.size, page.largest, lines, number
        )

    def _document(self, line: int, values: Mapping[str, object]) -> Document:
        try:
            document = cast(Document, self._convert(values))
            if self.collection.checks:
                check_document(self.collection, document)
        except HealthstoreError as error:
            raise self._refused(line, error) from None
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # Not its text: that of pydantic, and of most others, quotes the value.
            problem = f"cannot be converted ({type(error).__name__})"
            raise bad_row(line, problem, self.collection) from None
        return document

    def _require_small(self, line: int, document: Document) -> None:
        try:
            require_small(self.collection, (document,), self._most)
        except HealthstoreError as error:
            raise self._refused(line, error) from None

    def _refused(self, line: int, error: HealthstoreError) -> RefusedValueError:
        return bad_row(line, error.message, self.collection, field=error.field, hint=error.hint)


async def _in_one_unit(source: _Source, target: Backend, report: Reporter, total: int) -> Digest:
    """Add every page and commit."""
    page: FilePage | None = None
    await target.execute(Ensure((source.collection,)))
    unit = await target.begin(UnitOptions(deadline=_UNIT_SECONDS))
    try:

        async def add(each: FilePage) -> None:
            nonlocal page
            page = each
            await unit.execute(Insert(source.collection, tuple(each.rows), canonical=True))

        digest = await _add_all(source, add, report, total)
        await unit.commit()
    except IntegrityError as error:
        await unit.rollback()
        raise await _blamed(error, page, source, target) from None
    finally:
        await unit.rollback()
    return digest


async def _undoable(source: _Source, target: Backend, report: Reporter, total: int) -> Digest:
    """Add every page; after a failure remove what was added.

    The store is marked meanwhile: a process that is killed removes nothing.
    """
    page: FilePage | None = None
    mark = Filling.begun("load", source.name, (source.collection.name,))
    async with filling(target, mark) as under_way:
        await target.execute(Ensure((source.collection,)))
        with Undo(source.collection, target) as undo:

            async def add(each: FilePage) -> None:
                nonlocal page
                page, under_way.begun = each, True
                await undo.add(each)

            try:
                return await _add_all(source, add, report, total)
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


async def _add_all(
    source: _Source,
    add: Callable[[FilePage], Awaitable[None]],
    report: Reporter,
    total: int,
) -> Digest:
    pages = drawn(source.pages())
    digest, _ = await walk(Stage.COPY, source.collection, pages, report, total=total, handle=add)
    return digest


async def _blamed(
    error: IntegrityError, page: FilePage | None, source: _Source, target: Backend
) -> HealthstoreError:
    """Return the error with the line of the row that the store refused."""
    if page is None:
        return error
    with closing(source.pages()) as pages:
        before = takewhile(lambda each: each.number < page.number, pages)
        return await blamed(error, page, before, source.collection, target)


def _canonical(collection: Collection, convert: Convert) -> Convert:
    """Return what makes documents of canonical values: every field, and no other."""
    known = collection.by_name.keys()

    def make(row: Mapping[str, object]) -> Document:
        values = convert(row)
        document: Document = {}
        for name, canonical, nullable, _ in collection.columns:
            value = values.get(name)
            if value is None:
                if not nullable:
                    raise NotNullError("must have a value", entity=collection.entity, field=name)
                document[name] = None
                continue
            try:
                document[name] = canonical(value)
            except (TypeError, ValueError) as error:
                raise RefusedValueError(str(error), entity=collection.entity, field=name) from None
        if not values.keys() <= known:
            for name in values:
                collection.field(name)  # raises for the one that is not known
        return document

    return make


def _size(collection: Collection, row: Document) -> int:
    """Return about how many bytes a document's long values take."""
    size = 0
    for name in collection.sized:
        value = row[name]
        if isinstance(value, str | bytes):
            size += len(value)
        elif value is not None:
            size += len(msgspec.msgpack.encode(value))
    return size
