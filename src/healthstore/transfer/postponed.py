"""Documents that wait for the one that they must refer to: kept in a file, parents first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from typing import IO, cast
from uuid import UUID

from healthstore.model.schema import Collection
from healthstore.model.values import Document
from healthstore.transfer.codec import LineDecoder, LineEncoder

__all__ = ("Postponed",)

_TOGETHER = 200


class Postponed:
    """Documents in a file, and in memory for each its id, its place and whom it waits for."""

    def __init__(self, collection: Collection, file: IO[bytes]) -> None:
        self._encode = LineEncoder(collection).lines
        self._decode = LineDecoder(collection).rows
        self._file = file
        self._places: dict[UUID, tuple[int, int]] = {}
        self._awaited: dict[UUID, set[UUID]] = {}

    def __contains__(self, identity: object) -> bool:
        """Tell whether a document with this id waits here."""
        return identity in self._places

    def add(self, row: Document, awaited: Iterable[UUID]) -> None:
        """Keep a document that waits for others."""
        identity = cast(UUID, row["id"])
        (line,) = self._encode((row,))
        self._places[identity] = (self._file.tell(), len(line))
        self._awaited[identity] = set(awaited)
        self._file.write(line)

    def groups(self) -> Iterator[list[Document]]:
        """Yield the documents, some at a time, each after those it waits for.

        Of a circle of them one comes before the one it waits for.
        """
        ordered = iter(self._ordered())
        while several := list(islice(ordered, _TOGETHER)):
            yield self._decode([self._line(each) for each in several])

    def _ordered(self) -> list[UUID]:
        graph = {each: awaited & self._places.keys() for each, awaited in self._awaited.items()}
        while True:
            try:
                return list(TopologicalSorter(graph).static_order())
            except CycleError as error:
                first, second, *_ = cast("list[UUID]", error.args[1])
                graph[second].discard(first)

    def _line(self, identity: UUID) -> bytes:
        start, size = self._places[identity]
        self._file.seek(start)
        return self._file.read(size)
