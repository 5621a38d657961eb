"""Changes of a definition: what each does, what it may cost, and that none is left out."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthstore.errors import ConfigurationError, InvalidRequestError, UnknownFieldError
from healthstore.model.catalog import differences
from healthstore.model.change import (
    AddCheck,
    AddField,
    AddIndex,
    AddReference,
    AddUnique,
    Change,
    ChangeEffect,
    ChangeField,
    CreateCollection,
    DropCheck,
    DropCollection,
    DropField,
    DropIndex,
    DropReference,
    DropUnique,
    FieldForm,
    changed,
    changes,
    changes_between,
    worst,
)
from healthstore.model.description import form_of
from healthstore.model.query import F
from healthstore.model.schema import Check, Collection, Field, Index, Reference, Unique
from healthstore.model.values import FieldType, Kind, Value

KEY = (Field("id", FieldType(Kind.UUID)), Field("version", FieldType(Kind.INTEGER)))
TEXT = FieldType(Kind.TEXT, max_length=40)
MONEY = FieldType(Kind.DECIMAL, digits=8, places=2)
STATE = FieldType(Kind.ENUM, choices=("NEW", "OPEN"))

ADDITIVE, NEEDS_DATA, LOSES_DATA = ChangeEffect


def notes(*fields: Field, **parts: Any) -> Collection:
    """Return a definition with these fields."""
    return replace(Collection("notes", (*KEY, *fields)), **parts)


NOTES = notes(
    Field("title", TEXT),
    Field("price", MONEY, nullable=True, default=Decimal("1.00")),
    Field("state", STATE),
    Field("body", TEXT),
    Field("owner", FieldType(Kind.UUID), nullable=True),
    uniques=(Unique("title"),),
    indexes=(Index("-price", "title"),),
    references=(Reference("owner", "people", "set_null"),),
    checks=(Check("paid", F.price > 0),),
)


# --- what a definition may be ------------------------------------------------------------------

_FORMS = {
    "a": [TEXT, FieldType(Kind.TEXT), FieldType(Kind.INTEGER), STATE],
    "b": [MONEY, replace(MONEY, digits=9), replace(MONEY, places=3), FieldType(Kind.FLOAT)],
    "c": [STATE, replace(STATE, choices=("NEW", "OPEN", "SHUT")), replace(TEXT, max_length=9)],
    "d": [FieldType(Kind.UUID)],
    "e": [FieldType(Kind.DATETIME), FieldType(Kind.DATETIME, milliseconds=True)],
    "f": [FieldType(Kind.JSON)],
}
# Of a field of JSON: the elements of lists, and parts of it as values of a type.
_OF_JSON = (
    (Index("f"),),
    (Index(F.f["x"].as_(float)),),
    (Index(F.f["a b"]["it's %"].as_(int)), Index("id", F.f["x"].as_(bool)), Index("f")),
)
_DEFAULTS: dict[Kind, Value] = {Kind.INTEGER: 0, Kind.FLOAT: 1.0, Kind.ENUM: "NEW", Kind.TEXT: "x"}


@st.composite
def definitions(draw: st.DrawFn) -> Collection:
    """Draw a definition of any of the fields, in any order, with keys and checks on them."""
    names = draw(st.permutations(draw(st.lists(st.sampled_from("abcdef"), unique=True))))
    fields = []
    for name in names:
        kind = draw(st.sampled_from(_FORMS[name]))
        default = _DEFAULTS.get(kind.kind) if draw(st.booleans()) else None
        fields.append(Field(name, kind, draw(st.booleans()), default))
    whole = (FieldType(Kind.TEXT), FieldType(Kind.JSON))
    indexed = [each.name for each in fields if each.type not in whole]
    of_json = draw(st.sampled_from(_OF_JSON)) if "f" in names and draw(st.booleans()) else ()
    some = st.lists(st.sampled_from(indexed), min_size=1, max_size=2, unique=True)
    keys = draw(st.lists(some, max_size=2, unique_by=tuple)) if indexed else []
    signs = draw(st.sampled_from(["", "-"]))
    refers = draw(st.booleans()) and any(each.name == "d" for each in fields)
    target = Reference("d", draw(st.sampled_from(["people", "teams"])))
    checked = [each.name for each in fields if each.name != "f" and draw(st.booleans())]
    nullable = {each.name for each in fields if each.nullable}
    checks = [Check(f"has_{name}", ~F[name].in_([None])) for name in checked]
    checks += [Check("many", F.b > 1)] if "b" in checked else []
    parts = [None, *(F[name].in_([None]) for name in checked if name in nullable)]
    parts += [F.b > 1, F.b > 2] if "b" in checked else []
    part = st.sampled_from(parts)
    return notes(
        *fields,
        uniques=tuple(Unique(*each) for each in keys[:1]),
        indexes=tuple(
            Index(*(signs + name for name in each), where=draw(part)) for each in keys[1:]
        )
        + of_json,
        references=(target,) if refers else (),
        checks=tuple(checks),
    )


@settings(deadline=None, max_examples=500)
@given(definitions(), definitions())
def test_the_changes_between_two_definitions_make_the_one_into_the_other(
    stored: Collection, wanted: Collection
) -> None:
    """Nothing is left out, also no default, and each change fits what those before it have left."""
    made = changed({"notes": stored}, changes_between(stored, wanted))["notes"]
    assert made == wanted
    assert set(map(form_of, made.fields)) == set(map(form_of, wanted.fields))
    assert changes_between(made, wanted) == ()


@settings(deadline=None, max_examples=200)
@given(definitions(), definitions())
def test_there_is_a_change_exactly_where_something_differs(
    stored: Collection, wanted: Collection
) -> None:
    """No change for definitions that are told apart by nothing, and none without a word."""
    found = changes_between(stored, wanted)
    same = set(map(form_of, stored.fields)) == set(map(form_of, wanted.fields))
    assert bool(found) is not (stored == wanted and same)
    assert bool(differences(stored, wanted)) is (stored != wanted)
    assert all(str(each) and each.collection == "notes" for each in found)


# --- what each may do to rows ------------------------------------------------------------------


def _form(kind: FieldType, *, nullable: bool = False, default: Value = None) -> FieldForm:
    return FieldForm(kind, nullable, default)


# What changes -> its effect, and what it is called.
EFFECTS: dict[str, tuple[Change, ChangeEffect, str]] = {
    "a nullable field": (
        AddField("notes", "phone", _form(TEXT, nullable=True)),
        ADDITIVE,
        "add the field phone: text, max_length 40, nullable",
    ),
    "a field with a default": (
        AddField("notes", "rank", _form(FieldType(Kind.INTEGER), default=0)),
        ADDITIVE,
        "add the field rank: integer, with a default",
    ),
    "a required field": (AddField("notes", "phone", _form(TEXT)), NEEDS_DATA, "phone: text"),
    "a field less": (DropField("notes", "state"), LOSES_DATA, "drop the field state"),
    "null allowed": (
        ChangeField("notes", "title", _form(TEXT, nullable=True)),
        ADDITIVE,
        "change the field title: text, max_length 40, nullable",
    ),
    "null forbidden": (ChangeField("notes", "price", _form(MONEY)), NEEDS_DATA, "decimal"),
    "wider text": (
        ChangeField("notes", "title", _form(replace(TEXT, max_length=41))),
        ADDITIVE,
        "max_length 41",
    ),
    "text of any length": (
        ChangeField("notes", "body", _form(replace(TEXT, max_length=None))),
        ADDITIVE,
        "change the field body: text",
    ),
    "narrower text": (
        ChangeField("notes", "title", _form(replace(TEXT, max_length=39))),
        NEEDS_DATA,
        "max_length 39",
    ),
    "narrower text, with a value for what is longer": (
        ChangeField("notes", "title", _form(replace(TEXT, max_length=39)), otherwise="secret"),
        LOSES_DATA,
        "change the field title: text, max_length 39",
    ),
    "wider text, with a value for nothing": (
        ChangeField("notes", "title", _form(replace(TEXT, max_length=41)), otherwise=None),
        ADDITIVE,
        "max_length 41",
    ),
    "more digits": (
        ChangeField("notes", "price", _form(replace(MONEY, digits=9), nullable=True)),
        ADDITIVE,
        "digits 9, places 2",
    ),
    "fewer digits": (
        ChangeField("notes", "price", _form(replace(MONEY, digits=7), nullable=True)),
        NEEDS_DATA,
        "digits 7",
    ),
    "other places": (
        ChangeField("notes", "price", _form(replace(MONEY, digits=9, places=3), nullable=True)),
        NEEDS_DATA,
        "places 3",
    ),
    "a new member": (
        ChangeField("notes", "state", _form(replace(STATE, choices=("NEW", "OPEN", "SHUT")))),
        ADDITIVE,
        "enum, 3 members",
    ),
    "a member less": (
        ChangeField("notes", "state", _form(replace(STATE, choices=("NEW", "SHUT")))),
        LOSES_DATA,
        "2 members",
    ),
    "another type": (
        ChangeField("notes", "title", _form(FieldType(Kind.INTEGER))),
        NEEDS_DATA,
        "integer",
    ),
    "another default": (
        ChangeField("notes", "price", _form(MONEY, nullable=True, default=Decimal("2.00"))),
        ADDITIVE,
        "nullable, with a default",
    ),
    "an index": (
        AddIndex("notes", Index("state", "-title")),
        ADDITIVE,
        "add the index (state, -title)",
    ),
    "an index less": (DropIndex("notes", Index("-price", "title")), ADDITIVE, "drop the index"),
    "a unique key": (
        AddUnique("notes", Unique("state", "title")),
        NEEDS_DATA,
        "add the unique key (state, title)",
    ),
    "a unique key less": (
        DropUnique("notes", Unique("title")),
        ADDITIVE,
        "drop the unique key (title)",
    ),
    "a check": (
        AddCheck("notes", Check("cheap", F.price < 10)),
        NEEDS_DATA,
        "add the check cheap: price < ?",
    ),
    "a check less": (DropCheck("notes", "paid"), ADDITIVE, "drop the check paid"),
    "a reference less": (DropReference("notes", "owner"), ADDITIVE, "drop the reference owner"),
    "a collection less": (DropCollection("notes"), LOSES_DATA, "drop the collection"),
    "a collection more": (
        CreateCollection(replace(NOTES, name="others")),
        ADDITIVE,
        "create the collection (7 fields)",
    ),
}


@pytest.mark.parametrize("case", EFFECTS)
def test_a_change_says_what_it_may_do_to_rows(case: str) -> None:
    """Each change has one of three effects, and says what it does without a value."""
    change, effect, words = EFFECTS[case]
    state = {"notes": NOTES}
    assert change.effect(state) is effect
    assert words in str(change)
    assert "secret" not in f"{change} {change!r}"
    after = changed(state, [change])
    same = after.get(change.collection) == state.get(change.collection)
    assert same is (case == "another default")  # which changes no answer of an entity


def test_another_on_delete_needs_a_look_at_the_rows() -> None:
    """A reference that is another one goes and comes, the second of which needs data."""
    wanted = replace(NOTES, references=(Reference("owner", "people", "cascade"),))
    found = changes_between(NOTES, wanted)
    assert found == (
        DropReference("notes", "owner"),
        AddReference("notes", wanted.references[0]),
    )
    assert worst(each.effect({"notes": NOTES}) for each in found) is NEEDS_DATA
    assert worst(()) is ADDITIVE


IMPOSSIBLE: dict[str, Change] = {
    "a field that is there": AddField("notes", "title", _form(TEXT)),
    "a field that is not there": DropField("notes", "heading"),
    "another form of nothing": ChangeField("notes", "heading", _form(TEXT)),
    "an index that is there": AddIndex("notes", Index("-price", "title")),
    "an index that is not there": DropIndex("notes", Index("price")),
    "a unique key that is there": AddUnique("notes", Unique("title")),
    "a second reference of a field": AddReference("notes", Reference("owner", "teams")),
    "a check of a name that is taken": AddCheck("notes", Check("paid", F.title == "x")),
    "a check that is not there": DropCheck("notes", "piad"),
    "a collection that is there": CreateCollection(NOTES),
    "a collection that is not there": DropCollection("note"),
    "a field of no collection": AddField("note", "title", _form(TEXT)),
    "an index on nothing": AddIndex("notes", Index("absent")),
    "a field that a check tests": DropField("notes", "price"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_change_that_does_not_fit_is_refused(case: str) -> None:
    """What is there already, or is not, or leaves a definition that cannot be, is an error."""
    with pytest.raises((ConfigurationError, UnknownFieldError)) as error:
        changed({"notes": NOTES}, [IMPOSSIBLE[case]])
    assert error.value.hint


def test_one_collection_has_one_definition() -> None:
    """Of two definitions with one name none wins: the question is refused."""
    with pytest.raises(InvalidRequestError, match="twice"):
        changes({}, [NOTES, replace(NOTES, uniques=())])


def test_new_collections_are_made_parents_first() -> None:
    """A store that has nothing gets each collection after those that it refers to."""
    people = Collection("people", KEY)
    assert changes({}, [NOTES, people]) == (CreateCollection(people), CreateCollection(NOTES))
    assert changes({"notes": NOTES, "others": people}, [NOTES]) == ()
