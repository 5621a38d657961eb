"""Ignoring case: one folding everywhere, whoever wrote the text and however it was written."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from uuid import UUID

import pytest

from healthstore.abc import Backend
from healthstore.errors import (
    ConfigurationError,
    DuplicateKeyError,
    InvalidRequestError,
    RefusedValueError,
    SchemaChangeError,
)
from healthstore.model.change import ChangeEffect
from healthstore.model.ops import (
    Aggregate,
    Alter,
    Count,
    CountDocuments,
    Delete,
    Ensure,
    ExplainFind,
    Find,
    Insert,
    Patch,
    Patches,
    RefreshStatistics,
    Rename,
    Replace,
)
from healthstore.model.query import F, FieldName, Filter, parse_order
from healthstore.model.schema import Check, Collection, Field, Index, Unique
from healthstore.model.values import Document, FieldType, Kind, Value
from healthstore.testing.contract._altered import definition_of, prepare, row_of, things
from healthstore.testing.contract._promises import Contract, needs_alterations, proves
from healthstore.testing.contract._samples import add, identity, ids, selected, stored

__all__ = ("TestIgnoringCase",)

SEARCHED = FieldType(Kind.TEXT, max_length=60, searchable=True)
PLAIN = FieldType(Kind.TEXT, max_length=60)
NAMES = Collection(
    "contract_folded",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("name", SEARCHED, nullable=True),
        Field("title", SEARCHED),
        Field("plain", PLAIN, nullable=True),
        Field("email", PLAIN, nullable=True),
        Field("tenant", FieldType(Kind.INTEGER)),
    ),
    uniques=(Unique("tenant", "email", ignore_case=True),),
    entity="Named",
)
# Each group is one text where case does not count; those of different groups are not.
GROUPS: tuple[tuple[str, ...], ...] = (
    ("straße", "STRASSE", "Strasse", "STRAẞE", "stra\u017fse"),
    ("i\u0307stanbul", "İSTANBUL", "İstanbul", "I\u0307stanbul"),
    ("istanbul", "ISTANBUL"),
    ("\u0131stanbul",),
    ("ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ", "ὈΔΥΣΣΕΎς"),
    ("ﬁnd", "FIND", "find", "\ufb01ND"),
    ("\u00e5sa", "ÅSA", "\u212bsa", "A\u030asa", "a\u030aSA"),
    ("Ⅷ", "ⅷ", "VIII", "viii"),
    ("\ufdfa", unicodedata.normalize("NFKC", "\ufdfa")),
    ("Ǆ", "ǅ", "ǆ", "DŽ", "dž"),
    ("ᾳ", "ᾼ", "\u03b1\u03b9", "\u0391\u0399"),
    ("ＡＢＣ", "abc", "ABC"),  # noqa: RUF001 - letters of full width
    ("𐐀", "𐐨"),
    ("50%_*.\\", "50%_*.\\"),
    ("",),
    (" ", "\u00a0", "\u3000"),
    (" ab", " AB"),
    ("ab ", "AB "),
)
TEXTS = tuple(text for group in GROUPS for text in group)


def _row(number: int, **values: Value) -> Document:
    made: Document = dict.fromkeys(NAMES.names[2:])
    return row_of(number, **(made | {"title": "", "tenant": 0} | values))


ROWS = [
    *(
        _row(at, name=text, title=text.swapcase() if len(text) < 50 else text)
        for at, text in enumerate(TEXTS)
    ),
    _row(900, name=None, title="nobody"),
    _row(901, name="Anna STRAßE 5", title="ann"),
]


def _tests(name: FieldName, text: str) -> tuple[Filter, ...]:
    """Return each test of a field that ignores the case of a text."""
    return (
        name.equals(text, ignore_case=True),
        name.in_([text, "find"], ignore_case=True),
        name.in_([text, None], ignore_case=True),
        name.contains(text, ignore_case=True),
        name.startswith(text, ignore_case=True),
        name.endswith(text, ignore_case=True),
    )


async def _named(store: Backend, where: Filter) -> set[UUID]:
    return set(ids(await stored(store, NAMES, where)))


async def _finds_itself(store: Backend) -> None:
    """Check that each document is found by its texts in another case, and by no other."""
    for row in await stored(store, NAMES):
        for name in ("name", "title"):
            if row[name] is not None:
                where = F[name].equals(str(row[name]).swapcase(), ignore_case=True)
                assert ids([row])[0] in await _named(store, where), name
    rows = await stored(store, NAMES)
    for text in ("Old", "new", "nEWER", "straSSe"):
        either = F.name.equals(text, ignore_case=True) | F.title.equals(text, ignore_case=True)
        assert await stored(store, NAMES, either) == selected(rows, either)


class TestIgnoringCase(Contract):
    """A searchable text is found whatever its case is, the same on every backend."""

    @proves("C4", "C8")
    async def test_case_is_ignored_by_one_folding(self, store: Backend) -> None:
        """Sharp s, dotted i, both sigmas, ligatures, long s, Å in its forms, Roman numerals, one word."""
        await add(store, NAMES, *ROWS)
        for group in GROUPS:
            alike = set(ids(row for row in ROWS if row["name"] in group))
            for text in group:
                assert await _named(store, F.name.equals(text, ignore_case=True)) == alike
                every = await _named(store, F.name.in_([text, "nobody here"], ignore_case=True))
                assert every == alike

    @proves("C4", "C8")
    @pytest.mark.parametrize("name", [F.name, F.title], ids=["may be None", "never None"])
    async def test_a_test_and_its_negation_share_out_what_ignores_case(
        self, store: Backend, name: FieldName
    ) -> None:
        """For equals, in_, contains, startswith and endswith, with None among the values or not."""
        await add(store, NAMES, *ROWS)
        for text in (*(group[-1] for group in GROUPS), "ASS", "ss", "İ", "Σ", "a", "\u030a", "%"):
            for test in _tests(name, text):
                both: tuple[Filter, ...] = (test, ~test)
                for where in both:
                    assert await stored(store, NAMES, where) == selected(ROWS, where), where
                assert await store.execute(CountDocuments(NAMES, ~test)) == len(
                    selected(ROWS, ~test)
                )

    @proves("C4")
    async def test_none_equals_none_only(self, store: Backend) -> None:
        """What is None has no text: it equals None, and nothing that is folded."""
        await add(store, NAMES, *ROWS)
        nobody = {identity(900)}
        assert await _named(store, F.name.equals(None, ignore_case=True)) == nobody
        assert await _named(store, F.name.in_([None], ignore_case=True)) == nobody
        assert await _named(store, ~F.name.contains("", ignore_case=True)) == nobody
        assert await _named(store, F.name.in_([], ignore_case=True)) == set()

    @proves("C4")
    async def test_every_write_keeps_the_folded_text(self, store: Backend) -> None:
        """Adding one and many, replacing, patching one, several and each: what was, is not found."""
        await add(store, NAMES, _row(1, name="Old", title="OLD"))
        await add(store, NAMES, *(_row(at, name="Old", title="OLD") for at in range(2, 60)))
        await _finds_itself(store)
        await store.execute(Replace(NAMES, (_row(1, name="NeW", title="Straße"),)))
        two = ({**_row(2, name="NEW"), "version": 2}, {**_row(3, name=None), "version": 2})
        await store.execute(Replace(NAMES, two, versions=(1, 1), atomic=False))
        await store.execute(Replace(NAMES, ({**_row(4, name="nEw"), "version": 2},), versions=(1,)))
        many = tuple({**_row(at, name="nEWER"), "version": 2} for at in range(5, 30))
        await store.execute(Replace(NAMES, many, versions=(1,) * len(many), atomic=False))
        await store.execute(Patch(NAMES, (identity(30),), (("name", "NEWER"),)))
        await store.execute(Patch(NAMES, (identity(31),), (("name", None), ("plain", "x"))))
        if store.capabilities.transactions:
            several = tuple(identity(at) for at in range(32, 40))
            await store.execute(Patch(NAMES, several, (("title", "STRASSE"), ("name", "new"))))
            each = tuple(
                Patch(NAMES, (identity(at),), (("name", f"Old{at}"),), (("tenant", 1),))
                for at in range(40, 45)
            )
            await store.execute(Patches(NAMES, each))
            assert await _named(store, F.name.equals("oLd42", ignore_case=True)) == {identity(42)}
        await store.execute(Delete(NAMES, (identity(50),)))
        await _finds_itself(store)
        assert identity(1) not in await _named(store, F.name.equals("old", ignore_case=True))
        rows = await stored(store, NAMES)
        for text in ("OLD", "NEW", "NEWER", "straße", "old4"):
            for test in (*_tests(F.name, text), *_tests(F.title, text)):
                assert await stored(store, NAMES, test) == selected(rows, test)

    @proves("C4")
    async def test_no_document_shows_what_is_kept_beside_it(self, store: Backend) -> None:
        """A document that is read, whole or in part, counted or changed has the declared fields."""
        await add(store, NAMES, *ROWS)
        assert await stored(store, NAMES) == ROWS
        assert all(tuple(each) == NAMES.names for each in await stored(store, NAMES))
        found = await store.execute(
            Find(NAMES, F.name.startswith("FIN", ignore_case=True), columns=("name",))
        )
        assert {tuple(each) for each in found} == {("name",)}
        (changed,) = await store.execute(Patch(NAMES, (identity(0),), (("name", "Z"),)))
        assert changed == {**ROWS[0], "name": "Z"}
        assert changed is not None
        assert tuple(changed) == NAMES.names
        where = F.name.contains("S", ignore_case=True)
        (group,) = await store.execute(Aggregate(NAMES, (Count(),), where, ("tenant",)))
        assert group.values == (len(selected(await stored(store, NAMES), where)),)

    @proves("C4", "C11")
    async def test_a_key_that_ignores_case_is_taken_in_every_case(self, store: Backend) -> None:
        """By each write, within its other fields; the error names the fields, and nulls never collide."""
        await add(store, NAMES, _row(1, email="Ann@x.org"), _row(2, email="bob@x.org"))
        await add(store, NAMES, _row(3, email=None), _row(4, email=None))
        await add(store, NAMES, _row(5, email="ANN@X.ORG", tenant=1))
        before = await stored(store, NAMES)
        taken = "ANN@\uff38.org"
        for op in (
            Insert(NAMES, (_row(9, email=taken),)),
            Replace(NAMES, (_row(2, email=taken),)),
            Patch(NAMES, (identity(2),), (("email", taken),)),
            Patch(NAMES, (identity(5),), (("tenant", 0),)),
        ):
            with pytest.raises(DuplicateKeyError) as error:
                await store.execute(op)
            assert error.value.fields == ("tenant", "email")
            assert "ANN" not in str(error.value).upper().replace("ANNOT", "")
            assert await stored(store, NAMES) == before
        # Its own key is free to be written in another case.
        await store.execute(Patch(NAMES, (identity(1),), (("email", "ANN@x.org"),)))
        await store.execute(Patch(NAMES, (identity(2),), (("email", None),)))
        await add(store, NAMES, _row(10, email="BOB@x.org"))
        with pytest.raises(DuplicateKeyError) as twice:
            await store.execute(
                Insert(
                    NAMES,
                    (_row(20, email="New@x.org"), _row(21, email="nEW@x.org")),
                    atomic=store.capabilities.transactions,
                )
            )
        assert twice.value.fields == ("tenant", "email")
        assert twice.value.index == 1

    @proves("C4")
    async def test_a_key_of_one_field_names_it(self, store: Backend) -> None:
        """The error has the field, beside a plain key of the same field that is another one."""
        made = things(
            Field("code", PLAIN),
            uniques=(Unique("code"), Unique("code", ignore_case=True)),
        )
        assert made.field("code").type.searchable
        await prepare(store, made, row_of(1, code="straße"))
        for taken in ("straße", "STRASSE"):
            with pytest.raises(DuplicateKeyError) as error:
                await store.execute(Insert(made, (row_of(2, code=taken),)))
            assert (error.value.fields, error.value.field) == (("code",), "code")

    @proves("C4")
    @pytest.mark.parametrize(
        "where",
        [
            F.plain.equals("a", ignore_case=True),
            ~F.plain.contains("a", ignore_case=True),
            F.plain.in_(["a"], ignore_case=True),
            F.tenant.equals(1, ignore_case=True),
            F.name.equals(F.plain, ignore_case=True),
            F.name.equals(5, ignore_case=True),
            F.name.contains("x" * 20_000, ignore_case=True),
        ],
        ids=range(7),
    )
    async def test_what_is_not_searchable_is_refused(self, store: Backend, where: Filter) -> None:
        """Before any I/O, with the field, and without a value."""
        with pytest.raises(InvalidRequestError) as error:
            await store.execute(Find(NAMES, where))  # the collection is not even there
        assert error.value.entity == "Named"
        assert error.value.field in {"plain", "tenant", "name"}

    @proves("C4")
    async def test_a_text_whose_folded_form_is_too_long_is_refused(self, store: Backend) -> None:
        """One letter may become eighteen: what fits three times over is kept, more is refused."""
        await store.execute(Ensure((NAMES,)))
        fits, beyond = "\ufdfa" * 10, "\ufdfa" * 11
        await store.execute(Insert(NAMES, (_row(1, name=fits),)))
        for op in (
            Insert(NAMES, (_row(2, name=beyond),)),
            Patch(NAMES, (identity(1),), (("name", beyond),)),
        ):
            with pytest.raises(RefusedValueError) as error:
                await store.execute(op)
            assert error.value.field == "name"
        where = F.name.equals(unicodedata.normalize("NFKC", fits), ignore_case=True)
        assert await _named(store, where) == {identity(1)}

    @proves("C4")
    async def test_what_cannot_be_kept_searchable_is_refused_where_it_is_defined(
        self, store: Backend
    ) -> None:
        """Another kind, a text without a length that can be indexed, and rules that ignore case."""
        del store
        endless = FieldType(Kind.TEXT, searchable=True)
        for kind in (
            FieldType(Kind.INTEGER, searchable=True),
            endless,
            replace(endless, max_length=641),
        ):
            with pytest.raises(ConfigurationError):
                things(Field("name", kind))
        with pytest.raises(ConfigurationError):
            things(Field("n", FieldType(Kind.INTEGER)), uniques=(Unique("n", ignore_case=True),))
        rule = F.name.equals("a", ignore_case=True)
        with pytest.raises(ConfigurationError):
            things(Field("name", SEARCHED), checks=(Check("rule", rule),))
        with pytest.raises(ConfigurationError):
            things(Field("name", SEARCHED), indexes=(Index("name", where=rule),))

    @proves("C4")
    async def test_the_definition_is_kept_and_others_keep_their_fingerprints(
        self, store: Backend
    ) -> None:
        """The store's definition says what is searchable; one that has nothing of it is as it was."""
        made = things(
            Field("name", SEARCHED),
            Field("code", PLAIN),
            uniques=(Unique("code", ignore_case=True),),
        )
        await prepare(store, made, row_of(1, name="A", code="b"))
        assert await definition_of(store, made.name) == made
        assert (await store.execute(Ensure((made,)))).present == (made.name,)
        plain = things(Field("name", PLAIN), name="contract_old")
        assert plain.stored is plain
        assert plain.fingerprint != replace(plain, fields=made.fields[:3]).fingerprint

    @proves("C4")
    async def test_the_index_of_the_folded_text_is_used(self, store: Backend) -> None:
        """For equality and a list; the plan names the index, and holds no value."""
        made = things(Field("name", SEARCHED), name="contract_fold_plans")
        rows = [row_of(at, name=f"Name {at}") for at in range(1_500)]
        await store.execute(Ensure((made,)))
        atomic = store.capabilities.transactions
        await store.execute(Insert(made, tuple(rows), atomic=atomic))
        await store.execute(RefreshStatistics(made))
        (index,) = made.index_names
        for where in (
            F.name.equals("NAME 1234", ignore_case=True),
            F.name.in_(["NAME 1", "nAME 2"], ignore_case=True),
        ):
            plan = await store.execute(ExplainFind(Find(made, where, parse_order([]), 10)))
            none = plan.native in {"", "every document, then sorted", "a walk by id"}
            assert none or plan.index == index, plan.native
            told = f"{plan.statement} {plan.native}".casefold()
            assert "name 1" not in told
            assert "name 2" not in told

    @proves("C4")
    @needs_alterations
    async def test_a_searchable_field_comes_with_its_default(self, store: Backend) -> None:
        """Documents that are there are found by it, and those without a value by none."""
        before = things(Field("code", PLAIN))
        rows = [row_of(at, code=f"c{at}") for at in range(1, 4)]
        await prepare(store, before, *rows)
        new = (
            Field("name", SEARCHED, default="Straße"),
            Field("other", SEARCHED, nullable=True),
            Field("maybe", SEARCHED, nullable=True, default="ÅSA"),
        )
        after = replace(before, fields=(*before.fields, *new))
        assert await store.execute(Alter(before, after))
        await store.execute(
            Insert(after, (row_of(9, code="x", name="n", other="STRASSE", maybe=None),))
        )
        there = ids(rows)
        for where, wanted in (
            (F.name.equals("STRASSE", ignore_case=True), there),
            (F.maybe.equals("åsa", ignore_case=True), there),
            (F.other.equals("straße", ignore_case=True), (identity(9),)),
            (~F.other.equals("straße", ignore_case=True), there),
        ):
            assert ids(await stored(store, after, where)) == wanted
        gone = replace(before, fields=(*before.fields, new[1]))
        assert await store.execute(Alter(after, gone, ChangeEffect.LOSES_DATA))
        where = F.other.equals("straße", ignore_case=True)
        assert ids(await stored(store, gone, where)) == (identity(9),)

    @proves("C4")
    @needs_alterations
    async def test_it_is_no_additive_change(self, store: Backend) -> None:
        """A field that is there is made searchable by a migration: evolving refuses, and says so."""
        before = things(Field("name", PLAIN))
        await prepare(store, before, row_of(1, name="A"))
        after = things(Field("name", SEARCHED), name=before.name)
        for one, other in ((before, after), (after, before)):
            with pytest.raises(SchemaChangeError, match="name"):
                await store.execute(Alter(one, other))
        assert await definition_of(store, before.name) == before

    @proves("C4")
    @needs_alterations
    async def test_a_searchable_field_is_renamed_with_what_is_beside_it(
        self, store: Backend
    ) -> None:
        """After that it is found by its new name, and its key holds."""
        before = things(
            Field("name", SEARCHED),
            Field("code", PLAIN),
            uniques=(Unique("code", ignore_case=True),),
        )
        await prepare(store, before, row_of(1, name="Straße", code="AB"))
        after = things(
            Field("label", SEARCHED),
            Field("mark", PLAIN),
            uniques=(Unique("mark", ignore_case=True),),
            name=before.name,
        )
        await store.execute(Rename(before, after))
        where = F.label.equals("STRASSE", ignore_case=True)
        assert ids(await stored(store, after, where)) == (identity(1),)
        with pytest.raises(DuplicateKeyError) as error:
            await store.execute(Insert(after, (row_of(2, label="x", mark="ab"),)))
        assert error.value.field == "mark"
        await store.execute(Patch(after, (identity(1),), (("label", "New"),)))
        assert not await stored(store, after, where)
