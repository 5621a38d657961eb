"""Entities: what they refuse, so that what was written is read back equal."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Self

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from healthstore import DatabaseManager, Digits, Entity, F, Ref
from healthstore.entity import collection_of
from healthstore.errors import ConfigurationError, RefusedValueError


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
