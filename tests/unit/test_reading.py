"""What was stored becomes an entity without pydantic, and as pydantic would make it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue, PrivateAttr, field_validator

from healthstore import Digits, Entity, MaxLength
from healthstore.entity import collection_of, from_document, to_document, to_documents
from healthstore.entity.derive import derive
from healthstore.errors import HealthstoreError, SchemaMismatchError
from healthstore.model.values import Document
from healthstore.testing.strategies import documents


class Size(StrEnum):
    SMALL = "s"
    LARGE = "l"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Dose(BaseModel):
    amount: Decimal
    taken: tuple[date, ...] = ()


class Wide(Entity, collection="wide"):
    text: str
    short: Annotated[str, MaxLength(20)] | None
    whole: int
    flag: bool
    number: float | None
    exact: Annotated[Decimal, Digits(9, 3)]
    at: datetime
    then: AwareDatetime | None
    day: date
    moment: time
    span: timedelta
    other: UUID | None
    data: bytes
    size: Size
    colour: Colour | None
    word: Literal["a", "b"]
    member: Literal[Colour.RED]
    details: dict[str, JsonValue]
    anything: list[Any]


class Typed(Entity, collection="typed"):
    dose: Dose
    tags: list[str]


def _by_pydantic(entity: type[Entity], document: Document) -> Entity:
    """Return the entity as pydantic makes it; of a literal's members it finds none by value."""
    listed = {name: each[document[name]] for name, each in derive(entity).members.items()}
    return entity.model_validate({**document, **listed}, strict=False, by_alias=False, by_name=True)


def _require_alike(made: Entity, expected: Entity) -> None:
    assert made == expected
    assert repr(made) == repr(expected)  # types, zones, signs of zero and the order of fields
    assert list(made.__dict__) == list(expected.__dict__)
    assert made.model_fields_set == expected.model_fields_set
    assert made.model_dump() == expected.model_dump()
    assert (made.__pydantic_extra__, made.__pydantic_private__) == (
        expected.__pydantic_extra__,
        expected.__pydantic_private__,
    )
    for name, value in made.__dict__.items():
        assert type(value) is type(getattr(expected, name))


@given(documents(collection_of(Wide)))
def test_a_row_becomes_the_entity_that_pydantic_would_make(document: Document) -> None:
    """Whatever the values of all kinds are, both ways give the same entity."""
    assert derive(Wide).trusted
    document = {
        **{name: document[name] for name in collection_of(Wide).names},  # as adapters give it
        "version": 1,
        "details": {"value": document["details"]},
        "anything": [document["anything"]],
    }
    _require_alike(from_document(Wide, document), _by_pydantic(Wide, document))


@given(
    st.decimals(allow_nan=False, allow_infinity=False),
    st.lists(st.dates()).map(tuple),
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))),
)
def test_what_is_kept_as_json_is_read_by_its_type(
    amount: Decimal, taken: tuple[date, ...], tags: list[str]
) -> None:
    """A model and a typed list come back as what they were."""
    entity = Typed(dose=Dose(amount=amount, taken=taken), tags=tags)
    document = to_document(entity)
    assert derive(Typed).trusted
    _require_alike(from_document(Typed, document), _by_pydantic(Typed, document))
    assert from_document(Typed, document) == entity


class Listing(Entity, collection="listing"):
    details: list[JsonValue]


def test_json_of_another_form_is_refused() -> None:
    """Definitions do not tell a list from an object: reading does."""
    document = to_document(Listing(details=[1]))
    with pytest.raises(SchemaMismatchError):
        from_document(Listing, {**document, "details": {"a": 1}})


class Lower(Entity, collection="lower"):
    text: str

    @field_validator("text")
    @classmethod
    def _lower(cls, value: str) -> str:
        return value.lower()


class Private(Entity, collection="private"):
    _seen: int = PrivateAttr(default=0)


class Plain(Entity, collection="plain"):
    model_config = ConfigDict(use_enum_values=True)
    size: Size


@pytest.mark.parametrize("entity", [Lower, Private, Plain])
def test_an_entity_that_says_more_than_its_types_is_read_by_pydantic(entity: type[Entity]) -> None:
    """Validators, private attributes and values for members are pydantic's to make."""
    assert not derive(entity).trusted


def test_a_row_that_lacks_a_field_is_refused() -> None:
    """A document of another definition never becomes half an entity."""
    document = to_document(Typed(dose=Dose(amount=Decimal(1)), tags=[]))
    del document["dose"]
    with pytest.raises(SchemaMismatchError):
        from_document(Typed, document)
    with pytest.raises(SchemaMismatchError):
        from_document(Typed, {**document, "other": 1})


def test_each_entity_has_its_own_set_of_fields() -> None:
    """What one entity notes about its fields does not reach the next one."""
    document = to_document(Private())
    first = from_document(Typed, to_document(Typed(dose=Dose(amount=Decimal(1)), tags=[])))
    second = from_document(Typed, to_document(Typed(dose=Dose(amount=Decimal(1)), tags=[])))
    first.model_fields_set.discard("tags")
    assert "tags" in second.model_fields_set
    assert from_document(Private, document)._seen == 0


SPOILT: tuple[dict[str, Any], ...] = (
    {},
    {"version": 0},
    {"text": "\x00"},
    {"text": None},
    {"details": {"a": (1,)}},
    {"details": {1: 1}},
    {"anything": {"no": "list"}},
    {"whole": True},
    {"moment": None},
    {"unknown": 1},
)


@given(st.lists(st.sampled_from(SPOILT), min_size=1, max_size=4), documents(collection_of(Wide)))
def test_entities_together_become_what_each_becomes(
    changes: list[dict[str, Any]], document: Document
) -> None:
    """Many are written as one by one, or the error is that of the first that is refused."""
    document = {**document, "version": 1, "details": {"b": 1, "a": document["details"]}}
    plain = from_document(Wide, {**document, "anything": [document["anything"]]})
    entities = [plain.model_copy(update=each) for each in changes]
    assert _written(lambda: to_documents(entities)) == _written(lambda: _one_by_one(entities))


def _one_by_one(entities: list[Wide]) -> list[Document]:
    made: list[Document] = []
    for index, each in enumerate(entities):
        try:
            made.append(to_document(each))
        except HealthstoreError as error:
            raise error.at(index=index) from None
    return made


def _written(write: Callable[[], list[Document]]) -> object:
    try:
        return repr(write())  # which tells types, signs and the order of keys apart
    except HealthstoreError as error:
        return type(error), str(error), error.field
