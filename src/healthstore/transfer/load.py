"""From a file of rows into one collection: every row or none."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from healthstore.abc.backend import Backend, UnitOptions
from healthstore.errors import CapabilityError, HealthstoreError, IntegrityError
from healthstore.model.evaluate import check_document
from healthstore.model.ops import Ensure, Insert
from healthstore.model.schema import Collection
from healthstore.model.values import Document
from healthstore.transfer._offload import offload
from healthstore.transfer.blame import Numbered, blamed
from healthstore.transfer.digest import Digester, Page
from healthstore.transfer.pages import PAGE_BYTES, PAGE_ROWS, drawn
from healthstore.transfer.progress import Finished, Planned, Progress, Reporter, Stage
from healthstore.transfer.rows import RowFile, bad_row
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


async def load(
    path: str | os.PathLike[str],
    collection: Collection,
    target: Backend,
    convert: Convert,
    *,
    on_event: Progress | None = None,
) -> LoadReport:
    """Add every row of a JSON Lines or CSV file, plain or gzip, to a collection.

    ``convert`` makes a document of the values of a row and may raise HealthstoreError or
    ValueError to refuse it; it is called twice for each row, in threads. First every row is
    checked and nothing is written; then all are added in one unit. Where the target has no
    transactions, what was added is removed again after a failure, and the error says so.
    The collection is created if it is missing, and may hold other documents.

    Raises RefusedValueError for a row that is malformed or refused, and an IntegrityError for
    one that the store refuses, each with the number of its line; InvalidRequestError for a
    file that cannot be read.
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
    source = _Source(RowFile(Path(path), collection), collection, convert)
    checked, _ = await walk(Stage.CHECK, collection, drawn(source.pages()), report)
    report(Planned({collection.name: checked.count}))
    await target.execute(Ensure((collection,)))
    try:
        if target.capabilities.transactions:
            digest = await _in_one_unit(source, target, report, checked.count)
        else:
            digest = await _undoable(source, target, report, checked.count)
    except IntegrityError as error:
        refused = source.current
        if refused is None:
            raise
        before = islice(source.numbered(), source.number)
        raise await _find(error, refused, before, collection, target) from None
    seconds = time.perf_counter() - started
    report(Finished(digest.count, seconds))
    return LoadReport(
        Path(path), target.name, collection.name, digest.count, str(digest), seconds
    )
