"""How several requests become one, and which part of its answer is whose: nothing here waits."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain, islice
from typing import Any
from uuid import UUID

from healthstore.model.documents import copied_document
from healthstore.model.ops import Delete, Get, Insert, Op, Patch, Patches
from healthstore.model.size import packed_size
from healthstore.model.values import Document

__all__ = ("FORMS", "Alone", "Form")

# A request for more than this goes by itself: whoever waits with it would wait for all of it.
_OWN_IDS = 100
_OWN_DOCUMENTS = 100
# What leaves together; beyond it, a round trip is a small part of the time.
_IDS = 256
# As MessagePack, of which a byte takes seven at most as text: MariaDB refuses one of over 16 MB.
_LENGTH = 2 << 20
_DOCUMENT = 2 << 10  # what a document counts for at least, so that 1,024 leave together
_CHANGE = 8 << 10  # and a change of one, so that 256 do


class Alone(Enum):
    """What is told to a request that left together with others and has no answer of its own."""

    AGAIN = auto()
    """It goes again, without them."""


@dataclass(frozen=True, slots=True)
class Form:
    """One kind of operation, and how requests of that kind travel together.

    ``lane`` tells which requests can: those for which it is equal; None for one that goes by
    itself. ``size`` is what a request adds to a joint one, of which ``limit`` is the most.
    ``joined`` makes the joint request, and ``parted`` gives each one its part of the answer, or
    :class:`Alone`.
    """

    lane: Callable[[Any], Hashable | None]
    size: Callable[[Any], int]
    limit: int
    joined: Callable[[Sequence[Any]], Op[Any]]
    parted: Callable[[Sequence[Any], Any], Iterable[Any]]


# --- reading by id ---------------------------------------------------------------------------


def _lane_of_get(op: Get) -> Hashable | None:
    return id(op.collection) if 0 < len(op.ids) <= _OWN_IDS else None


def _joined_gets(ops: Sequence[Get]) -> Get:
    return Get(
        ops[0].collection, tuple(dict.fromkeys(chain.from_iterable(each.ids for each in ops)))
    )


def _parted_documents(
    ops: Sequence[Get], answer: Sequence[Document | None]
) -> Iterable[tuple[Document | None, ...]]:
    """Yield for each request its documents; of one that several asked for, each gets a copy."""
    if len(answer) == sum([len(each.ids) for each in ops]):
        documents_in_turn = iter(answer)
        for each in ops:
            yield tuple(islice(documents_in_turn, len(each.ids)))
        return
    found = dict(zip(_joined_gets(ops).ids, answer, strict=True))
    given: set[UUID] = set()
    for each in ops:
        documents: list[Document | None] = []
        for identity in each.ids:
            document = found[identity]
            if document is not None and identity in given:
                document = copied_document(each.collection, document)
            documents.append(document)
            given.add(identity)
        yield tuple(documents)


# --- adding ----------------------------------------------------------------------------------


def _lane_of_insert(op: Insert) -> Hashable | None:
    if op.atomic and op.checked_references and 0 < len(op.documents) <= _OWN_DOCUMENTS:
        return id(op.collection)
    return None


def _length(op: Insert) -> int:
    collection = op.collection
    return sum([max(_DOCUMENT, packed_size(collection, (each,))) for each in op.documents])


def _joined_inserts(ops: Sequence[Insert]) -> Insert:
    return Insert(ops[0].collection, tuple(chain.from_iterable(each.documents for each in ops)))


def _parted_counts(ops: Sequence[Insert], answer: int) -> Iterable[int]:
    del answer
    return [len(each.documents) for each in ops]


# --- removing --------------------------------------------------------------------------------


def _lane_of_delete(op: Delete) -> Hashable | None:
    single = len(op.ids) == 1 and op.versions is None and op.checked_references
    return id(op.collection) if single else None


def _one(op: Delete) -> int:
    del op
    return 1


def _joined_deletes(ops: Sequence[Delete]) -> Delete:
    return Delete(ops[0].collection, tuple(dict.fromkeys(each.ids[0] for each in ops)))


def _parted_removals(ops: Sequence[Delete], answer: Sequence[bool]) -> Iterable[tuple[bool]]:
    """Yield for each request whether it removed the document: of several for one, the first."""
    if len(answer) == len(ops):
        return [(each,) for each in answer]
    left = dict(zip(_joined_deletes(ops).ids, answer, strict=True))
    return [(left.pop(each.ids[0], False),) for each in ops]


# --- changing --------------------------------------------------------------------------------


def _lane_of_patch(op: Patch) -> Hashable | None:
    """Return the lane of those that change the same fields in the same ways."""
    if len(op.ids) != 1:
        return None
    return id(op.collection), op.form, op.versions is None


def _change(op: Patch) -> int:
    return max(_CHANGE, packed_size(op.collection, (dict(op.sets),)))


def _joined_patches(ops: Sequence[Patch]) -> Patches:
    return Patches(ops[0].collection, tuple(ops))


def _parted_changes(
    ops: Sequence[Patch], answer: Sequence[tuple[Document] | None]
) -> Iterable[tuple[Document] | Alone]:
    del ops
    return [Alone.AGAIN if each is None else each for each in answer]


FORMS: Mapping[type[Op[Any]], Form] = {
    Get: Form(_lane_of_get, lambda op: len(op.ids), _IDS, _joined_gets, _parted_documents),
    Insert: Form(_lane_of_insert, _length, _LENGTH, _joined_inserts, _parted_counts),
    Delete: Form(_lane_of_delete, _one, _IDS, _joined_deletes, _parted_removals),
    Patch: Form(_lane_of_patch, _change, _LENGTH, _joined_patches, _parted_changes),
}
