"""Parts of JSON that are written by their paths: what is set, what is made, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

import pytest
from pydantic import BaseModel, Field, JsonValue

from healthstore.abc import Backend
from healthstore.entity import Entity, collection_of, uuid7
from healthstore.errors import (
    HealthstoreError,
    IntegrityError,
    InvalidRequestError,
    NotFoundError,
    Outcome,
    RefusedValueError,
    StaleVersionError,
)
from healthstore.model.ops import Ensure
from healthstore.model.query import F, FieldPart, Part
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, proves

__all__ = ("TestPartChanges",)


class _Address(BaseModel):
    city: str
    floors: int = 1


class _Chart(Entity, collection="contract_charts"):
    name: str = ""
    data: dict[str, JsonValue] | None = None
    steps: list[JsonValue] = Field(default=[])
    home: _Address = _Address(city="Bonn")


class _Other(Entity, collection="contract_other_charts"):
    data: dict[str, JsonValue] = Field(default={})


async def _charts(store: Backend) -> Repository[_Chart]:
    await store.execute(Ensure((collection_of(_Chart),)))
    return Repository(_Chart, store)


class TestPartChanges(Contract):
    """``update(id, {F.data["a"]["b"]: 1})`` sets that part, and no other."""

    @proves("J9")
    async def test_a_part_is_set_and_the_rest_stays(self, store: Backend) -> None:
        """By keys of any text and by places; what equals it in Python only is set, too."""
        charts = await _charts(store)
        data: dict[str, JsonValue] = {"a": {"b": 1, "c": [1, {"d": None}]}, "kept": "ä"}
        chart = await charts.add(_Chart(name="x", data=data, steps=[1, 2]))
        changes: tuple[tuple[FieldPart, JsonValue], ...] = (
            (F.data["a"]["b"], True),  # equal to 1
            (F.data["a"]["c"][1]["d"], 1.5),
            (F.data["a"]["c"][0], [{"x": []}]),
            (F.data["kept"], None),
            (F.data["$set"], {"a.b": 1}),
            (F.data["a.b"]["ü -"], 'quote " and \\'),
            (F.data[""], -1),
        )
        for at, (path, value) in enumerate(changes, 2):
            after = await charts.update(chart.id, {path: value})
            assert after.version == at
        wanted = {
            "a": {"b": True, "c": [[{"x": []}], {"d": 1.5}]},
            "kept": None,
            "$set": {"a.b": 1},
            "a.b": {"ü -": 'quote " and \\'},
            "": -1,
        }
        found = await charts.get(chart.id)
        assert found is not None
        assert (found.data, found.steps, found.name) == (wanted, [1, 2], "x")
        assert cast("dict[str, dict[str, object]]", found.data)["a"]["b"] is True
        assert await charts.count(F.data["a"]["b"] == True) == 1  # noqa: E712 - a filter

    @proves("J9")
    async def test_what_is_missing_on_the_way_is_made(self, store: Backend) -> None:
        """Of a field that is None, of a null and of nothing an object is made, and of nothing else."""
        charts = await _charts(store)
        chart = await charts.add(_Chart(steps=[{"n": None}]))
        after = await charts.update(
            chart.id, {F.data["a"]["b"]["c"]: 1, F.steps[0]["n"]["m"]: 2, "name": "y"}
        )
        assert after.data == {"a": {"b": {"c": 1}}}
        assert after.steps == [{"n": {"m": 2}}]
        assert after.name == "y"
        wrong = (
            F.data["a"]["b"]["c"]["d"],  # through a number
            F.data["a"][0],  # an object has no places
            F.data["a"]["new"][0],  # nothing has none, either
            F.steps[1],
            F.steps["0"],
        )
        for path in wrong:
            with pytest.raises(IntegrityError) as refused:
                await charts.update(chart.id, {path: 7, "name": "z"})
            assert type(refused.value) is IntegrityError
            assert refused.value.field == path.name
            assert refused.value.backend == store.name
            assert refused.value.outcome is Outcome.NOT_APPLIED
        assert await charts.get(chart.id) == after

    @proves("J9")
    async def test_writers_of_several_parts_lose_nothing(self, store: Backend) -> None:
        """Each of many at once sets its own part, and all of them are there."""
        charts = await _charts(store)
        chart = await charts.add(_Chart(data={"n": {}}))
        await asyncio.gather(
            *(charts.update(chart.id, {F.data["n"][str(at)]: at}) for at in range(8))
        )
        found = await charts.get(chart.id)
        assert found is not None
        assert found.data == {"n": {str(at): at for at in range(8)}}
        assert found.version == 9
        with pytest.raises(StaleVersionError):
            await charts.update(chart.id, {F.data["n"]: None}, version=8)
        with pytest.raises(NotFoundError):
            await charts.update(uuid7(), {F.data["n"]: None})

    @proves("J9")
    async def test_a_part_has_the_type_of_its_field(self, store: Backend) -> None:
        """What the field's type refuses as a whole is not written in part."""
        charts = await _charts(store)
        chart = await charts.add(_Chart())
        after = await charts.update(chart.id, {F.home["city"]: "Ulm"})
        assert after.home == _Address(city="Ulm")
        for path, value in (
            (F.home["city"], 7),
            (F.home["floors"], "many"),
            (F.home["city"], None),
        ):
            with pytest.raises(RefusedValueError) as refused:
                await charts.update(chart.id, {path: value})
            assert refused.value.field is not None
            assert refused.value.field.startswith("home")
        assert await charts.get(chart.id) == after

    @proves("J9")
    async def test_what_has_no_meaning_is_refused_first(self, store: Backend) -> None:
        """Whole and part at once, another entity's field, no JSON, no value: before any I/O."""
        charts = Repository(_Chart, store)  # of a document that is not there: nobody looks
        other = FieldPart("data", _Other, Part(("a",)))
        wrong: tuple[tuple[Mapping[object, object], type[HealthstoreError]], ...] = (
            ({"data": {}, F.data["a"]: 1}, InvalidRequestError),
            ({F.data["a"]: {}, F.data["a"]["b"]: 1}, InvalidRequestError),
            ({F.data["a"]: 1, F["data"]["a"]: 2}, InvalidRequestError),
            ({other: 1}, InvalidRequestError),
            ({F.name["a"]: 1}, InvalidRequestError),
            ({F.version["a"]: 1}, InvalidRequestError),
            ({F.nothing["a"]: 1}, InvalidRequestError),
            ({F.data[-1]: 1}, InvalidRequestError),
            ({F.data["x" * 257]: 1}, InvalidRequestError),
            ({F.data["a"]: F.name}, InvalidRequestError),
            ({F.name: "a"}, InvalidRequestError),
            ({7: "a"}, InvalidRequestError),
            ({F.data["a"]: object()}, RefusedValueError),
            ({F.data["a"]: float("nan")}, RefusedValueError),
            ({F.data["a"]: 2**63}, RefusedValueError),
            ({F.data["a"]: "\x00"}, RefusedValueError),
        )
        for changes, kind in wrong:
            with pytest.raises(kind) as refused:
                await charts.update(uuid7(), cast("Mapping[str | FieldPart, object]", changes))
            assert type(refused.value) is not NotFoundError
            assert refused.value.entity == "_Chart"
