"""What each kind of store says it would run, without a connection to any."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from tests.unit.model.test_change import definitions

from healthstore.abc import BackendURL
from healthstore.abc.adapter import Adapter
from healthstore.abc.registry import connect
from healthstore.model.change import ChangeEffect
from healthstore.model.ops import Alter, Drop, Ensure, Explained
from healthstore.model.schema import Collection, Field
from healthstore.model.values import FieldType, Kind

_NUMBER = FieldType(Kind.INTEGER)
URLS = {
    "postgresql": "postgresql://host/database",
    "mysql": "mysql://host/database",
    "mariadb": "mariadb://host/database",
    "sqlite": "sqlite:///explained.db",
    "mongodb": "mongodb://host/database",
}


def closed(name: str) -> Adapter[object]:
    """Return an adapter that was never opened."""
    backend = connect(BackendURL.parse(URLS[name]), name)
    assert isinstance(backend, Adapter)
    return backend


@pytest.mark.parametrize("name", URLS)
@settings(deadline=None, max_examples=60)
@given(one=definitions(), other=definitions())
def test_what_needs_nothing_needs_nothing_back(
    name: str, one: Collection, other: Collection
) -> None:
    """Nothing is run between equal definitions, and where nothing is run, nothing is rewritten."""
    store = closed(name)

    def told(before: Collection, after: Collection) -> Explained:
        return store.explain(Alter(before, after, ChangeEffect.LOSES_DATA))

    assert told(one, one).statements == told(other, other).statements == ()
    there, back = told(one, other), told(other, one)
    assert bool(there.statements) is bool(back.statements)
    assert there.statements or not there.rewrites
    assert told(one, other) == there


@pytest.mark.parametrize("name", URLS)
@settings(deadline=None, max_examples=20)
@given(made=definitions())
def test_a_collection_is_made_and_dropped_by_its_name(name: str, made: Collection) -> None:
    """What creates a collection and what drops it both name it, and rewrite no row."""
    store = closed(name)
    for change in (Ensure((made,)), Drop(made)):
        told = store.explain(change)
        assert all(made.name in each for each in told.statements)
        assert told.statements
        assert not told.rewrites


def test_the_two_products_of_one_protocol_are_told_by_the_url() -> None:
    """Before the server has said which one it is, the scheme of the URL says it."""
    made = Collection("things", (Field("id", FieldType(Kind.UUID)), Field("version", _NUMBER)))
    texts = [closed(name).explain(Ensure((made,))).statements[0] for name in ("mysql", "mariadb")]
    assert ["0900" in each for each in texts] == [True, False]
