"""Changes of names: what is stored stays, and is called something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from healthstore.model.change.state import (
    ChangeEffect,
    State,
    checked,
    draft,
    existing,
    refused,
)
from healthstore.model.definition import Check, Definition, Index, Reference, Unique
from healthstore.model.query import And, Filter, Not, Or, OtherField, Term
from healthstore.model.schema import Collection

__all__ = ("RenameCollection", "RenameField", "names_between", "renamed", "with_names")

_LIBRARY = "healthstore_"
_OWN = frozenset({"id", "version"})


@dataclass(frozen=True, slots=True)
class RenameField:
    """Call a field ``to``, in what names it, too. Rows keep what they hold."""

    collection: str
    name: str
    to: str

    def after(self, state: State) -> State:
        """Return the state with the other name.

        Raises ConfigurationError if there is no such field, or one of the other name.
        """
        definition = existing(state, self)
        if self.name not in definition.by_name or self.name in _OWN:
            raise refused(self, "is not there" if self.name not in _OWN else "is the library's own")
        if self.to in definition.by_name:
            raise refused(self, f"would have the name of another one, {self.to}")
        return {**state, self.collection: renamed(draft(definition), {self.name: self.to})}

    def effect(self, state: State) -> ChangeEffect:
        """Return that programs of the old name find nothing any more."""
        del state
        return ChangeEffect.NEEDS_DATA

    def __str__(self) -> str:
        return f"rename the field {self.name} to {self.to}"


@dataclass(frozen=True, slots=True)
class RenameCollection:
    """Call a collection ``to``, in the references to it, too. It keeps its rows."""

    collection: str
    to: str

    def after(self, state: State) -> State:
        """Return the state with the other name.

        Raises ConfigurationError if there is no such collection, or one of the other name.
        """
        definition = draft(existing(state, self))
        if self.to in state:
            raise refused(self, f"would have the name of another one, {self.to}")
        if self.to.startswith(_LIBRARY):
            raise refused(self, f"would have a name of the library's own, {_LIBRARY}…")
        moved = replace(definition, name=self.to)
        names = {self.collection: self.to}
        return {
            names.get(name, name): _led(moved if name == self.collection else each, names)
            for name, each in state.items()
        }

    def effect(self, state: State) -> ChangeEffect:
        """Return that programs of the old name find nothing any more."""
        del state
        return ChangeEffect.NEEDS_DATA

    def __str__(self) -> str:
        return f"rename the collection to {self.to}"


def renamed(given: Definition, names: Mapping[str, str]) -> Definition:
    """Return a definition with other names of fields, wherever it names them."""

    def of(name: str) -> str:
        return names.get(name, name)

    def key(text: str | Term) -> str | Term:
        if isinstance(text, Term):
            return replace(text, field=of(text.field))
        return f"-{of(text[1:])}" if text.startswith("-") else of(text)

    return replace(
        given,
        fields=tuple(replace(each, name=of(each.name)) for each in given.fields),
        uniques=tuple(
            Unique(
                *map(of, each.fields),
                ignore_case=each.ignore_case,
                where=None if each.where is None else with_names(each.where, names),
            )
            for each in given.uniques
        ),
        indexes=tuple(
            Index(
                *map(key, each.keys),
                where=None if each.where is None else with_names(each.where, names),
            )
            for each in given.indexes
        ),
        references=tuple(replace(each, field=of(each.field)) for each in given.references),
        checks=tuple(Check(each.name, with_names(each.rule, names)) for each in given.checks),
    )


def with_names(rule: Filter, names: Mapping[str, str]) -> Filter:
    """Return a filter with other names of fields."""
    if isinstance(rule, And | Or):
        return type(rule)(tuple(with_names(each, names) for each in rule.items))
    if isinstance(rule, Not):
        return Not(with_names(rule.item, names))
    field, operand = names.get(rule.field, rule.field), rule.operand
    if isinstance(operand, OtherField):
        operand = OtherField(names.get(operand.name, operand.name))
    return replace(rule, field=field, operand=operand)


def _led(given: Definition, names: Mapping[str, str]) -> Definition:
    """Return a definition whose references lead to collections of other names."""
    if not any(each.collection in names for each in given.references):
        return given
    led = tuple(
        Reference(each.field, names.get(each.collection, each.collection), each.on_delete)
        for each in given.references
    )
    return replace(draft(given), references=led)


def names_between(before: Collection, after: Collection) -> dict[str, str] | None:
    """Return which fields have other names in a definition, by the names they had.

    Their places tell. None: more than the names of fields and of the collection differs.
    """
    if len(before.fields) != len(after.fields):
        return None
    pairs = zip(before.names, after.names, strict=True)
    names = {one: other for one, other in pairs if one != other}
    moved = _led(replace(draft(before), name=after.name), {before.name: after.name})
    return names if checked(renamed(moved, names)) == after else None
