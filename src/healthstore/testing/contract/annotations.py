"""Annotations: each type that pydantic users bring is kept in its column, or refused before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC
from decimal import Decimal
from importlib.util import find_spec
from typing import Annotated, Any, TypeVar, cast

import pytest
from pydantic import EmailStr, create_model

from healthstore.abc import Backend
from healthstore.entity import Entity, collection_of, uuid7
from healthstore.errors import ConfigurationError, RefusedValueError
from healthstore.model.ops import Count, Ensure
from healthstore.model.query import F
from healthstore.model.schema import Unique
from healthstore.model.values import Kind
from healthstore.repository import Repository
from healthstore.testing.contract._annotated import (
    CHANGED,
    COLUMNS,
    JSON,
    REFUSED,
    TWICE,
    TWINS,
    Columns,
    Documents,
    Early,
    Later,
    Point,
    dose,
)
from healthstore.testing.contract._promises import Contract, proves

__all__ = ("TestAnnotations",)

M = TypeVar("M", bound=Entity)


async def _repository(store: Backend, entity: type[M]) -> Repository[M]:
    await store.execute(Ensure((collection_of(entity),)))
    return Repository(entity, store)


def _with(entity: type[M], **values: object) -> M:
    return entity.model_validate(values)


class TestAnnotations(Contract):
    """What has a column can be found, sorted and grouped by; all comes back as its type."""

    @pytest.mark.parametrize(
        ("name", "kind", "one", "two"), COLUMNS, ids=[each[0] for each in COLUMNS]
    )
    async def test_a_column_keeps_what_its_annotation_says(
        self, store: Backend, name: str, kind: Kind, one: object, two: object
    ) -> None:
        """Added, read, found, updated, upserted, sorted and grouped: it is the same value."""
        rows = await _repository(store, Columns)
        declared = rows.collection.field(name)
        assert declared.type.kind is kind
        first = await rows.add(_with(Columns, **{name: one}))
        found = await rows.get(first.id)
        assert found == first
        assert type(getattr(found, name)) is type(getattr(first, name))
        field = getattr(F, name)
        operand = cast(Any, one)
        assert (await rows.find(field == operand)).items == (first,)
        assert (await rows.find(field.in_([operand]), ~(field != operand))).items == (first,)
        after = await rows.update(first.id, {name: two})
        assert await rows.get(first.id) == after
        assert getattr(after, name) == two
        assert await rows.count(field == operand) == 0
        assert await rows.count(field == two) == 1
        again = await rows.upsert(first.model_copy(update={"version": after.version}))
        assert await rows.get(first.id) == again
        assert getattr(again, name) == one
        if declared.type.ordered:
            second = await rows.add(_with(Columns, **{name: two}))
            ordered = (await rows.find(order=[name])).items
            assert {each.id for each in ordered} == {first.id, second.id}
            assert (await rows.find(order=[f"-{name}"])).items == ordered[::-1]
            groups = await rows.aggregate(group=[name], n=Count())
            assert [each["n"] for each in groups] == [1, 1]

    async def test_every_annotation_has_its_sample(self, store: Backend) -> None:  # noqa: ARG002 - as each test
        """No annotation of the entity is left out."""
        own = set(Columns.model_fields) - set(Entity.model_fields)
        assert own == {name for name, *_ in COLUMNS}
        own = set(Documents.model_fields) - set(Entity.model_fields)
        assert own == {name for name, _ in JSON}
        assert {name for name, *_ in CHANGED} <= own

    async def test_a_length_is_the_smallest_of_those_that_are_said(self, store: Backend) -> None:
        """No note makes the store forget another one."""
        rows = await _repository(store, Columns)
        lengths = {"short": 10, "shorter": 5, "ip": 15, "text": None}
        for name, longest in lengths.items():
            assert rows.collection.field(name).type.max_length == longest

    @pytest.mark.parametrize(("name", "value"), JSON, ids=[each[0] for each in JSON])
    async def test_json_keeps_what_its_annotation_says(
        self, store: Backend, name: str, value: object
    ) -> None:
        """Models, dataclasses, tuples and the like come back as what they were."""
        rows = await _repository(store, Documents)
        assert rows.collection.field(name).type.kind is Kind.JSON
        kept = await rows.add(_with(Documents, **{name: value}))
        found = await rows.get(kept.id)
        assert found == kept
        assert type(getattr(found, name)) is type(getattr(kept, name))
        other = await rows.add(Documents())
        after = await rows.update(other.id, {name: value})
        assert await rows.get(other.id) == after
        assert getattr(after, name) == value
        assert await rows.get((await rows.upsert(kept)).id) is not None

    @proves("W2")
    @pytest.mark.parametrize(
        ("name", "value"), TWINS, ids=[f"{each[0]}{at}" for at, each in enumerate(TWINS)]
    )
    async def test_what_a_write_returns_is_what_is_read(
        self, store: Backend, name: str, value: object
    ) -> None:
        """`add`, `upsert` and `update` return the stored form: its zone, its places, its sign."""
        entity: type[Columns | Documents] = Columns if name in Columns.model_fields else Documents
        rows = await _repository(store, entity)
        given = _with(entity, **{name: value})
        before = repr(given)
        added = await rows.add(given)
        inserted = await rows.upsert(given.model_copy(update={"id": uuid7()}))
        replaced = await rows.upsert(given)
        updated = await rows.update(inserted.id, {name: value})
        assert repr(given) == before
        (found, other) = await rows.get_many([given.id, inserted.id])
        assert repr(replaced) == repr(found)
        assert repr(updated) == repr(other)
        shown = repr(getattr(found, name))
        assert [repr(getattr(each, name)) for each in (added, inserted)] == [shown, shown]

    @pytest.mark.parametrize(
        ("name", "value", "reason"),
        CHANGED,
        ids=[f"{each[0]}{at}" for at, each in enumerate(CHANGED)],
    )
    async def test_what_would_come_back_changed_is_refused_when_it_is_written(
        self, store: Backend, name: str, value: object, reason: str
    ) -> None:
        """A member in untyped JSON, a naive instant inside, what equality does not look at."""
        rows = await _repository(store, Documents)
        kept = await rows.add(Documents())
        odd = Documents().model_copy(update={name: value})
        writes: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: rows.add(odd),
            lambda: rows.upsert(odd),
            lambda: rows.add_many([odd]),
            lambda: rows.update(kept.id, {name: value}),
        )
        for write in writes:
            with pytest.raises(RefusedValueError, match=reason) as error:
                await write()
            assert (error.value.entity, error.value.field) == ("Documents", name)
        assert (await rows.find()).items == (kept,)

    async def test_a_private_attribute_is_no_data(self, store: Backend) -> None:
        """It is not stored, and whoever has one set can be stored."""
        rows = await _repository(store, Documents)
        given = dose()
        given._seen = 5
        kept = await rows.add(Documents(dose=given))
        found = await rows.get(kept.id)
        assert found is not None
        assert found.dose is not None
        assert (found.dose.amount, found.dose._seen, found.dose.text) == (
            given.amount,
            0,
            given.text,
        )

    @pytest.mark.parametrize("fold", [0, 1])
    async def test_a_time_that_the_clock_shows_twice_is_kept(
        self, store: Backend, fold: int
    ) -> None:
        """Each of the two is its own instant, in a column and inside JSON."""
        twice = TWICE.replace(fold=fold)
        instant = twice.astimezone(UTC)
        columns = await _repository(store, Columns)
        row = await columns.add(Columns(at=twice, past=None))
        assert [each.at for each in (await columns.find(F.at == instant)).items] == [instant]
        assert (await columns.update(row.id, {"at": twice})).at == instant
        documents = await _repository(store, Documents)
        given = {"dose": dose(at=twice), "doses": [dose(at=twice)]}
        kept = await documents.add(_with(Documents, point=Point(Decimal(1), twice), **given))
        found = await documents.get(kept.id)
        assert found is not None
        assert found.dose is not None
        assert found.point is not None
        assert {found.dose.at, found.point.at, found.doses[0].at} == {instant}

    @pytest.mark.skipif(find_spec("email_validator") is None, reason="email-validator is absent")
    async def test_an_address_is_a_text_that_can_be_a_key(self, store: Backend) -> None:
        """`EmailStr` has a length, so it can be unique without another one."""

        class Mailed(Entity, collection="contract_mailed"):
            email: Annotated[EmailStr, Unique()]

        rows = await _repository(store, Mailed)
        kept = await rows.add(Mailed(email="Ann@EXAMPLE.org"))
        assert kept.email == "Ann@example.org"
        assert (await rows.find(F.email == "Ann@example.org")).items == (kept,)
        assert rows.collection.field("email").type.max_length == 254

    async def test_names_may_be_defined_later(self, store: Backend) -> None:
        """Annotations are texts here: what they name may follow, or stand in a function."""
        rows = await _repository(store, Early)
        kept = await rows.add(Early(later=Later(n=1), mass=Decimal("1.5")))
        assert await rows.get(kept.id) == kept
        assert rows.collection.field("mass").type.kind is Kind.DECIMAL

    @pytest.mark.parametrize(("annotation", "instead"), REFUSED, ids=map(str, range(len(REFUSED))))
    async def test_what_could_not_come_back_is_refused_where_it_is_declared(
        self, store: Backend, annotation: Any, instead: str
    ) -> None:
        """The definition is refused, and the error says what to use."""
        keywords = {"collection": "contract_odd"}
        entity = create_model(
            "Odd", __base__=Entity, __cls_kwargs__=keywords, value=(annotation, ...)
        )
        with pytest.raises(ConfigurationError) as error:
            Repository(entity, store)
        assert (error.value.entity, error.value.field) == ("Odd", "value")
        assert instead in error.value.hint
