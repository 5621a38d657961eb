"""Entities: what they refuse, so that what was written is read back equal."""

from __future__ import annotations

import sys
import warnings
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, NewType, Optional, Self

import pytest
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    PydanticSchemaGenerationError,
    SecretStr,
    ValidationError,
    create_model,
    model_validator,
)
from typing_extensions import TypeAliasType

from healthstore import DatabaseManager, Digits, Entity, F, MaxLength, Ref
from healthstore.entity import collection_of, from_document, is_validated, to_document
from healthstore.errors import ConfigurationError, RefusedValueError
from healthstore.model.schema import Field as SchemaField
from healthstore.model.values import FieldType, Kind


class Range(Entity, collection="ranges"):
    """Two numbers in order."""

    low: int
    high: Annotated[int, Field(le=100)]

    @model_validator(mode="after")
    def ordered(self) -> Self:
        """Refuse a range that is upside down."""
        if self.low > self.high:
            raise ValueError("upside down")
        return self


class Grade(IntEnum):
    """A number with a name."""

    LOW = 1
    HIGH = 2


class Part(BaseModel):
    """A nested model with a type that JSON does not have."""

    dose: Decimal = Field(alias="theDose")
    at: datetime


class Loose(Entity, collection="loose"):
    """Fields that are kept as JSON."""

    anything: Any = None
    parts: list[Part] = Field(default=[])
    grade: Grade = Grade.LOW
    number: int = Field(default=0, alias="theNumber")


class Doubling(Entity, collection="doubling"):
    """A validator that does not accept its own result."""

    number: Annotated[int, AfterValidator(lambda value: value * 2)]


class Free(Entity, collection="free"):
    """Nothing is said about its values but their types."""

    note: str = ""


class Bounded(Entity, collection="bounded"):
    """Values between bounds, without a validator."""

    score: Annotated[int, Field(ge=0)] = 1
    grade: Grade = Grade.LOW


class Short(Entity, collection="short"):
    """Bounded by the configuration of the model."""

    model_config = ConfigDict(str_max_length=5)

    name: str = ""


class Shade(Enum):
    """An enum whose values no column can hold."""

    RED = (255, 0, 0)


@pytest.fixture
async def db() -> AsyncGenerator[DatabaseManager]:
    """Lend a manager over memory with every entity of this module."""
    async with DatabaseManager("memory://") as manager:
        await manager.initialize(Range, Loose, Doubling)
        yield manager


async def test_an_update_that_the_entity_refuses_writes_nothing(db: DatabaseManager) -> None:
    """A validator of the whole entity speaks before the write, not at the next read."""
    ranges = db.repository(Range)
    kept = await ranges.add(Range(low=1, high=5))
    with pytest.raises(RefusedValueError):
        await ranges.update(kept.id, {"low": 50})
    with pytest.raises(RefusedValueError):
        await ranges.increment(kept.id, "high", 1_000)
    assert await ranges.count(F.low == 1) == 1
    assert (await ranges.update(kept.id, {"low": 2}, version=1)).low == 2


async def test_an_alias_names_a_field_outside_only(db: DatabaseManager) -> None:
    """A field with an alias is stored and read by its own name, nested models included."""
    loose = db.repository(Loose)
    part = Part.model_validate({"theDose": "1.10", "at": datetime(2026, 1, 1, tzinfo=UTC)})
    kept = await loose.add(Loose(theNumber=7, parts=[part], grade=Grade.HIGH))
    assert await loose.get(kept.id) == kept
    assert await loose.count(F.grade == Grade.HIGH) == 1


@pytest.mark.parametrize(
    "value",
    [Decimal("1.5"), datetime(2026, 1, 1, tzinfo=UTC), (1, 2), {1: 2}, b"\xff", {1, 2}],
    ids=repr,
)
async def test_json_that_would_come_back_changed_is_refused(
    db: DatabaseManager, value: object
) -> None:
    """A field of any type keeps JSON's own types only: nothing turns into text silently."""
    with pytest.raises(RefusedValueError) as error:
        await db.repository(Loose).add(Loose(anything=value))
    assert error.value.field == "anything"


async def test_a_validator_that_drifts_is_refused(db: DatabaseManager) -> None:
    """A value that each reading would change again is not stored."""
    with pytest.raises(RefusedValueError):
        await db.repository(Doubling).add(Doubling(number=1))


@pytest.mark.parametrize(
    ("entity", "field", "value"),
    [
        (Free(), "version", 0),
        (Free(), "version", "1"),
        (Free(), "note", 5),
        (Bounded(), "score", -1),
        (Bounded(), "version", 0),
        (Bounded(), "grade", 9),
        (Short(), "name", "longer than five"),
        (Loose(), "grade", 9),
    ],
)
async def test_what_could_not_be_read_back_is_not_written(
    db: DatabaseManager, entity: Entity, field: str, value: object
) -> None:
    """An assignment and `model_copy` check nothing: the write does, and the store stays readable."""
    await db.initialize(type(entity))
    repository = db.repository(type(entity))
    changed = entity.model_copy(update={field: value})
    assigned = entity.model_copy()
    setattr(assigned, field, value)
    for wrong in (changed, assigned):
        for write in (repository.add, repository.upsert, lambda each: repository.add_many([each])):
            with pytest.raises(RefusedValueError) as error:
                await write(wrong)
            assert error.value.field == field
    await repository.add(entity)
    assert (await repository.find()).items == (entity,)


def test_a_definition_that_no_backend_could_keep_is_refused() -> None:
    """Odd enums and unknown words are mistakes of the definition, found before any I/O."""

    class Painted(Entity, collection="painted"):
        shade: Shade

    class Child(Entity, collection="children"):
        parent: Annotated[Any, Ref("painted", on_delete="boom")]  # type: ignore[arg-type]  # wrong

    for entity in (Painted, Child):
        with pytest.raises(ConfigurationError):
            collection_of(entity)


async def test_whole_decimals_come_back_in_plain_digits(db: DatabaseManager) -> None:
    """A Decimal without places keeps its form, whatever its zeros."""

    class Count(Entity, collection="counts"):
        total: Annotated[Decimal, Digits(12, 0)]

    await db.initialize(Count)
    counts = db.repository(Count)
    kept = await counts.add(Count(total=Decimal("1E+4")))
    found = await counts.get(kept.id)
    assert found is not None
    assert str(found.total) == "10000"


def test_a_field_on_the_class_names_it_in_filters() -> None:
    """`Range.low` is the field; nothing else has changed, for pydantic neither."""
    assert repr(Range.low) == "Range.low"
    assert (Range.version == 3) == (F.version == 3)
    with pytest.raises(AttributeError, match=r"^lwo$"):
        getattr(Range, "lwo")  # noqa: B009 - a checker would refuse it
    assert Range.model_fields["low"].annotation is int
    assert "low" not in dir(Range)
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        class Wider(Range, collection="wider"):
            low: int = -1

    assert Wider(high=0).low == -1
    assert Wider.model_fields["low"].default == -1


def test_names_of_a_function_are_known_to_its_entities() -> None:
    """An entity in a function may name what stands there, before it and after it."""

    class Inner(BaseModel):
        x: int

    class Outer(Entity, collection="outers"):
        inner: Inner
        others: list[Inner] = Field(default_factory=list)

    class Waiting(Entity, collection="waiting"):
        later: list[Later]

    assert collection_of(Outer).field("inner").type.kind is Kind.JSON
    with pytest.raises(ConfigurationError, match="'Later'") as error:
        collection_of(Waiting)
    assert "model_rebuild" in error.value.hint

    class Later(BaseModel):
        x: int

    Waiting.model_rebuild()
    assert collection_of(Waiting).field("later").type.kind is Kind.JSON


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type statements are new in Python 3.12")
def test_a_type_statement_names_a_type() -> None:
    """`type Kg = …` is what it names, with its notes, generic or not."""
    names: dict[str, Any] = {"Annotated": Annotated, "Decimal": Decimal, "Digits": Digits}
    exec("type Kg = Annotated[Decimal, Digits(6, 2)]\ntype Pair[T] = tuple[T, T]", names)  # noqa: S102 - a syntax error before 3.12
    entity = create_model(
        "Weighed",
        __base__=Entity,
        __cls_kwargs__={"collection": "weighed"},
        kg=(names["Kg"] | None, None),
        pair=(names["Pair"][int], (1, 2)),
    )
    collection = collection_of(entity)
    assert collection.field("kg") == SchemaField(
        "kg", FieldType(Kind.DECIMAL, digits=6, places=2), nullable=True
    )
    assert collection.field("pair").type.kind is Kind.JSON


# Aliases that name types by texts, and, but for the last, types that come later.
Words = TypeAliasType("Words", "str")
MaybeCount = TypeAliasType("MaybeCount", "int | None")
Weight = TypeAliasType("Weight", "Annotated[Tons, MaxLength(3)] | None")
Tons = NewType("Tons", "Words")  # type: ignore[valid-newtype]  # a text is what is tried
Tree = TypeAliasType("Tree", "dict[str, Tree] | list[Tree] | str | None")
Sealed = TypeAliasType("Sealed", "list[SecretStr]")
Price = TypeAliasType("Price", Annotated["Decimal", Digits(6, 2)])


@pytest.mark.parametrize(
    ("alias", "kind", "nullable"),
    [
        (Words, FieldType(Kind.TEXT), False),
        (MaybeCount, FieldType(Kind.INTEGER), True),
        (Weight, FieldType(Kind.TEXT, max_length=3), True),
        (Tons, FieldType(Kind.TEXT), False),
        (Tree, FieldType(Kind.JSON), True),
        (Price, FieldType(Kind.DECIMAL, digits=6, places=2), False),
        (Optional[Price], FieldType(Kind.DECIMAL, digits=6, places=2), True),  # noqa: UP045 - tried
    ],
)
def test_an_alias_may_name_its_type_by_a_text(
    alias: Any, kind: FieldType, *, nullable: bool
) -> None:
    """A text in an alias means what it means in its module, in whole and in part."""
    entity = _with_field(alias)
    assert collection_of(entity).field("value") == SchemaField("value", kind, nullable=nullable)


def test_what_is_refused_is_refused_behind_a_text() -> None:
    """A text hides nothing; one that its module does not know is told, with what to do."""
    with pytest.raises(ConfigurationError, match="SecretStr"):
        collection_of(_with_field(Sealed))

    class Inner(BaseModel):
        x: int

    local = TypeAliasType("local", "Inner")
    with pytest.raises(ConfigurationError) as error:
        collection_of(_with_field(local, Inner=Inner))
    assert "alias" in error.value.message
    assert "alias" in error.value.hint
    assert error.value.field == "value"


def _with_field(annotation: Any, **known: object) -> type[Entity]:
    """Return the class of an entity with a field of this annotation."""
    kwargs = {"collection": "annotated"}
    entity = create_model("Made", __base__=Entity, __cls_kwargs__=kwargs, value=(annotation, ...))
    entity.model_rebuild(force=True, _types_namespace={**globals(), **known})
    return entity


@pytest.mark.parametrize(
    ("annotation", "digits", "places"),
    [
        (Annotated[Decimal, Field(max_digits=2), Digits(6, 2)], 6, 2),
        (Annotated[Decimal, Digits(6, 2), Field(max_digits=2)], 6, 2),
        (Annotated[Decimal, Digits(6, 2), Field(max_digits=9, decimal_places=4)], 6, 2),
        (Annotated[Decimal, Field(max_digits=9, decimal_places=1), Digits(6, 2)], 6, 2),
        (Annotated[Decimal, Digits(6, 2), Digits(6, 2)], 6, 2),
        (Annotated[Decimal, Field(max_digits=9, decimal_places=4)], 9, 4),
    ],
)
def test_digits_say_how_a_decimal_is_kept(annotation: Any, digits: int, places: int) -> None:
    """In any order; what pydantic's own limits add narrows the values, not the column."""
    kind = FieldType(Kind.DECIMAL, digits=digits, places=places)
    assert collection_of(_with_field(annotation)).field("value").type == kind


def test_two_digits_that_differ_are_refused() -> None:
    """Neither is ignored, whether it stands in the annotation or in an alias that it names."""
    for annotation in (
        Annotated[Decimal, Digits(6, 2), Digits(8, 4)],
        Annotated[Price, Digits(8, 4)],
    ):
        with pytest.raises(ConfigurationError, match="two Digits") as error:
            collection_of(_with_field(annotation))
        assert error.value.field == "value"


class Narrow(Entity, collection="narrow"):
    """Decimals whose limits are not the same in both places."""

    few: Annotated[Decimal, Digits(6, 2), Field(max_digits=3)]
    wide: Annotated[Decimal, Field(max_digits=9, decimal_places=4), Digits(6, 2)]


async def test_each_limit_of_a_decimal_holds(db: DatabaseManager) -> None:
    """What pydantic allows and the column does not is refused, and the other way round."""
    await db.initialize(Narrow)
    kept = await db.repository(Narrow).add(Narrow(few=Decimal("1.25"), wide=Decimal("1234.56")))
    with pytest.raises(ValidationError):
        Narrow(few=Decimal("12.25"), wide=Decimal(1))
    for changes in ({"few": Decimal("12.25")}, {"wide": Decimal("1.2345")}):
        with pytest.raises(RefusedValueError):
            await db.repository(Narrow).update(kept.id, changes)
    wrong = Narrow(few=Decimal(1), wide=Decimal("1.2345"))
    with pytest.raises(RefusedValueError):
        await db.repository(Narrow).add(wrong)
    assert await db.repository(Narrow).get(kept.id) == kept


def test_a_type_that_pydantic_cannot_build_is_refused() -> None:
    """What is found out late, when a name is resolved, is a mistake of the definition, too."""

    class Odd(Entity, collection="odds"):
        value: Unkept

    class Unkept:
        pass

    with pytest.raises(ConfigurationError):
        collection_of(Odd)
    with pytest.raises(PydanticSchemaGenerationError):
        Odd.model_rebuild()
    with pytest.raises(ConfigurationError):
        collection_of(Odd)


@pytest.mark.filterwarnings("ignore:`json_encoders` is deprecated")
def test_encoders_for_json_are_refused() -> None:
    """The store would ignore them."""

    class Encoded(Entity, collection="encoded"):
        model_config = ConfigDict(json_encoders={str: str.upper})

        word: str = ""

    with pytest.raises(ConfigurationError, match="serializer"):
        collection_of(Encoded)


def test_a_private_attribute_is_no_validator() -> None:
    """An entity with one is still written without being read first; `model_post_init` counts."""

    class Private(Entity, collection="privates"):
        _seen: int = PrivateAttr(default=0)

    class After(Private, collection="afters"):
        def model_post_init(self, context: object, /) -> None:
            super().model_post_init(context)

    assert not is_validated(Private, ())
    assert is_validated(After, ())


async def test_a_strict_entity_is_strict_when_it_is_updated() -> None:
    """`update` parses no more than the class does when it is made."""

    class Strict(Entity, collection="stricts"):
        model_config = ConfigDict(strict=True)

        number: int = 0
        grade: Grade = Grade.LOW

    async with DatabaseManager("memory://") as manager:
        await manager.initialize(Strict)
        rows = manager.repository(Strict)
        kept = await rows.add(Strict(number=1, grade=Grade.HIGH))
        with pytest.raises(RefusedValueError):
            await rows.update(kept.id, {"number": "5"})
        with pytest.raises(RefusedValueError):
            await rows.update(kept.id, {"grade": 1})
        assert (await rows.update(kept.id, {"number": 5})).grade is Grade.HIGH


class Sample(BaseModel):
    """A model with an instant, a number, and any JSON."""

    at: AwareDatetime
    rate: float = 0.0
    more: dict[str, Any] = Field(default={})


class Sampled(Entity, collection="sampled"):
    """JSON in several ways."""

    anything: JsonValue = None
    maybe: JsonValue | None = None
    rates: list[float] = Field(default=[])
    sample: Sample | None = None


def _itself() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["back"] = value
    return value


_AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("anything", {"a": [float("nan")]}, "holds NaN or infinity"),
        ("maybe", {"canary\ud800": 1}, "holds a lone surrogate"),
        ("anything", _itself(), "holds itself"),
        ("rates", [1.0, float("inf")], "holds NaN or infinity"),
        ("sample", Sample(at=_AT, rate=float("nan")), "holds NaN or infinity"),
        ("sample", Sample.model_construct(at=_AT, more=_itself()), "holds itself"),
        ("sample", Sample.model_construct(at=_AT, more={"\ud800": 1}), "holds a lone surrogate"),
    ],
)
def test_what_json_does_not_hold_is_told_by_its_reason(
    field: str, value: object, reason: str
) -> None:
    """Whatever type a field has: what is wrong with its value, not that something is."""
    entity = Sampled()
    entity.__dict__[field] = value
    with pytest.raises(RefusedValueError, match=reason) as error:
        to_document(entity)
    assert (error.value.entity, error.value.field) == ("Sampled", field)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("value", [None, True, 3, 1.5, "text", [1, {"a": None}], {"b": [1.0]}])
def test_any_json_value_comes_back(value: JsonValue) -> None:
    """A field of any JSON value keeps each kind of it, with its type."""
    entity = Sampled(anything=value, maybe=value)
    back = from_document(Sampled, to_document(entity))
    assert back == entity
    assert repr(back) == repr(entity)
