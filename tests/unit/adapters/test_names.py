"""The name of a violated constraint is found in a message, whatever the value or the language."""

from __future__ import annotations

import pymysql
import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc.unit import Phase
from healthstore.adapters.sql.errors import explain
from healthstore.adapters.sql.mysql import MYSQL
from healthstore.errors import CheckError, DuplicateKeyError, ForeignKeyError
from healthstore.model.query import F
from healthstore.model.schema import Check, Collection, Field, Reference, Unique
from healthstore.model.values import FieldType, Kind

PEOPLE = Collection(
    "people",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("email", FieldType(Kind.TEXT, max_length=50)),
        Field("age", FieldType(Kind.INTEGER)),
        Field("team", FieldType(Kind.UUID), nullable=True),
        Field("boss", FieldType(Kind.UUID), nullable=True),
    ),
    uniques=(Unique("email"), Unique("age")),
    references=(Reference("team", "teams", "restrict"), Reference("boss", "people", "restrict")),
    checks=(Check("adult", F.age >= 18), Check("adult_or_old", F.age >= 19)),
)
EMAIL = PEOPLE.index_name(Unique("email"))
AGE = PEOPLE.index_name(Unique("age"))
# As the servers write it: MySQL puts the table before the key; Japanese and Hungarian end in words.
DUPLICATES = (
    "Duplicate entry '%s' for key '%s'",
    "Duplicate entry '%s' for key 'people.%s'",
    "Doppelter Eintrag '%s' für Schlüssel '%s'",
    "'%s' は索引 '%s' で重複しています。",
    "Duplikalt bejegyzes '%s' a '%s' kulcs szerint.",
)


def fields_of(message: str) -> tuple[str, ...]:
    """Return the fields that a duplicate's message is taken to name."""
    failure = MYSQL.classify(pymysql.err.IntegrityError(1062, message), Phase.WRITE, PEOPLE)
    error = explain(failure, Phase.WRITE, PEOPLE)
    assert isinstance(error, DuplicateKeyError)
    return error.fields


@given(st.sampled_from(DUPLICATES), st.text() | st.just(f"x' for key '{AGE}"))
def test_a_key_is_found_after_any_value(form: str, value: str) -> None:
    """The value is never read: only the last word in quotes is."""
    assert fields_of(form % (value, EMAIL)) == ("email",)
    assert fields_of(form % (value, "PRIMARY")) == ("id",)


def test_a_message_without_a_key_names_no_field() -> None:
    """Rather than a wrong one."""
    assert fields_of("Duplicate entry") == ()


@pytest.mark.parametrize(
    "message",
    [
        "CONSTRAINT `{}` failed for `adult`.`people`",
        "Check constraint '{}' is violated.",
    ],
)
def test_a_check_is_found_by_its_whole_name(message: str) -> None:
    """One name may be the beginning of another one, or the name of the database."""
    for name in ("adult", "adult_or_old"):
        error = pymysql.err.OperationalError(4025, message.format(PEOPLE.check_name(name)))
        ours = explain(MYSQL.classify(error, Phase.WRITE, PEOPLE), Phase.WRITE, PEOPLE)
        assert isinstance(ours, CheckError)
        assert f"{name!r}" in ours.message


def test_a_reference_is_found_by_its_whole_name() -> None:
    """The message quotes tables and columns as well."""
    name = PEOPLE.check_name("ref_boss")
    text = (
        "Cannot add or update a child row: a foreign key constraint fails (`team`.`people`, "
        f"CONSTRAINT `{name}` FOREIGN KEY (`boss`) REFERENCES `people` (`id`))"
    )
    error = pymysql.err.IntegrityError(1452, text)
    ours = explain(MYSQL.classify(error, Phase.WRITE, PEOPLE), Phase.WRITE, PEOPLE)
    assert isinstance(ours, ForeignKeyError)
    assert ours.field == "boss"
