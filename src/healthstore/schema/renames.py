"""Which fields may have been renamed: nothing is guessed, so somebody is to be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import product

from healthstore.errors import InvalidRequestError
from healthstore.model.change import AddField, Change, DropField, RenameCollection, RenameField
from healthstore.model.schema import Collection

__all__ = ("PossibleRename", "possible_renames", "rename_of")


@dataclass(frozen=True, slots=True)
class PossibleRename:
    """A field that goes, and one of its type that comes."""

    collection: str
    name: str
    to: str

    @property
    def place(self) -> str:
        """The field that goes, as ``collection.field``."""
        return f"{self.collection}.{self.name}"

    @property
    def as_option(self) -> str:
        """What says that it was renamed."""
        return f"{self.place}={self.collection}.{self.to}"

    @property
    def change(self) -> RenameField:
        """The change, if it was."""
        return RenameField(self.collection, self.name, self.to)


def possible_renames(
    state: Mapping[str, Collection], changes: Sequence[Change]
) -> list[PossibleRename]:
    """Return the fields that go where one of their type comes, those of alike names first."""
    gone = [each for each in changes if isinstance(each, DropField)]
    new = [each for each in changes if isinstance(each, AddField)]
    found = [
        PossibleRename(one.collection, one.name, other.name)
        for one, other in product(gone, new)
        if one.collection == other.collection
        and state[one.collection].field(one.name).type.kind is other.form.type.kind
    ]
    return sorted(found, key=lambda each: -SequenceMatcher(None, each.name, each.to).ratio())


def rename_of(text: str) -> RenameField | RenameCollection:
    """Return the change that ``users.name=users.full_name`` or ``users=people`` says.

    Raises InvalidRequestError for anything else.
    """
    old, _, new = text.partition("=")
    one, other = old.split("."), new.split(".")
    if all((*one, *other)) and len(one) == len(other) == 1:
        return RenameCollection(old, new)
    if all((*one, *other)) and len(one) == len(other) == 2 and one[0] == other[0]:
        return RenameField(one[0], one[1], other[1])
    raise InvalidRequestError(
        f"{text!r} says no rename",
        hint="write collection.field=collection.other, or collection=other; a field stays in its "
        "collection",
    )
