"""Writing a backup: a temporary file beside it, which takes its name when it is complete."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from healthstore.errors import BackupError
from healthstore.model.schema import Collection
from healthstore.model.values import Document
from healthstore.transfer._temporary import make, remove_abandoned
from healthstore.transfer.codec import LineEncoder
from healthstore.transfer.digest import Digest
from healthstore.transfer.format import (
    ENTITIES,
    FIRST,
    Header,
    closing,
    footer_line,
    header_line,
    opening,
    schema_line,
)

__all__ = ("BackupWriter",)

_OF_DATABASES = ("-journal", "-shm", "-wal")  # what SQLite lays beside a file in use
_PACKED = frozenset({".7z", ".bz2", ".gz", ".lz4", ".xz", ".zip", ".zst"})


class BackupWriter:
    """Writes one backup; its methods block, and raise BackupError if the disk fails.

    Call :meth:`discard` in the end, whatever happened: until :meth:`finish` has returned it
    removes what was written, afterwards it does nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary: Path | None = None
        self._descriptor: int | None = None
        self._sha256 = hashlib.sha256()
        self._encoder: LineEncoder
        self._first = True
        self.size = 0
        """Bytes written so far."""

    def start(self, header: Header, collections: Sequence[Collection]) -> None:
        """Create the file, readable by its owner only, and write what precedes the documents."""
        with self._reported():
            self._path = _file(self._path)
            remove_abandoned(self._path.parent)
            self._temporary = self._path.with_name(f".{self._path.name}.{token_hex(8)}.tmp")
            self._descriptor = make(self._temporary)
        self._write(header_line(header) + schema_line(collections) + ENTITIES + b"\n")

    def begin(self, collection: Collection) -> None:
        """Begin a collection."""
        self._encoder = LineEncoder(collection)
        self._first = True
        self._write(opening(collection))

    def add(self, rows: Sequence[Document]) -> None:
        """Write documents of the collection that was begun."""
        lines = b",\n".join(self._encoder.lines(rows))
        self._write(lines if self._first else b",\n" + lines)
        self._first = False

    def end(self, *, last: bool) -> None:
        """End the collection."""
        self._write((b"" if self._first else b"\n") + closing(last=last))

    def finish(self, digests: Mapping[str, Digest]) -> str:
        """Complete the file, make it durable and give it its name; return its SHA-256.

        The SHA-256 is the one that the footer states: of everything before the last line.
        """
        self._write(b"},\n")
        sha256 = self._sha256.hexdigest()
        self._write(footer_line(digests, sha256))
        with self._reported():
            descriptor, self._descriptor = self._descriptor, None
            temporary = self._temporary
            assert descriptor is not None
            assert temporary is not None
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            _require_replaceable(self._path)  # somebody may have made a file there meanwhile
            temporary.replace(self._path)
            _sync_directory(self._path.parent)
        return sha256

    def discard(self) -> None:
        """Close and remove the temporary file, if it is there."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self._temporary is not None:
            with suppress(FileNotFoundError):
                self._temporary.unlink()

    def _write(self, data: bytes) -> None:
        assert self._descriptor is not None
        self._sha256.update(data)
        self.size += len(data)
        rest = memoryview(data)
        with self._reported():
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    @contextmanager
    def _reported(self) -> Generator[None, None, None]:
        """Turn a failure of the file system into an error of ours."""
        try:
            yield
        except OSError as error:
            raise BackupError(
                f"the backup cannot be written: {os.strerror(error.errno or 0)}",
                hint=f"check the directory {self._path.parent} and the space on its disk; "
                "a backup that was there before is unchanged",
            ) from None


def _file(path: Path) -> Path:
    """Return where the file is to be, behind links; raise BackupError for what is no file.

    A name that promises a packed file is refused: the format is JSON. So is a file that is
    there and no backup.
    """
    place = Path(os.path.realpath(path))
    packed = {each.suffix.lower() for each in (path, place)} & _PACKED
    if packed:
        raise BackupError(
            f"a backup is plain JSON, which {packed.pop()} does not say",
            hint="name it .json, and pack it afterwards; unpack it before it is restored",
        )
    if place.is_dir():
        raise BackupError("the path of the backup is a directory", hint="name a file in it")
    if place.exists() and not place.is_file():
        raise BackupError(
            "the path of the backup is that of a device or a pipe, which it would replace",
            hint="name a file",
        )
    _require_replaceable(place)
    return place


def _require_replaceable(path: Path) -> None:
    """Raise BackupError for a file that is there and is neither empty nor a backup."""
    if path.exists() and not _is_replaceable(path):
        raise BackupError(
            f"{path.name!r} is there and is no backup, so that it is not replaced",
            hint="nothing was written; name another path: only an older backup is replaced",
        )


def _is_replaceable(path: Path) -> bool:
    # A database in use is told by its neighbours, and not opened: the system would take the locks
    # of this process from it when the file is closed again.
    if path.name.endswith(_OF_DATABASES):
        return False
    if any(path.with_name(path.name + each).exists() for each in _OF_DATABASES):
        return False
    with path.open("rb") as file:
        return file.read(len(FIRST)) in {b"", FIRST}


def _sync_directory(directory: Path) -> None:
    """Make a rename durable, where a directory can be opened (not on Windows)."""
    flags = getattr(os, "O_DIRECTORY", None)
    if flags is None:
        return
    descriptor = os.open(directory, os.O_RDONLY | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
