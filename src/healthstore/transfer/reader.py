"""Reading a backup: its bytes are checked first, then its lines, then its documents."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast
from uuid import UUID

import msgspec

from healthstore.errors import BackupCorruptError, BackupError, RefusedValueError
from healthstore.model.collector import collector_paused
from healthstore.model.schema import Collection
from healthstore.model.size import require_small, surely_small
from healthstore.model.values import Document
from healthstore.transfer.codec import MALFORMED, LineDecoder
from healthstore.transfer.digest import NOTHING, Digest, Digester, Page
from healthstore.transfer.format import (
    ENTITIES,
    FIRST,
    FOOTER,
    Header,
    closing,
    footer_line,
    opening,
    read_header,
    read_schema,
)
from healthstore.transfer.pages import PAGE_BYTES, PAGE_ROWS
from healthstore.transfer.place import require_file
from healthstore.transfer.references import References
from healthstore.transfer.snapshot import Consistency

__all__ = ("BackupReader",)

_CHUNK = 1024 * 1024
_GZIP = b"\x1f\x8b"
# A document has at most 8 MiB by default; as JSON each of its bytes may take six.
_LONGEST_LINE = 64 * 1024 * 1024
# A footer takes about 150 bytes for each collection.
_LONGEST_FOOTER = 4 * 1024 * 1024


class BackupReader:
    """Reads one backup; its methods block. Use it with ``with``.

    :meth:`check` comes first and reads the file twice: every byte against the SHA-256, then
    every document. Then ``header``, ``collections`` and ``digests`` are known, and
    :meth:`pages` reads the documents of a collection again. No document may take more than
    ``most`` bytes.
    """

    header: Header
    collections: tuple[Collection, ...]
    digests: dict[str, Digest]

    def __init__(self, path: Path, most: int) -> None:
        self._path = path
        self._most = most
        self._file: IO[bytes]
        self._line = 0
        self._footer_at = 0
        self._footer: dict[str, Any]
        self._sections: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        try:
            require_file(self._path)
            self._file = self._path.open("rb", buffering=_CHUNK)
        except OSError as error:
            raise BackupError(
                f"the backup cannot be read: {os.strerror(error.errno or 0)}",
                hint=f"check the path {self._path}",
            ) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def check(self) -> Iterator[tuple[Collection, Page] | None]:
        """Read the whole file; yield each page with its collection, and None in between.

        Raises BackupCorruptError, with the line where it can be told, for a file that is not as
        it was written, and BackupError for one that another release wrote.
        """
        intact = yield from self._check_bytes()
        if intact:
            yield from self._check_lines()
            return
        try:
            for _ in self._check_lines():
                yield None
        except BackupError as error:
            # Only damage is named: in a damaged file any other complaint misleads.
            if isinstance(error, BackupCorruptError):
                raise
        raise _corrupt("its SHA-256 is not the one that its last line states")

    def pages(self, collection: Collection) -> Generator[Page, None, None]:
        """Yield the documents of a collection once more; the file was checked before.

        Whether it has changed since, their digest tells.
        """
        offset, self._line = self._sections[collection.name]
        self._file.seek(offset)
        yield from self._section(collection, again=True)

    # --- bytes -----------------------------------------------------------------------------

    def _check_bytes(self) -> Generator[None, None, bool]:
        """Read the footer; return whether the SHA-256 in it is that of all before it."""
        self._file.seek(0)
        first = self._file.read(len(FIRST))
        if first.startswith(_GZIP):
            raise BackupError(
                "the backup is packed", hint="unpack it first, for example with gunzip"
            )
        if first != FIRST:
            raise BackupCorruptError(
                "line 1: this is no backup of healthstore, or its beginning is damaged",
                hint="name a file that `backup` wrote, as it was written",
            )
        self._read_footer()
        sha256 = hashlib.sha256()
        self._file.seek(0)
        rest = self._footer_at
        while rest > 0:
            chunk = self._file.read(min(rest, _CHUNK))
            if not chunk:
                raise _corrupt("it became shorter while it was read")
            sha256.update(chunk)
            rest -= len(chunk)
            yield
        return sha256.hexdigest() == str(self._footer["sha256"])

    def _read_footer(self) -> None:
        size = self._file.seek(0, os.SEEK_END)
        length = min(size, _LONGEST_FOOTER)
        self._file.seek(size - length)
        tail = self._file.read(length)
        if b"\r\n" in tail:
            raise _corrupt("its lines end in CR LF: something took it for a text and changed it")
        start = tail.rfind(b"\n" + FOOTER) + 1
        end = tail.find(b"\n", start) + 1
        if 0 < end < len(tail) if start else self._has_footer():
            raise _corrupt("something was appended after its last line")
        if start == 0 or not tail.endswith(b"}\n"):
            raise _corrupt("its last line is missing: it was cut off")
        self._footer_at = size - length + start
        try:
            self._footer = msgspec.json.decode(b"{" + tail[start:])["footer"]
            self.digests = {
                name: Digest(count, int(self._footer["digests"][name], 16))
                for name, count in self._footer["counts"].items()
            }
            written = footer_line(self.digests, self._footer["sha256"])
        except (AttributeError, KeyError, TypeError, ValueError):
            written = b""
        if written != tail[start:]:
            raise _corrupt("its last line is damaged")

    def _has_footer(self) -> bool:
        """Tell whether a line anywhere begins as the last one does."""
        self._file.seek(0)
        before = b""
        while chunk := self._file.read(_CHUNK):
            if b"\n" + FOOTER in before + chunk:
                return True
            before = chunk[-len(FOOTER) :]
        return False

    # --- lines -----------------------------------------------------------------------------

    def _check_lines(self) -> Iterator[tuple[Collection, Page]]:
        """Read header, schema and documents; compare counts and digests with the footer."""
        self._file.seek(0)
        self._line = 0
        self.header = read_header(self._read(end=b",\n"))
        self.collections = read_schema(self._read(end=b",\n"), self.header)
        self._expect(ENTITIES + b"\n")
        with References(self.collections) as references:
            for collection in self.collections:
                self._expect(opening(collection))
                self._sections[collection.name] = (self._file.tell(), self._line)
                digest = NOTHING
                for page in self._section(collection):
                    digest += page.digest
                    references.add(collection, page)
                    yield collection, page
                self._compare(collection, digest)
            self._expect(b"},\n")
            if self._file.tell() != self._footer_at or len(self.digests) != len(self.collections):
                raise self._malformed()
            self._require_complete(references)

    def _require_complete(self, references: References) -> None:
        """Raise an error for a reference to a document that is not in the backup."""
        missing = references.missing()
        if missing is None:
            return
        collection, field, target = missing
        what = (
            f"documents of {collection.name} refer to documents of {target} that it does not hold"
        )
        if self.header.consistency is Consistency.SNAPSHOT:
            raise _corrupt(what, entity=collection.entity, field=field)
        raise BackupError(
            f"the backup was read while others wrote: {what}",
            hint="nothing was restored; make another one with a snapshot, or while nobody writes",
            entity=collection.entity,
            field=field,
        )

    def _compare(self, collection: Collection, found: Digest) -> None:
        stated = self.digests.get(collection.name)
        if found == stated:
            return
        what = (
            "is not in its last line"
            if stated is None
            else f"has {found.count} documents, {stated.count} were written"
            if found.count != stated.count
            else "has other documents than were written: the digest differs"
        )
        raise _corrupt(f"{collection.name} {what}", entity=collection.entity)

    def _section(self, collection: Collection, *, again: bool = False) -> Iterator[Page]:
        """Read the documents of a collection, and the line that ends it."""
        decoder, digester = LineDecoder(collection, spelled=not again), Digester(collection)
        last_id = -1
        more = None  # whether a comma announced another document; None: there was none yet
        lines: list[bytes] = []
        size = 0
        while True:
            line = self._read()
            if not line.startswith(b"{"):
                break
            if more is False:
                raise self._malformed()
            more = line.endswith(b",\n")
            lines.append(line[:-2] if more else line[:-1])
            size += len(line)
            if len(lines) == PAGE_ROWS or size >= PAGE_BYTES:
                last_id, page = self._page(decoder, digester, lines, last_id)
                yield page
                lines, size = [], 0
        if more or line != closing(last=collection is self.collections[-1]):
            raise self._malformed()
        if lines:
            self._line -= 1  # the line that ends the collection is no document
            _, page = self._page(decoder, digester, lines, last_id)
            self._line += 1
            yield page

    def _page(
        self, decoder: LineDecoder, digester: Digester, lines: Sequence[bytes], last_id: int
    ) -> tuple[int, Page]:
        try:
            with collector_paused():
                rows = decoder.rows(lines)
        except MALFORMED:
            raise self._explained(decoder, lines) from None
        first = self._line - len(lines) + 1
        for number, row in enumerate(rows, first):
            identity = cast(UUID, row["id"]).int
            if identity <= last_id:
                raise _corrupt(f"line {number}: its id is that of a line before, or out of order")
            last_id = identity
            if not surely_small(len(lines[number - first]), self._most):
                self._require_small(decoder.collection, row, number)
        return last_id, digester.page(rows)

    def _require_small(self, collection: Collection, row: Document, line: int) -> None:
        """Refuse what the target does not keep; an error of a whole file names the line."""
        try:
            require_small(collection, (row,), self._most)
        except RefusedValueError as error:
            raise BackupError(
                f"line {line}: {error.message}, and the target keeps none",
                hint="nothing was restored; restore it where larger documents are kept",
                entity=collection.entity,
            ) from None

    def _explained(self, decoder: LineDecoder, lines: Sequence[bytes]) -> BackupCorruptError:
        """Return the error for the first of these lines that holds no document."""
        for number, line in enumerate(lines, self._line - len(lines) + 1):
            try:
                decoder.rows([line])
            except MALFORMED:
                problem = decoder.explain(line)
                return _corrupt(
                    f"line {number}: {problem.message}", entity=problem.entity, field=problem.field
                )
        raise AssertionError("each line is good, all together are not")

    def _read(self, *, end: bytes = b"\n") -> bytes:
        """Return the next line; with ``end``, only if it ends so."""
        line = self._file.readline(_LONGEST_LINE)
        self._line += 1
        if not line.endswith(end):
            raise self._malformed()
        return line

    def _expect(self, line: bytes) -> None:
        if self._read() != line:
            raise self._malformed()

    def _malformed(self) -> BackupCorruptError:
        return _corrupt(f"line {self._line}: is not what belongs there")


def _corrupt(
    what: str, *, entity: str | None = None, field: str | None = None
) -> BackupCorruptError:
    return BackupCorruptError(
        f"the backup is damaged: {what}",
        hint="nothing was restored; use another backup, or the file as it was written",
        entity=entity,
        field=field,
    )
