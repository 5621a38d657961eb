"""Errors: each says what, where and what to do, and never holds a value."""

from __future__ import annotations

import traceback
from typing import cast
from uuid import uuid4

import pytest

from healthstore.abc import Backend
from healthstore.errors import (
    CheckError,
    DuplicateKeyError,
    ForeignKeyError,
    HealthstoreError,
    InvalidRequestError,
    NotNullError,
    Outcome,
    OutOfRangeError,
    RefusedValueError,
    StaleVersionError,
    UnknownFieldError,
)
from healthstore.model.ops import Delete, Ensure, Find, Insert, Op, Patch, Replace
from healthstore.model.query import F
from healthstore.model.schema import Check, Collection, Field, Unique
from healthstore.model.values import Document, FieldType, Kind
from healthstore.testing.contract._promises import Contract, needs_references
from healthstore.testing.contract._samples import add, family, ids, member, person

__all__ = ("TestErrors",)

SECRETS = Collection(
    "contract_secrets",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("secret", FieldType(Kind.TEXT, max_length=60)),
        Field("number", FieldType(Kind.INTEGER), nullable=True),
        Field("data", FieldType(Kind.JSON), nullable=True),
    ),
    uniques=(Unique("secret"), Unique("secret", "number")),
    checks=(Check("number_is_positive", F.number >= 0),),
    entity="Secret",
)
FAILURES: dict[str, type[HealthstoreError]] = {
    "duplicate id": DuplicateKeyError,
    "duplicate key": DuplicateKeyError,
    "duplicate key by patch": DuplicateKeyError,
    "duplicate key by replace": DuplicateKeyError,
    "check": CheckError,
    "check by patch": CheckError,
    "null": NotNullError,
    "increment of null": NotNullError,
    "overflow": OutOfRangeError,
    "stale": StaleVersionError,
    "stale delete": StaleVersionError,
    "unknown field": UnknownFieldError,
    "unknown field of a document": UnknownFieldError,
    "too long": RefusedValueError,
    "not a number": RefusedValueError,
    "json": RefusedValueError,
    "filter": RefusedValueError,
    "page": InvalidRequestError,
    "twice": InvalidRequestError,
}


def _failing(name: str, stored: Document, empty: Document) -> Op[object]:
    """Return an operation that fails as the name says, with secrets in every value."""
    secret = cast(str, stored["secret"])
    new: Document = {**stored, "id": uuid4(), "secret": f"{secret} new", "number": None}
    mine, other = ids([stored]), ids([empty])
    failing: dict[str, Op[object]] = {
        "duplicate id": Insert(SECRETS, ({**new, "id": stored["id"]},)),
        "duplicate key": Insert(SECRETS, ({**new, "secret": secret},)),
        "duplicate key by patch": Patch(SECRETS, other, sets=(("secret", secret),)),
        "duplicate key by replace": Replace(SECRETS, ({**empty, "secret": secret},)),
        "check": Insert(SECRETS, ({**new, "number": -77_231_977},)),
        "check by patch": Patch(SECRETS, mine, increments=(("number", -(2**62)),)),
        "null": Insert(SECRETS, ({**new, "secret": None},)),
        "increment of null": Patch(SECRETS, other, increments=(("number", 77_231_977),)),
        "overflow": Patch(SECRETS, mine, increments=(("number", 2**63 - 1),)),
        "stale": Replace(SECRETS, ({**stored, "number": 77_231_977},), (7,)),
        "stale delete": Delete(SECRETS, mine, (7,)),
        "unknown field": Find(SECRETS, F.secrt == secret),
        "unknown field of a document": Insert(SECRETS, ({**new, "secrt": secret},)),
        "too long": Insert(SECRETS, ({**new, "secret": f"{secret}" * 60},)),
        "not a number": Insert(SECRETS, ({**new, "number": secret},)),
        "json": Insert(SECRETS, ({**new, "data": {"a": [f"{secret}\x00"]}},)),
        "filter": Find(SECRETS, F.number == secret),
        "page": Find(SECRETS, after=(secret, secret, secret)),
        "twice": Insert(SECRETS, (new, new)),
    }
    return failing[name]


def _says_enough(error: HealthstoreError, entity: str, backend: str) -> None:
    assert error.code.startswith("HS-")
    assert error.message
    assert error.hint, "an error says what to do"
    assert error.outcome is Outcome.NOT_APPLIED
    assert error.transient is type(error).transient
    assert error.backend == backend
    assert error.entity == entity


def _everything_said(error: BaseException) -> str:
    """Return all that a log or a person may see of an error, its causes included."""
    said = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
    chain: BaseException | None = error
    while chain is not None:
        said += [str(chain), repr(chain.args)]
        chain = chain.__cause__ or chain.__context__
    return "\n".join(said)


class TestErrors(Contract):
    """An error of a backend can be understood, acted on, and logged."""

    @pytest.mark.parametrize("name", FAILURES)
    async def test_an_error_says_what_where_and_what_to_do(self, store: Backend, name: str) -> None:
        """Each failure has its class, a hint, the entity and the backend, and no outcome open."""
        stored: Document = _secret(f"canary-{uuid4().hex}", 5)
        empty: Document = _secret(f"canary-{uuid4().hex}", None)
        await add(store, SECRETS, stored, empty)
        with pytest.raises(FAILURES[name]) as error:
            await store.execute(_failing(name, stored, empty))
        assert type(error.value) is FAILURES[name]
        _says_enough(error.value, "Secret", store.name)

    @pytest.mark.parametrize("name", FAILURES)
    async def test_an_error_never_holds_a_value(self, store: Backend, name: str) -> None:
        """No text of an error, its causes or its traceback quotes what was written or stored."""
        canary = f"canary-{uuid4().hex}"
        stored: Document = _secret(canary, 77_231_977)
        empty: Document = _secret(f"{canary} empty", None)
        await add(store, SECRETS, stored, empty)
        with pytest.raises(HealthstoreError) as error:
            await store.execute(_failing(name, stored, empty))
        said = _everything_said(error.value)
        assert canary not in said
        assert str(stored["number"]) not in said

    @needs_references
    async def test_a_broken_reference_says_what_where_and_what_to_do(self, store: Backend) -> None:
        """A missing parent and a parent in use have the same class and a hint each."""
        parents, children, _ = family("restrict")
        await store.execute(Ensure((parents, children)))
        parent = member(parents)
        await add(store, parents, parent)
        await add(store, children, member(children, parent["id"]))
        with pytest.raises(ForeignKeyError) as error:
            await store.execute(Insert(children, (member(children, person()["id"]),)))
        _says_enough(error.value, "Child", store.name)
        with pytest.raises(ForeignKeyError) as error:
            await store.execute(Delete(parents, ids([parent])))
        _says_enough(error.value, "Parent", store.name)
        # Not every database tells who refers to it, so that none does.
        assert error.value.message == "another document still refers to it"


def _secret(text: str, number: int | None) -> Document:
    return {"id": uuid4(), "version": 1, "secret": text, "number": number, "data": {"a": text}}
