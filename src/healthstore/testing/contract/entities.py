"""Entities: what an instance holds is stored whole, or refused before anything is written."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, TypeVar

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    computed_field,
    field_serializer,
    model_serializer,
)

from healthstore.abc import Backend
from healthstore.entity import Entity, MaxLength, collection_of, uuid7
from healthstore.errors import (
    ConfigurationError,
    HealthstoreError,
    InvalidRequestError,
    RefusedValueError,
    UnknownFieldError,
)
from healthstore.model.ops import Ensure, Find, Get, Insert, Patch, Replace
from healthstore.model.query import F
from healthstore.model.schema import Unique
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, proves

__all__ = ("TestEntities",)

M = TypeVar("M", bound=Entity)
_WORD = "hunter2-\U0001f512"


class _Part(BaseModel):
    word: str = ""
    hidden: str = Field(default="", exclude=True)


class _Note(Entity, collection="contract_notes"):
    """Fields of its own, and what is no field: computed, cached and private."""

    email: Annotated[str, Unique(), MaxLength(50)]
    text: str = ""
    count: Annotated[int, Field(ge=0)] = 0
    data: dict[str, Any] = Field(default={})
    part: _Part = _Part()
    inner: str = Field(default="", exclude=True, repr=False)
    _seen: int = PrivateAttr(default=0)

    @computed_field(return_type=int)  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def length(self) -> int:
        """Count the text's code points."""
        return len(self.text)

    @cached_property
    def words(self) -> list[str]:
        """Split the text once."""
        return self.text.split()


class _Lax(Entity, collection="contract_lax"):
    model_config = ConfigDict(extra="ignore")

    text: str = ""


class _Special(_Note, collection="contract_special"):
    more: int = 0


class _Same(_Note):
    pass


class _Free(Entity, collection="contract_free"):
    """JSON of no type, and nothing that pydantic would have to look at."""

    data: dict[str, JsonValue] = Field(default={})
    anything: list[Any] = Field(default=[])
    numbers: list[float] = Field(default=[])


async def _notes(store: Backend) -> Repository[_Note]:
    await store.execute(Ensure((collection_of(_Note),)))
    return Repository(_Note, store)


def _writes(notes: Repository[_Note]) -> tuple[Callable[[_Note], Awaitable[object]], ...]:
    return notes.add, notes.upsert, lambda each: notes.add_many([each])


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is not None and each not in found:
            found.append(each)
            left += [each.__cause__, each.__context__]
    return found


class TestEntities(Contract):
    """Nothing is dropped without a word, and no word quotes a value."""

    @proves("V20")
    async def test_entities_share_nothing(self, store: Backend) -> None:
        """One that was asked for twice is two: a change of one does not reach the other."""
        await store.execute(Ensure((collection_of(_Free),)))
        free = Repository(_Free, store)
        given = _Free(data={"a": [1]}, anything=[{"b": 2}], numbers=[0.5])
        kept = await free.add(given)
        one, two, three = await free.get_many([kept.id, kept.id, kept.id])
        assert one is not None
        assert two is not None
        one.data["a"] = one.anything[0]["b"] = "changed"
        one.numbers.append(1.0)
        assert two == three == kept
        assert (await free.find()).items == (two,)

    async def test_what_add_returns_is_what_is_stored(self, store: Backend) -> None:
        """Values that are equal and look different are returned as they will be read."""
        await store.execute(Ensure((collection_of(_Free),)))
        free = Repository(_Free, store)
        for each in (
            _Free(data={"a": [-0.0]}),
            _Free(anything=[{"b": -0.0}]),
            _Free(numbers=[-0.0, 1.0]),
            _Free(data={"text": "-0.0"}),
        ):
            for write in (free.add, free.upsert):
                kept = await write(each.model_copy(update={"id": uuid7()}))
                assert repr(kept) == repr(await free.get(kept.id))

    async def test_what_is_no_field_is_refused(self, store: Backend) -> None:
        """A misspelt field of `model_copy` is not lost: the error names the one that was meant."""
        notes = await _notes(store)
        note = _Note(email="a@x")
        odd = note.model_copy(update={"emial": "b@x"})
        for write in _writes(notes):
            with pytest.raises(UnknownFieldError) as error:
                await write(odd)
            assert "'email'" in error.value.hint
        changes: Mapping[str, object]
        for changes in ({"emial": "b@x"}, {"email": "b@x", "length": 3}, {"words": []}):
            kept = await notes.upsert(note, on="email")
            with pytest.raises(UnknownFieldError):
                await notes.update(kept.id, changes)
        (found,) = (await notes.find()).items
        assert found.email == "a@x"

    async def test_an_error_tells_which_entity_is_refused(self, store: Backend) -> None:
        """Of many that are added: its index, from 0, in the error and in its text, and no value."""
        notes = await _notes(store)
        good = [_Note(email=f"{number}@x") for number in range(150)]
        for odd in (
            good[0].model_copy(update={"count": _WORD}),
            good[0].model_copy(update={"data": {"a": {_WORD}}}),
            good[0].model_copy(update={"emial": _WORD}),
            good[0].model_copy(update={"email": _WORD + "x" * 50}),
            _Special(email="a@x"),
        ):
            with pytest.raises(InvalidRequestError) as error:
                await notes.add_many([*good[:120], odd, *good[120:]])
            assert error.value.index == 120
            assert "_Note[120]" in str(error.value)
            assert "hunter2" not in str(error.value)
        with pytest.raises(InvalidRequestError) as alone:
            await notes.add(good[0].model_copy(update={"count": _WORD}))
        assert alone.value.index is None
        assert await notes.count() == 0

    async def test_a_missing_field_is_refused_by_name(self, store: Backend) -> None:
        """`model_construct` and `del` leave fields without a value: the error names them."""
        notes = await _notes(store)
        construct: Callable[..., _Note] = _Note.model_construct
        without = _Note(email="a@x")
        del without.text
        for odd, name in ((construct(), "email"), (without, "text")):
            for write in _writes(notes):
                with pytest.raises(InvalidRequestError) as error:
                    await write(odd)
                assert (error.value.entity, error.value.field) == ("_Note", name)
                assert name in error.value.message
        both = construct(text="x")
        del both.count
        with pytest.raises(InvalidRequestError, match="email, count"):
            await notes.add(both)
        assert await notes.count() == 0

    async def test_a_subclass_is_another_entity(self, store: Backend) -> None:
        """An instance of a subclass would come back as its parent: it is refused."""
        notes = await _notes(store)
        for odd in (_Special(email="a@x", more=5), _Special(email="a@x"), _Same(email="a@x")):
            for write in _writes(notes):
                with pytest.raises(InvalidRequestError, match=type(odd).__name__):
                    await write(odd)
        assert await notes.count() == 0

    async def test_what_is_computed_or_private_is_no_data(self, store: Backend) -> None:
        """Computed fields, cached properties and private attributes are made anew when read."""
        notes = await _notes(store)
        note = _Note(email="a@x", text="one two", inner="kept", part=_Part(word="w"))
        note._seen = 5
        assert note.words == ["one", "two"]
        for write in _writes(notes):
            await write(note)
            (found,) = (await notes.find()).items
            assert (found.text, found.inner, found.length) == ("one two", "kept", 7)
            assert found._seen == 0
            assert "words" not in vars(found)
            assert await notes.delete(found.id)

    async def test_what_a_model_inside_leaves_out_must_be_its_default(self, store: Backend) -> None:
        """A nested field with `exclude=True` is not in the JSON: a value there is refused."""
        notes = await _notes(store)
        with pytest.raises(RefusedValueError) as error:
            await notes.add(_Note(email="a@x", part=_Part(hidden="x")))
        assert error.value.field == "part"
        kept = await notes.add(_Note(email="a@x", part=_Part(word="y")))
        assert await notes.get(kept.id) == kept

    async def test_a_config_that_ignores_says_so_itself(self, store: Backend) -> None:
        """`extra="ignore"` drops what it is given when the entity is made; the store drops nothing."""
        await store.execute(Ensure((collection_of(_Lax),)))
        lax = Repository(_Lax, store)
        kept = await lax.add(_Lax.model_validate({"text": "a", "mood": 5}))
        assert await lax.get(kept.id) == kept
        with pytest.raises(UnknownFieldError):
            await lax.update(kept.id, {"mood": 5})
        with pytest.raises(UnknownFieldError):
            await lax.add(kept.model_copy(update={"mood": 5}))

    async def test_a_definition_that_would_drop_values_is_refused(self, store: Backend) -> None:
        """`extra="allow"` and serializers that the store would ignore are no part of an entity."""

        class Open(Entity, collection="contract_refused"):
            model_config = ConfigDict(extra="allow")

        class Sealed(Entity, collection="contract_refused"):
            word: str = ""

            @field_serializer("word")
            def seal(self, _: str) -> str:
                """Hide it."""
                return "*"

        class Whole(Entity, collection="contract_refused"):
            word: str = ""

            @model_serializer
            def whole(self) -> dict[str, str]:
                """Hide all of it."""
                return {}

        for entity in (Open, Sealed, Whole):
            with pytest.raises(ConfigurationError) as error:
                Repository(entity, store)
            assert error.value.entity == entity.__name__
            assert error.value.hint

    async def test_no_error_reaches_a_value(self, store: Backend) -> None:
        """Neither the text of a refusal nor any error behind it quotes what was refused."""
        notes = await _notes(store)
        kept = await notes.add(_Note(email="a@x", text=_WORD, count=3))
        other = await notes.add(_Note(email=f"{_WORD}@x"))
        wrong: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: notes.update(kept.id, {"count": _WORD}),
            lambda: notes.update(kept.id, {"email": other.email}),
            lambda: notes.update(kept.id, {"data": {_WORD: b"\xff"}}),
            lambda: notes.update(kept.id, {"data": {f"{_WORD}\ud800": 1}}),
            lambda: notes.update(kept.id, {"data": {1: _WORD}}),
            lambda: notes.update(kept.id, {"part": {"word": [_WORD]}}),
            lambda: notes.increment(kept.id, "count", -4),
            lambda: notes.increment(kept.id, "count", _WORD),
            lambda: notes.increment(kept.id, {"count": _WORD}),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # wrong
            lambda: notes.add(_Note(email="b@x", data={f"{_WORD}\udfff": 1})),
            lambda: notes.add(_Note(email="b@x", data={"a": {_WORD}})),
            lambda: notes.add(kept.model_copy(update={"count": _WORD})),
            lambda: notes.add(kept.model_copy(update={"data": _WORD})),
            lambda: notes.add(_Note(email=other.email)),
            lambda: notes.find(F.count == _WORD),
            lambda: notes.find(F.count.in_([1, _WORD])),
        )
        for call in wrong:
            with pytest.raises(HealthstoreError) as caught:
                await call()
            for error in _chain(caught.value):
                assert "hunter2" not in f"{error!s} {error!r} {vars(error)}"
        assert await notes.get(kept.id) == kept

    async def test_a_field_is_named_by_a_text(self, store: Backend) -> None:
        """What is no name is refused as such, wherever a field is named."""
        notes = await _notes(store)
        kept = await notes.add(_Note(email="a@x"))
        odd: Any = {"count": 1}
        calls: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: notes.increment(kept.id, odd),
            lambda: notes.increment(kept.id, odd, 2),
            lambda: notes.update(kept.id, {5: 1}),  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType, reportCallIssue]  # wrong
            lambda: notes.upsert(kept, on=[odd]),
            lambda: notes.find(order=[odd]),
            lambda: notes.aggregate(group=[odd]),
        )
        for call in calls:
            with pytest.raises(InvalidRequestError):
                await call()
        assert await notes.get(kept.id) == kept

    async def test_an_upsert_without_a_key_says_so(self, store: Backend) -> None:
        """An empty list names no field: the error says that, and what to write."""
        notes = await _notes(store)
        empty: tuple[Sequence[str], ...] = ([], ())
        for none in empty:
            with pytest.raises(InvalidRequestError, match="no key") as error:
                await notes.upsert(_Note(email="a@x"), on=none)
            assert "id" in error.value.hint
        assert await notes.count() == 0

    async def test_an_operation_can_be_pickled(self, store: Backend) -> None:
        """Requests, definitions, pages and entities go to another process as they are."""
        notes = await _notes(store)
        kept = await notes.add(_Note(email="a@x"))
        collection = notes.collection
        (document,) = await store.execute(Find(collection))
        requests = (
            Ensure((collection,)),
            Get(collection, (kept.id,)),
            Insert(collection, (document,)),
            Replace(collection, (document,), (1,)),
            Patch(collection, (kept.id,), (("text", "b"),), (("version", 1),)),
            Find(collection, (F.email == "a@x") & ~F.text.in_(["b", None]), limit=5),
        )
        for each in (*requests, collection, await notes.find(limit=1), kept):
            assert pickle.loads(pickle.dumps(each)) == each  # noqa: S301 - our own
            assert copy.deepcopy(each) == each
        again = pickle.loads(pickle.dumps(requests[-1]))  # noqa: S301 - our own
        assert await store.execute(again) == (document,)
