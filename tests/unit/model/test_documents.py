"""Documents made canonical and measured together: as one by one, error for error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.errors import HealthstoreError, RefusedValueError
from healthstore.model.documents import canonical_document, canonical_documents
from healthstore.model.schema import Collection, Field
from healthstore.model.size import require_small
from healthstore.model.values import Document, FieldType, Kind

COLLECTION = Collection(
    "things",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("text", FieldType(Kind.TEXT, max_length=3), nullable=True),
        Field("number", FieldType(Kind.FLOAT)),
        Field("json", FieldType(Kind.JSON)),
        Field("more", FieldType(Kind.JSON), nullable=True),
    ),
    entity="Thing",
)
VALUES: st.SearchStrategy[object] = st.sampled_from(
    [None, 1, 2**64, 1.5, -0.0, float("nan"), "abc", "abcd", "\x00", {"b": 1, "a": -0.0}, [()], b""]
)
GOOD: Mapping[str, object] = {
    "id": UUID(int=1),
    "version": 1,
    "text": None,
    "number": 0.5,
    "json": {"b": [1], "a": None},
    "more": None,
}
GIVEN: st.SearchStrategy[Mapping[str, object]] = st.one_of(
    st.just(GOOD),
    st.dictionaries(st.sampled_from([*GOOD, "odd"]), VALUES, max_size=2).map(
        lambda changes: {**GOOD, **changes}
    ),
    st.sampled_from(sorted(GOOD)).map(
        lambda name: {key: value for key, value in GOOD.items() if key != name}
    ),
)


def _outcome(make: Callable[[], object]) -> object:
    try:
        return repr(make())  # which tells types, signs and the order of keys apart
    except HealthstoreError as error:
        return type(error), str(error), error.field, error.index


@given(st.lists(GIVEN, max_size=5))
def test_documents_together_end_as_one_by_one(documents: Sequence[Mapping[str, object]]) -> None:
    """Many give what each gives, or the error of the first document that is refused, and which."""
    assert _outcome(lambda: canonical_documents(COLLECTION, documents)) == _outcome(
        lambda: _one_by_one(documents)
    )


def _one_by_one(documents: Sequence[Mapping[str, object]]) -> Sequence[Document]:
    found: list[Document] = []
    for index, each in enumerate(documents):
        try:
            found.append(canonical_document(COLLECTION, each))
        except HealthstoreError as error:
            raise error.at(index=index) from None
    return found


@pytest.mark.parametrize("place", [0, 99, 100, 249])
def test_a_large_document_is_found_among_small_ones(place: int) -> None:
    """Of many documents each is small enough, or all are refused."""
    small = canonical_document(COLLECTION, GOOD)
    documents = [small] * 250
    require_small(COLLECTION, documents, 1_000)
    documents[place] = cast(Document, {**small, "json": ["abc"] * 400})
    with pytest.raises(RefusedValueError, match="more than 1000 bytes") as error:
        require_small(COLLECTION, documents, 1_000)
    assert error.value.index == place
