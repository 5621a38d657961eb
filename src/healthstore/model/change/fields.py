"""Changes of a collection's fields."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from operator import attrgetter
from typing import Any, cast

from healthstore.errors import ConfigurationError
from healthstore.model.change.state import (
    ChangeEffect,
    State,
    draft,
    existing,
    refused,
    with_item,
    without_item,
    worst,
)
from healthstore.model.definition import Field
from healthstore.model.description import described_field
from healthstore.model.shape import counted
from healthstore.model.values import FieldType, Value, canonicaliser

__all__ = ("AddField", "ChangeField", "DropField", "FieldForm", "Unfit")


@dataclass(frozen=True, slots=True)
class FieldForm:
    """What a field holds: its type, whether it may be null, and its default in the store."""

    type: FieldType
    nullable: bool = False
    default: Value = field(default=None, hash=False, repr=False)

    @classmethod
    def of(cls, given: Field) -> FieldForm:
        """Return the form of a field."""
        return cls(given.type, given.nullable, given.default)

    def field(self, name: str) -> Field:
        """Return the field of this form."""
        return Field(name, self.type, self.nullable, self.default)

    def __str__(self) -> str:
        described = cast("dict[str, Any]", described_field(self.field("")))
        choices = described.pop("choices", ())
        limits = [f"{key} {described[key]}" for key in _LIMITS if key in described]
        limits += [counted(len(choices), "member")] if choices else []
        limits += ["milliseconds"] if self.type.milliseconds else []
        limits += ["searchable"] if self.type.searchable else []
        limits += ["in words"] if self.type.words else []
        limits += ["nullable"] if self.nullable else []
        limits += ["with a default"] if self.default is not None else []
        return ", ".join([str(self.type.kind), *limits])


_LIMITS = ("max_length", "digits", "places")


@dataclass(frozen=True, slots=True)
class AddField:
    """Add a field. Rows that are there get its default, or null where it has none."""

    collection: str
    name: str
    form: FieldForm

    def after(self, state: State) -> State:
        """Return the state with the field; raise ConfigurationError if it is there."""
        return with_item(self, state, "fields", self.form.field(self.name), attrgetter("name"))

    def effect(self, state: State) -> ChangeEffect:
        """Return whether rows have a value for it: null, or its default."""
        del state
        given = self.form.nullable or self.form.default is not None
        return ChangeEffect.ADDITIVE if given else ChangeEffect.NEEDS_DATA

    def __str__(self) -> str:
        return f"add the field {self.name}: {self.form}"


@dataclass(frozen=True, slots=True)
class DropField:
    """Remove a field, with what rows hold in it."""

    collection: str
    name: str

    def after(self, state: State) -> State:
        """Return the state without it; raise ConfigurationError if it is not there."""
        return without_item(self, state, "fields", self.name, attrgetter("name"))

    def effect(self, state: State) -> ChangeEffect:
        """Return that its values go."""
        del state
        return ChangeEffect.LOSES_DATA

    def __str__(self) -> str:
        return f"drop the field {self.name}"


class Unfit(Enum):
    """What becomes of a change if documents do not fit into it and no value is named for them."""

    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ChangeField:
    """Give a field another form.

    ``otherwise`` is what a document gets whose value does not fit, in a migration that may lose
    something (``allow_loss``); None is such a value, too. Without it documents that do not fit
    refuse the migration.
    """

    collection: str
    name: str
    form: FieldForm
    otherwise: Value | Unfit = field(default=Unfit.REFUSED, hash=False, repr=False)

    def after(self, state: State) -> State:
        """Return the state with the new form; raise ConfigurationError if there is no field."""
        self._before(state)
        definition = existing(state, self)
        made = tuple(
            self.form.field(self.name) if each.name == self.name else each
            for each in definition.fields
        )
        return {**state, self.collection: replace(draft(definition), fields=made)}

    def effect(self, state: State) -> ChangeEffect:
        """Return the worst of what the old form becoming the new one may do."""
        before, now = self._before(state), self.form
        found = [_retyped(before.type, now.type)]
        if before.nullable and not now.nullable:
            found.append(ChangeEffect.NEEDS_DATA)
        if self.replaces and worst(found) is not ChangeEffect.ADDITIVE:
            found.append(ChangeEffect.LOSES_DATA)
        return worst(found)

    @property
    def replaces(self) -> bool:
        """Whether a value is named for documents that do not fit."""
        return self.otherwise is not Unfit.REFUSED

    @property
    def instead(self) -> Value:
        """That value, as the new form has it; raise ConfigurationError if it does not fit either."""
        why = "null is forbidden"
        if self.otherwise is not None:
            try:
                return canonicaliser(self.form.type)(self.otherwise)
            except (TypeError, ValueError) as error:
                why = str(error)
        elif self.form.nullable:
            return None
        raise ConfigurationError(
            f"the value that the field {self.name} gets otherwise does not fit its new form",
            hint=f"{why}: name one that does",
            entity=self.collection,
        )

    def _before(self, state: State) -> FieldForm:
        found = existing(state, self).by_name.get(self.name)
        if found is None:
            raise refused(self, "is not there")
        return FieldForm.of(found)

    def __str__(self) -> str:
        return f"change the field {self.name}: {self.form}"


def _retyped(before: FieldType, now: FieldType) -> ChangeEffect:
    """Return what may happen to values of one type that are to be of the other."""
    if before.kind is not now.kind or before.milliseconds is not now.milliseconds:
        return ChangeEffect.NEEDS_DATA
    if (before.searchable, before.words) != (now.searchable, now.words):
        # What is kept beside the texts has to come first, and who does not know them must not write then.
        return ChangeEffect.NEEDS_DATA
    if set(before.choices) - set(now.choices):
        return ChangeEffect.LOSES_DATA
    # A Decimal keeps its places, so with others every value is another one.
    narrower = now.digits < before.digits or now.places != before.places
    longest = before.max_length if before.max_length is not None else _ENDLESS
    if narrower or (now.max_length is not None and now.max_length < longest):
        return ChangeEffect.NEEDS_DATA
    return ChangeEffect.ADDITIVE


_ENDLESS = 1 << 62
