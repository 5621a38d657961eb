r"""The layout of ``backup.json``: valid JSON, one document on each line.

::

    {"format":"healthstore.backup","version":1,"header":{…},
    "schema":{"users":{…},…},
    "entities":{
    "users":[
    {"id":{"$uuid":"…"},"version":1,…},
    {…}
    ],
    "health_records":[
    ]
    },
    "footer":{"counts":{…},"digests":{…},"sha256":"… of every byte before this line"}}

Collections stand in order of reference, parents first; documents in order of ``id``. Values are
hs-ejson/1 (:mod:`healthstore.model.wire`), definitions those of
:mod:`healthstore.model.catalog`. Every line ends with ``\n``, the last one too. Counts and
digests come last, so that one pass writes the file; a file without its last line is truncated.
The header of a whole store that has a ledger says in ``migrations`` which ones were applied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import msgspec

from healthstore._version import __version__
from healthstore.errors import BackupCorruptError, BackupError, ConfigurationError
from healthstore.model.catalog import definition, from_definition
from healthstore.model.description import fingerprint
from healthstore.model.ledger import Applied
from healthstore.model.schema import Collection, parents_first
from healthstore.model.values import Json
from healthstore.model.wire import FORMAT
from healthstore.transfer.digest import Digest
from healthstore.transfer.snapshot import Consistency

__all__ = (
    "ENTITIES",
    "FIRST",
    "FOOTER",
    "Header",
    "closing",
    "footer_line",
    "header_line",
    "new_header",
    "opening",
    "read_header",
    "read_schema",
    "schema_line",
)

_NAME = "healthstore.backup"
_VERSION = 1
FIRST = f'{{"format":"{_NAME}",'.encode()
ENTITIES = b'"entities":{'
_SCHEMA = b'"schema":'
FOOTER = b'"footer":'

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Header:
    """What a backup says about itself.

    ``migrations`` are those of the store, if all of it is in the backup.
    """

    backup_id: UUID
    created_at: datetime
    tool_version: str
    source: str
    consistency: Consistency
    schema_fingerprint: str
    migrations: tuple[Applied, ...] = ()


def new_header(
    source: str,
    consistency: Consistency,
    collections: Sequence[Collection],
    migrations: Sequence[Applied] = (),
) -> Header:
    """Return the header of a backup that begins now."""
    return Header(
        uuid4(),
        datetime.now(UTC),
        __version__,
        source,
        consistency,
        _fingerprint(_described(collections)),
        tuple(migrations),
    )


def _described(collections: Sequence[Collection]) -> dict[str, Json]:
    return {each.name: definition(each) for each in collections}


def _fingerprint(described: Mapping[str, Json]) -> str:
    """Return the SHA-256, in hex, of all the definitions, as they are written."""
    text = "\n".join(f"{name} {fingerprint(each)}" for name, each in described.items())
    return hashlib.sha256(text.encode()).hexdigest()


def header_line(header: Header) -> bytes:
    """Return the first line."""
    snapshot = {
        "kind": "unit" if header.consistency is Consistency.SNAPSHOT else "none",
        "token": None,
        "consistency": header.consistency,
    }
    described: dict[str, object] = {
        "backup_id": header.backup_id,
        "created_at": header.created_at.isoformat(timespec="microseconds")[:26] + "Z",
        "tool_version": header.tool_version,
        "source": {"backend": header.source, "server": None},
        "snapshot": snapshot,
        "schema_fingerprint": header.schema_fingerprint,
        "encoding": FORMAT,
        "filters": None,
    }
    if header.migrations:
        described["migrations"] = [asdict(each) for each in header.migrations]
    line = _encode({"format": _NAME, "version": _VERSION, "header": described})
    return line[:-1] + b",\n"


def read_header(line: bytes) -> Header:
    """Return the header from the first line of an undamaged file.

    Raises BackupError for another version of the format, BackupCorruptError otherwise.
    """
    try:
        first = cast(dict[str, Any], _decode(line.removesuffix(b",\n") + b"}"))
        version, described = first["version"], first["header"]
    except (KeyError, TypeError, ValueError):
        raise _malformed(1, "the header") from None
    if version != _VERSION:
        raise BackupError(
            "the backup is of another version of the format",
            hint=f"this release reads version {_VERSION}; use the release that wrote the backup",
        )
    try:
        if described["encoding"] != FORMAT:
            raise BackupError(
                "the documents of the backup are in another encoding",
                hint=f"this release reads {FORMAT}; use the release that wrote the backup",
            )
        return Header(
            UUID(described["backup_id"]),
            datetime.fromisoformat(described["created_at"]),
            str(described["tool_version"]),
            str(described["source"]["backend"]),
            Consistency(described["snapshot"]["consistency"]),
            str(described["schema_fingerprint"]),
            tuple(_read_applied(each) for each in described.get("migrations", ())),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _malformed(1, "the header") from None


def _read_applied(described: Mapping[str, Json]) -> Applied:
    at = str(described["at"])
    datetime.fromisoformat(at)
    return Applied(str(described["id"]), str(described["checksum"]), at)


def schema_line(collections: Sequence[Collection]) -> bytes:
    """Return the second line."""
    return _SCHEMA + _encode(_described(collections)) + b",\n"


def read_schema(line: bytes, header: Header) -> tuple[Collection, ...]:
    """Return the collections from the second line, in order."""
    try:
        found = cast(dict[str, Any], _decode(b"{" + line.removesuffix(b",\n") + b"}"))
        described = cast(dict[str, Json], found["schema"])
        collections = tuple(from_definition(each) for each in described.values())
        ordered = parents_first(collections)
    except ConfigurationError as error:
        if error.entity is None:
            raise _malformed(2, "the schema") from None
        raise BackupError(
            f"line 2: this release refuses a definition: {error.message}",
            hint="nothing was restored; restore with the release that wrote the backup, "
            "and move the data into an entity with another definition",
            entity=error.entity,
            field=error.field,
        ) from None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _malformed(2, "the schema") from None
    if [each.name for each in collections] != list(described) or ordered != collections:
        raise _malformed(2, "the schema")
    if _fingerprint(described) != header.schema_fingerprint:
        raise BackupCorruptError(
            "line 2: the schema is not the one that the header states",
            hint="nothing was restored; use another backup, or the file as it was written",
        )
    return collections


def opening(collection: Collection) -> bytes:
    """Return the line that begins a collection."""
    return f'"{collection.name}":[\n'.encode()


def closing(*, last: bool) -> bytes:
    """Return the line that ends a collection."""
    return b"]\n" if last else b"],\n"


def footer_line(digests: Mapping[str, Digest], sha256: str) -> bytes:
    """Return the last line."""
    footer = {
        "counts": {name: digest.count for name, digest in digests.items()},
        "digests": {name: str(digest) for name, digest in digests.items()},
        "sha256": sha256,
    }
    return FOOTER + _encode(footer) + b"}\n"


def _malformed(line: int, what: str) -> BackupCorruptError:
    return BackupCorruptError(
        f"line {line}: {what} is malformed",
        hint="nothing was restored; use another backup, or the file as it was written",
    )
