"""The ledger of claims: each has a test of the contract behind it, or a reason why not yet."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

import healthstore.testing.contract as package
from healthstore.abc import Capabilities
from healthstore.adapters.memory import MemoryAdapter
from healthstore.adapters.mongo.adapter import STANDALONE, TRANSACTIONAL
from healthstore.adapters.sql.mysql.adapter import _PRODUCTS
from healthstore.adapters.sql.postgres.adapter import PostgresAdapter
from healthstore.adapters.sql.sqlite.adapter import SqliteAdapter
from healthstore.errors import CapabilityError
from healthstore.testing.claims import ABSENT, CLAIMS, COLUMNS, EMULATIONS, PLANNED, SUBJECTS
from healthstore.testing.contract._promises import proves
from healthstore.testing.matrix import declared
from healthstore.testing.provision import SERVERS

PAGE = Path(__file__).parents[3] / "docs/reference/matrix.md"
MODULES = sorted(Path(package.__file__).parent.glob("*.py"))
FLAGS = {each.name for each in fields(Capabilities) if each.type in {"bool", bool}}
COUNTS = {"V": 20, "J": 11, "C": 14, "A": 13, "W": 16, "T": 16, "D": 7}
DECLARED = {
    "memory": MemoryAdapter.capabilities,
    "sqlite": SqliteAdapter.capabilities,
    "postgresql": PostgresAdapter.capabilities,
    **{each.name.lower(): each.capabilities for each in _PRODUCTS},
    "mongodb": STANDALONE,
    "mongodb-rs": TRANSACTIONAL,
}


def proven() -> set[str]:
    """Return the claims that some test of the contract proves."""
    return {claim for proof in declared().proofs.values() for claim in proof.claims}


def test_the_claims_are_numbered() -> None:
    """Each letter of the ledger has its lines, one after the other, each one sentence."""
    wanted = [f"{letter}{number}" for letter in SUBJECTS for number in range(1, COUNTS[letter] + 1)]
    assert list(CLAIMS) == wanted
    for promise in CLAIMS.values():
        assert promise.endswith(".")
        assert "|" not in promise


@pytest.mark.parametrize("claim", CLAIMS)
def test_each_claim_has_a_test_or_a_reason(claim: str) -> None:
    """No claim is without both, and none is called planned that a test proves."""
    if claim in proven():
        assert claim not in PLANNED, "it is proven: take it out of PLANNED"
    else:
        assert PLANNED.get(claim), "no test of the contract proves it"


def test_nothing_else_is_planned_or_emulated() -> None:
    """The tables name claims and columns that there are, and each emulation once."""
    assert set(PLANNED) <= set(CLAIMS)
    assert set(COLUMNS) == set(ABSENT) == set(SERVERS)
    cells = [
        (claim, column) for each in EMULATIONS for claim in each.claims for column in each.columns
    ]
    assert {claim for claim, _ in cells} <= set(CLAIMS)
    assert {column for _, column in cells} <= set(COLUMNS)
    assert len(cells) == len(set(cells))


def test_a_test_proves_what_is_a_claim() -> None:
    """A name that is no claim is an error where the test is defined."""
    with pytest.raises(LookupError, match="V99"):
        proves("V1", "V99")


def test_a_refusal_has_a_capability_behind_it() -> None:
    """What a test needs is a flag of Capabilities, and some test needs each but durability."""
    needed = {
        name
        for _, test in inspect.getmembers(package.ContractTests, inspect.isfunction)
        for mark in getattr(test, "pytestmark", ())
        if mark.name in {"healthstore_needs", "healthstore_partly_needs"}
        for name in mark.args
    }
    assert needed == FLAGS - {"durable"}


SKIPS = {"skip", "skipif", "xfail", "importorskip"}
# What is left out or refused for another reason than the backend's capabilities, and why.
EXCUSED = {
    "_promises CapabilityError": "every refusal for want of a capability",
    "annotations skipif": "a package of which pydantic makes a type, and which need not be there",
    "limits CapabilityError": "FerretDB checks a number of fields that its operator sets",
}


def ways_out(path: Path) -> Iterator[str]:
    """Yield what would leave a test of the contract out, or let a backend refuse it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in SKIPS:
            yield f"{path.stem} {node.attr}"
        if isinstance(node, ast.Name) and node.id == CapabilityError.__name__:
            yield f"{path.stem} {node.id}"


def test_no_test_of_the_contract_is_left_out() -> None:
    """What a backend cannot do is a test of its refusal, by `needs_…`, and never a skip."""
    assert {each for path in MODULES for each in ways_out(path)} == set(EXCUSED)


@pytest.mark.parametrize("name", COLUMNS)
def test_what_a_column_lacks_is_what_its_adapter_declares(name: str) -> None:
    """The table of the page and the adapter's Capabilities agree."""
    lacking = {each for each in FLAGS if not getattr(DECLARED[name], each)}
    assert lacking == ABSENT[name]


def test_the_page_is_what_is_declared() -> None:
    """The committed page is made of the tests, the claims and the capabilities of now."""
    made = declared().page()
    assert PAGE.read_text("utf-8") == made, (
        "write it anew: python -m healthstore.testing.matrix > docs/reference/matrix.md"
    )
