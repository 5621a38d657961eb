"""``healthstore matrix``: a page of what was proven, and a failure where something was not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.cli.commands import Run

from healthstore.cli.exits import Exit

FLAGS = {"durable": True, "transactions": True, "references": True}
PROOFS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "test_one": (("V1", "V2"), ()),
    "test_two": (("V1",), ("transactions",)),
    "test_three": (("T1",), ("transactions", "references")),
}


def recorded(path: Path, backends: Mapping[str, Mapping[str, bool]], **worse: str) -> str:
    """Write a record in which every test passed but some, and return its name."""
    proofs = [
        {
            "test": test,
            "claims": claims,
            "needs": needs,
            "partly_needs": ["references"] if test == "test_one" else [],
            "backend": backend,
            "outcome": outcome,
        }
        for backend in backends
        for test, (claims, needs) in PROOFS.items()
        if (outcome := worse.get(test, "passed"))
    ]
    path.write_text(json.dumps({"backends": backends, "proofs": proofs}), "utf-8")
    return path.name


def test_a_page_says_how_each_backend_keeps_each_claim(run: Run, folder: Path) -> None:
    """Native, emulated and how, refused and why, whole or in part, or not proven by a test yet."""
    whole = recorded(folder / "a.json", {"sqlite": FLAGS, "theirs": FLAGS})
    lacking = recorded(folder / "b.json", {"mongodb": {**FLAGS, "transactions": False}})
    ended = run("matrix", whole, lacking, "--json")
    assert ended.code == Exit.OK, ended.err
    cells = ended.data["claims"]
    assert cells["V1"] == {
        "sqlite": "emulated (3)",
        "mongodb": "emulated (3); in part refused (transactions)",
        "theirs": "kept",
    }
    assert cells["V2"]["mongodb"] == "native"
    assert cells["T1"]["mongodb"] == "refused (transactions)"
    assert set(cells["V3"].values()) == {"planned"}
    partly = recorded(folder / "c.json", {"mariadb": {**FLAGS, "references": False}})
    cells = run("matrix", partly, "--json").data["claims"]
    assert cells["V2"]["mariadb"] == "native; in part refused (references)"
    page = run("matrix", whole, lacking, "--backend", "mongodb").out
    assert "|  | promise | mongodb |" in page
    assert "| **T1** | A unit is kept whole or not at all. | refused (transactions) |" in page


def test_a_page_that_was_made_is_the_same(run: Run, folder: Path) -> None:
    """It is compared to the letter: what differs is shown, line by line, and ends with 6."""
    record = recorded(folder / "a.json", {"memory": FLAGS})
    (folder / "page.md").write_text(run("matrix", record).out, "utf-8")
    ended = run("matrix", record, "--check", "page.md")
    assert ended.code == Exit.OK
    assert ended.out.splitlines() == ["page.md is what was proven, on memory"]
    changed = recorded(folder / "b.json", {"memory": {**FLAGS, "references": False}})
    ended = run("matrix", changed, "--check", "page.md")
    assert ended.code == Exit.MISMATCH
    assert "not what was proven" in ended.err
    was, now = (f"{sign}| **T1** | A unit is kept whole or not at all. | " for sign in "-+")
    assert f"{was}native |" in ended.err
    assert f"{now}refused (references) |" in ended.err
    assert run("matrix", record, "--check", "absent.md").code == Exit.USAGE


@pytest.mark.parametrize("outcome", ["failed", "skipped", ""])
def test_what_was_not_proven_is_named(run: Run, folder: Path, outcome: str) -> None:
    """A test that failed, was left out or was not run on one of the backends ends with 1."""
    first = recorded(folder / "a.json", {"memory": FLAGS})
    second = recorded(folder / "b.json", {"sqlite": FLAGS}, test_two=outcome)
    ended = run("matrix", first, second)
    assert ended.code == Exit.FAILURE
    assert f"V1 on sqlite: test_two {outcome or 'not run'}" in ended.err
    assert ended.out == ""
    assert run("matrix", first, second, "--backend", "memory").code == Exit.OK
    again = recorded(folder / "c.json", {"sqlite": FLAGS})
    assert run("matrix", again, second).code == (Exit.OK if not outcome else Exit.FAILURE)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"backends": {}, "proofs": [{}]}', "null"])
def test_what_is_no_record_is_refused(run: Run, folder: Path, text: str) -> None:
    """It says how a record is made; a backend of which there is none is named, too."""
    (folder / "odd.json").write_text(text, "utf-8")
    ended = run("matrix", "odd.json")
    assert ended.code == Exit.FAILURE
    assert "--healthstore-record" in ended.err
    record = recorded(folder / "a.json", {"memory": FLAGS})
    ended = run("matrix", record, "--backend", "mysql")
    assert ended.code == Exit.FAILURE
    assert "nothing was recorded of mysql" in ended.err


def test_a_record_of_nothing_proves_nothing(run: Run, folder: Path) -> None:
    """A run in which no test claims anything is no proof."""
    (folder / "a.json").write_text('{"backends": {"memory": {}}, "proofs": []}', "utf-8")
    ended = run("matrix", "a.json")
    assert ended.code == Exit.FAILURE
    assert "nothing is proven" in ended.err
