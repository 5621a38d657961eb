"""Validators: what an entity's validators made of a value is what is stored, found and summed."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Annotated, Self, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from healthstore.abc import Backend
from healthstore.entity import Digits, Entity, MaxLength, collection_of
from healthstore.errors import (
    DuplicateKeyError,
    InvalidRequestError,
    OutOfRangeError,
    RefusedValueError,
    StaleVersionError,
)
from healthstore.model.ops import Ensure, Sum
from healthstore.model.query import F
from healthstore.model.schema import Unique
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, laws, proves

__all__ = ("TestValidators",)

M = TypeVar("M", bound=Entity)


class _Account(Entity, collection="contract_accounts"):
    """Validators of each sort: of one field, of the whole, and by configuration."""

    model_config = ConfigDict(str_strip_whitespace=True)

    email: Annotated[str, Unique(), MaxLength(100)]
    owner: str = ""
    tags: list[str] = Field(default=[])
    a: int = 0
    b: int = 0
    total: int = 0
    stamp: str = ""

    @field_validator("email", mode="after")
    @classmethod
    def lower(cls, value: str) -> str:
        """Return the address as it is compared."""
        return value.lower()

    @field_validator("tags", mode="before")
    @classmethod
    def split(cls, value: object) -> object:
        """Take a text with commas for a list."""
        return value.split(",") if isinstance(value, str) else value

    @model_validator(mode="after")
    def summed(self) -> Self:
        """Refuse a negative part; keep the sum, and what follows from the version."""
        if self.a < 0:
            raise ValueError("negative")
        self.total = self.a + self.b
        self.stamp = f"{self.owner}:{self.version}"
        return self


class _Label(Entity, collection="contract_labels"):
    """Validators that stand in the annotation of one field."""

    code: Annotated[str, StringConstraints(to_upper=True), MaxLength(20), Unique()]
    price: Annotated[Decimal, Digits(8, 2), AfterValidator(abs)] = Decimal(0)
    size: Annotated[int, BeforeValidator(lambda value: value or 1), Field(ge=1)] = 1
    note: Annotated[str, StringConstraints(strip_whitespace=True)] = ""


class _Title(Entity, collection="contract_titles"):
    """A configuration alone changes texts."""

    model_config = ConfigDict(str_to_lower=True)

    name: Annotated[str, MaxLength(50)] = ""
    count: int = 0


class _Prepared(Entity, collection="contract_prepared"):
    """What is made after validation is made by validation, too."""

    first: str = ""
    last: str = ""
    whole: str = ""

    def model_post_init(self, context: object, /) -> None:
        """Put the name together."""
        super().model_post_init(context)
        self.whole = f"{self.first} {self.last}"


class _Growing(Entity, collection="contract_growing"):
    """A validator that does not accept its own result."""

    name: str = ""
    size: int = 0

    @model_validator(mode="after")
    def grow(self) -> Self:
        """Make it longer each time, once it has begun."""
        if self.name:
            self.name += "x"
        return self


class _Renamed(Entity, collection="contract_renamed"):
    """A validator that changes what the library keeps."""

    name: str = ""

    @model_validator(mode="after")
    def restart(self) -> Self:
        """Set the version back."""
        self.version = 1
        return self


async def _repository(store: Backend, entity: type[M]) -> Repository[M]:
    await store.execute(Ensure((collection_of(entity),)))
    return Repository(entity, store)


class TestValidators(Contract):
    """What validators made is stored by every verb, in the same guarded write."""

    async def test_an_update_stores_what_validators_made(self, store: Backend) -> None:
        """What `update` returns is what is read, found, summed and kept unique."""
        accounts = await _repository(store, _Account)
        bob = await accounts.add(_Account(email="bob@x"))
        ann = await accounts.add(_Account(email=" Ann@X "))
        assert (await accounts.get(ann.id)) == ann
        assert ann.email == "ann@x"
        changes = {"email": " CARL@X ", "owner": "  carl\t", "a": 3, "b": 4, "tags": "x,y"}
        after = await accounts.update(ann.id, changes)
        assert (after.email, after.owner, after.total) == ("carl@x", "carl", 7)
        assert (after.tags, after.stamp, after.version) == (["x", "y"], "carl:2", 2)
        assert await accounts.get(ann.id) == after
        where = (F.email == "carl@x") & (F.owner == "carl") & (F.total == 7)
        assert (await accounts.find(where, F.stamp == "carl:2")).items == (after,)
        assert await accounts.count(F.email == "CARL@X") == 0
        assert await accounts.aggregate(n=Sum("total")) == [{"n": 7}]
        with pytest.raises(DuplicateKeyError) as error:
            await accounts.update(ann.id, {"email": "BOB@x"})
        assert error.value.fields == ("email",)
        assert await accounts.get(bob.id) == bob
        assert await accounts.get(ann.id) == after

    async def test_an_increment_stores_what_validators_made(self, store: Backend) -> None:
        """A field that follows from a number is stored with it; a refusal writes nothing."""
        accounts = await _repository(store, _Account)
        kept = await accounts.add(_Account(email="bob@x", a=1, b=2))
        after = await accounts.increment(kept.id, "a", 5)
        assert (after.a, after.total, after.stamp) == (6, 8, ":2")
        assert await accounts.get(kept.id) == after
        assert await accounts.count(F.total == 8) == 1
        for wrong, kind in ((-7, RefusedValueError), (2**63 - 1, OutOfRangeError)):
            with pytest.raises(kind) as error:
                await accounts.increment(kept.id, "a", wrong)
            assert error.value.backend == store.name
        with pytest.raises(RefusedValueError):
            await accounts.increment(kept.id, "a", "1")
        with pytest.raises(InvalidRequestError):
            await accounts.increment(kept.id, "owner", 1)
        assert await accounts.get(kept.id) == after

    async def test_increments_at_once_keep_what_follows_from_them(self, store: Backend) -> None:
        """Rivals each validate what the one before has written: no step and no sum is lost."""
        accounts = await _repository(store, _Account)
        kept = await accounts.add(_Account(email="bob@x"))
        fields = ["a", "b"] * 4
        await asyncio.gather(*(accounts.increment(kept.id, field) for field in fields))
        found = await accounts.get(kept.id)
        assert found is not None
        assert (found.a, found.b, found.total, found.version) == (4, 4, 8, 9)
        assert await accounts.count(F.total == 8) == 1

    @proves("W3", "W4")
    async def test_an_upsert_stores_what_validators_made(self, store: Backend) -> None:
        """What follows from the version is made of the version that is stored."""
        accounts = await _repository(store, _Account)
        first = await accounts.upsert(_Account(email="BOB@x", owner="bob", a=1), on="email")
        again = await accounts.upsert(_Account(email="bob@X", owner=" rob ", b=2), on="email")
        assert (again.id, again.stamp, again.total) == (first.id, "rob:2", 2)
        assert await accounts.get(first.id) == again
        assert (await accounts.find(F.stamp == "rob:2")).items == (again,)

    async def test_an_annotation_changes_what_is_stored(self, store: Backend) -> None:
        """Validators in the annotation of a field need no validator of the whole."""
        labels = await _repository(store, _Label)
        kept = await labels.add(_Label(code="ab", price=Decimal("-1.5"), note=" n "))
        assert await labels.get(kept.id) == kept
        changes = {"code": "cd", "price": Decimal("-2.5"), "size": 0, "note": "\tm "}
        after = await labels.update(kept.id, changes)
        assert (after.code, after.price, after.size, after.note) == ("CD", Decimal("2.5"), 1, "m")
        assert await labels.get(kept.id) == after
        where = (F.code == "CD") & (F.price == Decimal("2.50")) & (F.note == "m")
        assert (await labels.find(where)).items == (after,)
        await labels.add(_Label(code="ef"))
        with pytest.raises(DuplicateKeyError):
            await labels.update(kept.id, {"code": "eF"})

    async def test_a_configuration_changes_what_is_stored(self, store: Backend) -> None:
        """What `model_config` makes of texts holds for an update as it does for a new entity."""
        titles = await _repository(store, _Title)
        kept = await titles.add(_Title(name="ÄB"))
        assert (await titles.find(F.name == "äb")).items == (kept,)
        after = await titles.update(kept.id, {"name": "CD"})
        assert after.name == "cd"
        assert (await titles.find(F.name == "cd")).items == (after,)
        assert (await titles.increment(kept.id, "count", 2)).count == 2

    async def test_what_is_made_after_validation_is_stored(self, store: Backend) -> None:
        """`model_post_init` is a validator like any other."""
        people = await _repository(store, _Prepared)
        kept = await people.add(_Prepared(first="Ann", last="Bee"))
        after = await people.update(kept.id, {"last": "Cee"})
        assert after.whole == "Ann Cee"
        assert (await people.find(F.whole == "Ann Cee")).items == (after,)

    async def test_validators_that_do_not_come_to_rest_are_refused(self, store: Backend) -> None:
        """What each reading would change again, or what belongs to the library, is not written."""
        growing = await _repository(store, _Growing)
        kept = await growing.add(_Growing())
        with pytest.raises(RefusedValueError):
            await growing.update(kept.id, {"name": "a"})
        with pytest.raises(RefusedValueError):
            await growing.add(_Growing(name="a"))
        assert (await growing.find()).items == (kept,)
        assert (await growing.update(kept.id, {"size": 1})).size == 1
        renamed = await _repository(store, _Renamed)
        whole = await renamed.add(_Renamed(name="a"))
        with pytest.raises(RefusedValueError) as error:
            await renamed.update(whole.id, {"name": "b"})
        assert (error.value.field, error.value.backend) == ("version", store.name)
        assert (await renamed.find()).items == (whole,)

    async def test_a_stale_version_is_told_before_validators_speak(self, store: Backend) -> None:
        """Who read an older version decides again, whatever would be refused now."""
        accounts = await _repository(store, _Account)
        kept = await accounts.add(_Account(email="bob@x", a=1))
        await accounts.update(kept.id, {"a": 2})
        for changes in ({"a": -1}, {"a": 5}):
            with pytest.raises(StaleVersionError) as error:
                await accounts.update(kept.id, changes, version=1)
            assert error.value.backend == store.name
        assert (await accounts.update(kept.id, {"a": 5}, version=2)).total == 5

    @proves("W2")
    @laws
    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "owner": st.text(st.sampled_from("aB \té"), max_size=4),
                "tags": st.lists(st.sampled_from(["x", "Y", " z"]), max_size=3),
                "a": st.integers(0, 2**40),
                "b": st.integers(-(2**40), 2**40),
            },
        ).filter(bool)
    )
    async def test_what_an_update_returns_is_what_is_stored(
        self, store: Backend, changes: dict[str, object]
    ) -> None:
        """For any change: returned, read and found are one and the same."""
        accounts = await _repository(store, _Account)
        kept = await accounts.upsert(_Account(email="law@x"), on="email")
        after = await accounts.update(kept.id, changes)
        assert await accounts.get(kept.id) == after
        where = (F.owner == after.owner) & (F.total == after.total) & (F.stamp == after.stamp)
        assert (await accounts.find(where)).items == (after,)
        assert await accounts.aggregate(n=Sum("total")) == [{"n": after.a + after.b}]
