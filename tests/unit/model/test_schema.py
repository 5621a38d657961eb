"""Definitions: what no database could keep is refused when it is written down."""

from __future__ import annotations

from dataclasses import replace

import pytest

from healthstore.errors import ConfigurationError, UnknownFieldError
from healthstore.model.catalog import definition, differences, from_definition
from healthstore.model.query import F
from healthstore.model.schema import (
    Check,
    Collection,
    Field,
    Index,
    Reference,
    Unique,
    parents_first,
)
from healthstore.model.values import FieldType, Json, Kind

ID = Field("id", FieldType(Kind.UUID))
VERSION = Field("version", FieldType(Kind.INTEGER))
TEXT = FieldType(Kind.TEXT, max_length=40)


def things(*fields: Field, name: str = "things", **parts: object) -> Collection:
    """Return a definition with these fields."""
    return Collection(name, (ID, VERSION, *fields), entity="Thing", **parts)  # type: ignore[arg-type] - parts are keyword arguments of Collection


def decimal(digits: int, places: int) -> Field:
    """Return a decimal field."""
    return Field("a", FieldType(Kind.DECIMAL, digits=digits, places=places))


def text(name: str, length: int | None) -> Field:
    """Return a text field."""
    return Field(name, FieldType(Kind.TEXT, max_length=length))


WRONG = {
    "collection's name in capitals": lambda: things(name="Things"),
    "collection's name too long": lambda: things(name="t" * 49),
    "collection's name empty": lambda: things(name=""),
    "collection's name with a dot": lambda: things(name="a.b"),
    "field's name with a dollar": lambda: things(Field("$a", TEXT)),
    "field's name with a digit first": lambda: things(Field("1a", TEXT)),
    "field's name with a line break": lambda: things(Field("a\n", TEXT)),
    "two fields of one name": lambda: things(Field("a", TEXT), Field("a", TEXT)),
    "no id": lambda: Collection("things", (VERSION,)),
    "no version": lambda: Collection("things", (ID,)),
    "id may be null": lambda: Collection("things", (replace(ID, nullable=True), VERSION)),
    "id is text": lambda: Collection("things", (replace(ID, type=TEXT), VERSION)),
    "decimal without digits": lambda: things(decimal(0, 0)),
    "decimal of too many digits": lambda: things(decimal(29, 2)),
    "decimal of more places than digits": lambda: things(decimal(4, 5)),
    "decimal of negative places": lambda: things(decimal(4, -1)),
    "enum without members": lambda: things(Field("a", FieldType(Kind.ENUM))),
    "text of no length": lambda: things(text("a", 0)),
    "unique of no field": lambda: things(uniques=(Unique(),)),
    "index of no field": lambda: things(indexes=(Index(),)),
    "unique over JSON": lambda: things(Field("a", FieldType(Kind.JSON)), uniques=(Unique("a"),)),
    "index over bytes": lambda: things(Field("a", FieldType(Kind.BYTES)), indexes=(Index("a"),)),
    "unique over endless text": lambda: things(text("a", None), uniques=(Unique("a"),)),
    "index over long text": lambda: things(text("a", 641), indexes=(Index("-a"),)),
    "index of too many bytes": lambda: things(
        text("a", 400), text("b", 400), indexes=(Index("a", "b"),)
    ),
    "reference that is no UUID": lambda: things(
        Field("a", TEXT), references=(Reference("a", "others"),)
    ),
    "two required references to itself": lambda: things(
        Field("a", FieldType(Kind.UUID)),
        Field("b", FieldType(Kind.UUID)),
        references=(Reference("a", "things", "cascade"), Reference("b", "things", "restrict")),
    ),
    "set_null of a required field": lambda: things(
        Field("a", FieldType(Kind.UUID)), references=(Reference("a", "others", "set_null"),)
    ),
    "check named as a database names the check of a type": lambda: things(
        Field("a", TEXT), checks=(Check("type_a", F.a != ""),)
    ),
    "check named as a database names a reference": lambda: things(
        Field("a", FieldType(Kind.UUID)),
        references=(Reference("a", "others"),),
        checks=(Check("ref_a", F.a != None),),  # noqa: E711 - a filter
    ),
    "check's name in capitals": lambda: things(Field("a", TEXT), checks=(Check("A", F.a != ""),)),
    "unique declared twice": lambda: things(Field("a", TEXT), uniques=(Unique("a"), Unique("a"))),
    "index declared twice": lambda: things(Field("a", TEXT), indexes=(Index("-a"), Index("-a"))),
    "two references of one field": lambda: things(
        Field("a", FieldType(Kind.UUID)),
        references=(Reference("a", "others"), Reference("a", "things")),
    ),
    "references that need more indexes than there may be": lambda: things(
        *(Field(f"f{at}", FieldType(Kind.UUID)) for at in range(51)),
        references=tuple(Reference(f"f{at}", "others") for at in range(51)),
    ),
    "an enum of nothing but the empty text": lambda: things(
        Field("a", FieldType(Kind.ENUM, choices=("",)))
    ),
    "digits of a number": lambda: things(Field("a", FieldType(Kind.INTEGER, digits=5))),
    "a length of bytes": lambda: things(Field("a", FieldType(Kind.BYTES, max_length=5))),
    "milliseconds of a date": lambda: things(Field("a", FieldType(Kind.DATE, milliseconds=True))),
    "members of a text": lambda: things(Field("a", FieldType(Kind.TEXT, choices=("b",)))),
    "two checks of one name": lambda: things(
        Field("a", TEXT), checks=(Check("c", F.a != ""), Check("c", F.a != "b"))
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_definition_that_a_database_could_not_keep_is_refused(case: str) -> None:
    """Each mistake in a definition is a ConfigurationError that names the entity."""
    with pytest.raises(ConfigurationError) as refused:
        WRONG[case]()
    assert refused.value.entity
    assert refused.value.message


UNKNOWN = {
    "unique": lambda: things(Field("name", TEXT), uniques=(Unique("nmae"),)),
    "index": lambda: things(Field("name", TEXT), indexes=(Index("-nmae"),)),
    "check": lambda: things(Field("name", TEXT), checks=(Check("c", F.nmae != ""),)),
    "reference": lambda: things(Field("name", TEXT), references=(Reference("nmae", "others"),)),
}


def test_a_name_that_is_no_field_makes_no_long_message() -> None:
    """A service may take a sort key from its client: of a text of any length 100 are told."""
    with pytest.raises(UnknownFieldError) as refused:
        things(Field("name", TEXT)).field("x" * 100_000)
    assert refused.value.message == f"there is no field '{'x' * 100}…'"


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_unknown_field_gets_a_suggestion(case: str) -> None:
    """Every part of a definition that names a field is held against the fields."""
    with pytest.raises(UnknownFieldError) as refused:
        UNKNOWN[case]()
    assert "'name'" in refused.value.hint
    assert refused.value.entity == "Thing"


RICH = things(
    Field("name", TEXT),
    Field("kind", FieldType(Kind.ENUM, choices=("a", "é"))),
    Field("weight", FieldType(Kind.DECIMAL, digits=12, places=4), nullable=True),
    Field("at", FieldType(Kind.DATETIME, milliseconds=True), nullable=True),
    Field("due", FieldType(Kind.DATETIME, milliseconds=True)),
    Field("owner", FieldType(Kind.UUID), nullable=True),
    *(
        Field(f"f_{kind}", FieldType(kind))
        for kind in Kind
        if kind not in {Kind.DECIMAL, Kind.ENUM}
    ),
    uniques=(Unique("name"), Unique("kind", "weight")),
    indexes=(Index("name", "-at"),),
    references=(Reference("owner", "people", "set_null"),),
    checks=(
        Check("name_is_short", ~((F.name == "long") | F.name.in_(["x", None]))),
        Check("big", (F.f_integer > 2**60) & F.weight.not_in([])),
        Check("starts", F.name.startswith("a")),
        Check("order", ~(F.at < F.due) | (F.name != F.f_text)),
    ),
)


def test_a_definition_survives_its_json() -> None:
    """The collection that a definition describes is equal to the one that it was made from."""
    again = from_definition(definition(RICH))
    assert again == RICH
    assert hash(again) == hash(RICH)
    assert again.checks == RICH.checks
    assert definition(again) == definition(RICH)


def test_a_program_that_knows_no_other_fields_cannot_misread_one() -> None:
    """A test of two fields has no operand in JSON: one of before this release refuses it."""
    made = things(
        Field("low", FieldType(Kind.INTEGER)),
        Field("high", FieldType(Kind.INTEGER)),
        checks=(Check("order", F.low <= F.high),),
    )
    assert definition(made)["checks"] == [
        {"name": "order", "rule": {"field": "low", "test": "<=", "other": "high"}}
    ]


def test_the_entity_s_name_is_not_part_of_the_definition() -> None:
    """Two entities with the same definition use the same collection."""
    assert replace(RICH, entity="Other") == RICH


def test_the_order_of_its_parts_is_not_part_of_the_definition() -> None:
    """Definitions whose fields, keys and checks are listed in another order are one definition."""
    turned = replace(
        RICH,
        **{
            part: getattr(RICH, part)[::-1]
            for part in ("fields", "uniques", "indexes", "references", "checks")
        },
    )
    assert turned == RICH
    assert hash(turned) == hash(RICH)
    assert turned.fingerprint == RICH.fingerprint
    assert differences(RICH, turned) == ()
    assert turned.names == RICH.names[::-1]
    assert replace(RICH, indexes=(Index("-at", "name"),)) != RICH


CHANGED = {
    "a new field": (things(*RICH.fields[2:], Field("new", TEXT)), "field new is new"),
    "fewer fields": (things(*RICH.fields[2:4]), "field weight is gone"),
    "another kind": (things(Field("name", FieldType(Kind.BYTES))), "field name was kind text"),
    "null allowed": (things(replace(RICH.fields[2], nullable=True)), "nullable True"),
    "no unique keys": (replace(RICH, uniques=()), "unique key (name) is gone"),
    "another unique key": (
        replace(RICH, uniques=(*RICH.uniques, Unique("weight"))),
        "unique key (weight) is new",
    ),
    "a wider unique key": (
        replace(RICH, uniques=(Unique("name", "weight"), RICH.uniques[1])),
        "unique key (name, weight) is new",
    ),
    "no indexes": (replace(RICH, indexes=()), "index (name, -at) is gone"),
    "an index the other way round": (
        replace(RICH, indexes=(Index("-name", "at"),)),
        "index (-name, at) is new",
    ),
    "a unique key that was an index": (
        replace(RICH, indexes=(), uniques=(*RICH.uniques, Unique("name", "at"))),
        "unique key (name, at) is new",
    ),
    "no references": (replace(RICH, references=()), "reference owner is gone"),
    "a reference to something else": (
        replace(RICH, references=(Reference("owner", "people", "cascade"),)),
        "reference owner was to people with on_delete set_null, is to people with on_delete",
    ),
    "another name": (replace(RICH, name="others"), "the name was things, is others"),
    "no checks": (replace(RICH, checks=()), "check big is gone"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_differences_are_told_in_words(case: str) -> None:
    """Each difference between two definitions is a sentence, and the definitions are unequal."""
    wanted, words = CHANGED[case]
    assert wanted != RICH
    assert any(words in sentence for sentence in differences(RICH, wanted))


@pytest.mark.parametrize("case", CHANGED)
@pytest.mark.parametrize("other", CHANGED)
def test_no_difference_is_empty_or_vague(case: str, other: str) -> None:
    """Between any two definitions that differ, what differs is named, in either direction."""
    one, two = CHANGED[case][0], CHANGED[other][0]
    found = differences(one, two)
    assert bool(found) is (one != two)
    assert len(set(found)) == len(found)
    assert not any(sentence.endswith(" differ") for sentence in found)


def test_equal_definitions_have_no_difference() -> None:
    """Between equal definitions nothing is found."""
    assert differences(RICH, from_definition(definition(RICH))) == ()


def broken() -> list[object]:
    """Return objects that are no definition."""
    good = definition(RICH)
    wrong: list[object] = [None, 5, [], {}, "x", {**good, "fields": 5}, {**good, "name": 5}]
    wrong += [{name: part for name, part in good.items() if name != key} for key in good]
    for key, value in (("kind", "color"), ("digits", "x"), ("name", None)):
        fields: list[Json] = [{"name": "a", "kind": "decimal", "digits": 5, key: value}]
        wrong.append({**good, "fields": fields})
    wrong.append({**good, "references": [{"field": "owner", "collection": "x", "on_delete": "?"}]})
    rule: Json = {"field": "name", "test": "like", "operand": "x"}
    wrong.append({**good, "checks": [{"name": "c", "rule": rule}]})
    for test, other in (("==", "owner"), ("==", "x"), ("==", 5), ("==", []), ("contains", "name")):
        pair: Json = {"field": "name", "test": test, "other": other}
        wrong.append({**good, "checks": [{"name": "c", "rule": pair}]})
    return wrong


@pytest.mark.parametrize("described", broken())
def test_a_malformed_definition_is_refused(described: object) -> None:
    """What is no definition is a ConfigurationError, whatever it is."""
    with pytest.raises(ConfigurationError):
        from_definition(described)


def test_parents_come_before_their_children() -> None:
    """Collections are put in an order in which each can be made, the same every time."""
    owner = Field("owner", FieldType(Kind.UUID))
    parent = things(name="z")
    child = things(owner, name="b", references=(Reference("owner", "z"),))
    grandchild = things(owner, name="a", references=(Reference("owner", "b"),))
    own = things(owner, name="c", references=(Reference("owner", "c"),))
    wanted = ("c", "z", "b", "a")
    for given_order in ((grandchild, child, own, parent), (parent, own, child, grandchild)):
        assert tuple(each.name for each in parents_first(given_order)) == wanted


def test_a_circle_begins_where_a_reference_may_be_null() -> None:
    """Only what the circle needs comes early; what hangs on it follows."""
    optional = Field("other", FieldType(Kind.UUID), nullable=True)
    office = things(optional, name="z_office", references=(Reference("other", "a_staff"),))
    staff = things(
        Field("other", FieldType(Kind.UUID)),
        name="a_staff",
        references=(Reference("other", "z_office"),),
    )
    badge = things(optional, name="badge", references=(Reference("other", "a_staff"),))
    for given_order in ((office, staff, badge), (badge, staff, office)):
        names = tuple(each.name for each in parents_first(given_order))
        assert names == ("z_office", "a_staff", "badge")


def test_a_circle_without_such_a_reference_is_refused_by_name() -> None:
    """The error names the collections of the circle, not those that hang on it."""
    first, second, third = (
        things(
            Field("other", FieldType(Kind.UUID)),
            name=name,
            references=(Reference("other", target),),
        )
        for name, target in (("a", "b"), ("b", "a"), ("c", "a"))
    )
    with pytest.raises(ConfigurationError, match="first: a, b:") as error:
        parents_first((third, first, second))
    assert error.value.hint


def test_names_in_a_database_are_short_and_different() -> None:
    """Indexes and checks of one and of several collections never share a name, and fit."""
    long = [f"{'f' * 46}{number}" for number in range(3)]
    made = [
        Collection(
            name,
            (ID, VERSION, *(text(field, 20) for field in long)),
            (Unique(long[0]), Unique(*long)),
            (Index(long[0]), Index(f"-{long[0]}"), Index(*long[:2])),
        )
        for name in ("c" * 48, "c" * 47 + "d")
    ]
    names = [name for each in made for name in each.index_names]
    names += [each.check_name(field) for each in made for field in long]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 63


def test_a_check_never_holds_a_null_against_a_document() -> None:
    """A check is satisfied where a field that it tests is null, as in SQL."""
    from healthstore.model.evaluate import matches

    checked = things(
        Field("low", FieldType(Kind.INTEGER), nullable=True),
        Field("high", FieldType(Kind.INTEGER), nullable=True),
        checks=(Check("c", ~((F.low > 5) | (F.high < 5))),),
    )
    holds = matches(checked.rules["c"])
    for low, high, wanted in ((None, None, True), (9, None, True), (9, 9, False), (5, 5, True)):
        assert holds({"low": low, "high": high}) is wanted
