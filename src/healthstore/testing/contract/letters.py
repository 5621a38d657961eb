"""Letters: what no text may hold is refused at every door, and what it holds stays as it is."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest

from healthstore.abc import Backend
from healthstore.errors import DuplicateKeyError, HealthstoreError, Outcome, RefusedValueError
from healthstore.model.ops import (
    Aggregate,
    Count,
    CountDocuments,
    Find,
    Insert,
    Op,
    Patch,
    Replace,
)
from healthstore.model.query import F, Filter, parse_order
from healthstore.model.schema import Check, Collection, Field, Unique
from healthstore.model.values import FieldType, Kind, Value
from healthstore.testing.contract._promises import Contract, proves
from healthstore.testing.contract._samples import (
    EVERYTHING,
    KEYED,
    add,
    everything,
    identity,
    ids,
    keyed,
    one,
    stored,
)

__all__ = ("TestLetters",)

# What some database cuts, refuses or keeps for itself; see V13 and V14.
IMPOSSIBLE = ("\x00", "a\x00b", "\x00a", "a\x00", "\ud800", "a\udfff", "\udc00\ud800")
# Texts that look the same and are not, each with its composed and its decomposed form.
FORMS = tuple(
    dict.fromkeys(
        form
        for text in ("é", "Å", "\u212b", "\ufb01", "가", "ệ", "\u0958", "\u2126", "ñandú")
        for form in (
            text,
            *(unicodedata.normalize(each, text) for each in ("NFC", "NFD", "NFKC", "NFKD")),
        )
    )
)


def _doors(bad: str) -> list[tuple[Op[object], str]]:
    """Return requests in which the text stands, each in another place, and the place's field."""
    row = everything(id=identity(1))
    mine, order = ids([row]), parse_order(["label"])
    values: tuple[tuple[str, object], ...] = (
        ("text", bad),
        ("label", bad),
        ("level", bad),
        ("data", bad),
        ("data", {bad: 1}),
        ("data", {"a": [{"b": {bad: None}}]}),
        ("data", [["a", [bad]]]),
    )
    doors: list[tuple[Op[object], str]] = []
    for field, value in values:
        held = {**row, **everything(id=identity(1), **{field: value})}
        doors += [
            (Insert(EVERYTHING, (everything(**{field: value}),)), field),
            (Replace(EVERYTHING, (held,)), field),
            (Patch(EVERYTHING, mine, sets=((field, held[field]),)), field),
        ]
    tests: list[Filter] = [
        F.text == bad,
        F.text != bad,
        F.text < bad,
        F.label.in_(["a", bad]),
        F.label.not_in([bad, None]),
        F.text.contains(bad),
        F.text.startswith(bad),
        F.text.endswith(bad),
        F.label.between("a", bad),
    ]
    doors += [
        (CountDocuments(EVERYTHING, each), "label" if "label" in repr(where) else "text")
        for where in tests
        for each in (where, ~where)
    ]
    doors.append((Find(EVERYTHING, order=order, after=(bad, mine[0])), "label"))
    return doors


_DEFINED: dict[str, Callable[[str], Collection]] = {
    "a member of an enum": lambda bad: Collection(
        "made_odd",
        (*EVERYTHING.fields[:2], Field("level", FieldType(Kind.ENUM, choices=("a", bad)))),
    ),
    "what a check compares with": lambda bad: Collection(
        "made_odd", EVERYTHING.fields, checks=(Check("odd", F.text != bad),)
    ),
    "a name": lambda bad: Collection(
        "made_odd", (*EVERYTHING.fields[:2], Field(f"a{bad}", FieldType(Kind.INTEGER)))
    ),
}


class TestLetters(Contract):
    """A text is its code points, all of them and no other."""

    @proves("V13", "V14")
    @pytest.mark.parametrize("bad", IMPOSSIBLE, ids=ascii)
    async def test_what_no_text_may_hold_is_refused_at_every_door(
        self, store: Backend, bad: str
    ) -> None:
        """In documents, keys of JSON, changes, filters and positions, by the name of the field."""
        row = everything(id=identity(1), text="a", label="b")
        await add(store, EVERYTHING, row)
        for op, field in _doors(bad):
            with pytest.raises(RefusedValueError) as error:
                await store.execute(op)
            assert (error.value.entity, error.value.field) == ("Everything", field), op
            assert error.value.outcome is Outcome.NOT_APPLIED
        assert await stored(store, EVERYTHING) == [row]

    @proves("V13", "V14")
    @pytest.mark.parametrize("place", _DEFINED)
    async def test_no_definition_holds_what_no_text_may_hold(
        self, store: Backend, place: str
    ) -> None:
        """It is refused where it is defined, before any store is asked."""
        for bad in IMPOSSIBLE:
            with pytest.raises(HealthstoreError):
                _DEFINED[place](bad)
        assert store.name

    @proves("V13", "V14")
    async def test_the_place_of_what_is_refused_in_json_is_told(self, store: Backend) -> None:
        """By numbers, down to the part, and without the key or the text."""
        await add(store, EVERYTHING)
        data: Value = {"a": [1, 2], "secret": ["fine", {"word": "secret\x00"}]}
        with pytest.raises(RefusedValueError) as error:
            await store.execute(Insert(EVERYTHING, (everything(data=data),)))
        assert "2.2.1" in error.value.message
        assert "secret" not in str(error.value)

    @proves("V16", "C1")
    async def test_composed_and_decomposed_texts_are_different(self, store: Backend) -> None:
        """Kept as they were given, sorted, grouped and searched by their code points."""
        rows = [
            everything(id=identity(at), text=form, label=form, data={form: form})
            for at, form in enumerate(FORMS)
        ]
        await add(store, EVERYTHING, *rows)
        assert await stored(store, EVERYTHING) == rows
        for row, form in zip(rows, FORMS, strict=True):
            assert await stored(store, EVERYTHING, F.text == form) == [row]
            assert await stored(store, EVERYTHING, F.label.in_([form])) == [row]
            for where, holds in (
                (F.text.contains(form), [each for each in rows if form in str(each["text"])]),
                (
                    F.text.startswith(form),
                    [each for each in rows if str(each["text"]).startswith(form)],
                ),
            ):
                assert await stored(store, EVERYTHING, where) == holds
        for field in ("text", "label"):
            groups = await store.execute(Aggregate(EVERYTHING, (Count(),), group=(field,)))
            assert [row.key[0] for row in groups] == sorted(FORMS)
            found = await store.execute(Find(EVERYTHING, order=parse_order([field])))
            assert [row[field] for row in found] == sorted(FORMS)

    @proves("V16", "J5")
    async def test_composed_and_decomposed_keys_of_json_are_different(self, store: Backend) -> None:
        """One object holds them all."""
        row = everything(data={form: at for at, form in enumerate(FORMS)})
        await add(store, EVERYTHING, row)
        got = await one(store, EVERYTHING, row)
        assert got is not None
        assert got["data"] == row["data"]

    @proves("V16", "C1", "C11")
    async def test_composed_and_decomposed_texts_are_different_keys(self, store: Backend) -> None:
        """Each is taken once, alone and in a check; none is taken for another."""
        await add(store, KEYED, *(keyed(label=form) for form in FORMS))
        for form in FORMS:
            with pytest.raises(DuplicateKeyError) as error:
                await store.execute(Insert(KEYED, (keyed(label=form),)))
            assert error.value.fields == ("label",)
        assert Unique("label") in KEYED.uniques
        assert len(await stored(store, KEYED)) == len(FORMS)
