"""URLs become the arguments of a client, without a secret in any text."""

from __future__ import annotations

import pytest

from healthstore.abc.url import BackendURL
from healthstore.adapters.mongo import connect
from healthstore.adapters.mongo.options import read_url
from healthstore.errors import ConfigurationError


def test_promises_are_settings() -> None:
    """Acknowledged means durable on a majority, and every call has a bound."""
    options = read_url(BackendURL.parse("mongodb://ann:s%40fe@a:1,[::1]:2/health?timeout=2.5"))
    assert options.address == "mongodb://a:1,[::1]:2/health"
    assert options.database == "health"
    assert options.arguments["password"] == "s@fe"
    assert (options.arguments["w"], options.arguments["journal"]) == ("majority", True)
    assert options.arguments["readConcernLevel"] == "majority"
    assert options.timeout == 2.5
    assert options.arguments["serverSelectionTimeoutMS"] == 5000


def test_the_usual_options_pass() -> None:
    """A URL as a hosted service hands it out is accepted."""
    url = "mongodb+srv://u:p@c.example.net/db?retryWrites=true&w=majority&appName=x&maxPoolSize=5"
    options = read_url(BackendURL.parse(url))
    assert options.address == "mongodb+srv://c.example.net/db"
    assert options.arguments["appName"] == "x"
    assert options.arguments["maxPoolSize"] == 5


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("mongodb://h/db?w=1", "'w'"),
        ("mongodb://h/db?replicaset=rs0", "did you mean 'replicaSet'"),
        ("mongodb://h/db?tls=maybe", "'tls'"),
        ("mongodb://h/db?timeout=0", "'timeout'"),
        ("mongodb:///db", "no host"),
        ("mongodb://h", "no database"),
        ("mongodb://h/a.b", "name of the database"),
        ("mongodb+srv://h:1/db", "no port"),
        ("mongodb+beanie://h/db", "no driver"),
    ],
)
def test_a_mistake_in_a_url_is_named(url: str, text: str) -> None:
    """Each refused URL gets one error that says what to write."""
    with pytest.raises(ConfigurationError) as error:
        connect(BackendURL.parse(url), "mongodb")
    assert text in str(error.value)


def test_no_text_holds_the_password() -> None:
    """Neither the options' nor the adapter's text shows it."""
    url = BackendURL.parse("mongodb://ann:hidden@h/db")
    options = read_url(url)
    assert "hidden" not in repr(options) + str(options) + repr(connect(url, "mongodb"))
