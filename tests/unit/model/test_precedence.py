"""Order among things that refer to each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from healthstore.model.precedence import children_first, circular

THINGS = st.integers(0, 9)
GRAPHS = st.dictionaries(THINGS, st.sets(THINGS))


@given(GRAPHS)
def test_nothing_comes_before_what_refers_to_it(graph: dict[int, set[int]]) -> None:
    """Each thing is in one group, or left over; no later group refers to it, nor what is left."""
    groups, left = children_first(graph)
    assert sorted([each for group in groups for each in group] + left) == sorted(graph)
    gone: set[int] = set()
    for group in groups:
        gone |= set(group)
        for each in graph.keys() - gone:
            assert not graph[each] & set(group) - {each}
    for each in left:
        assert any(each in graph[other] for other in left if other != each)


@given(GRAPHS)
def test_without_its_circles_everything_has_an_order(graph: dict[int, set[int]]) -> None:
    """What is circular is reached from what is circular, and is all that stands in the way."""
    circles = circular(graph)
    opened = {
        each: parents - circles if each in circles else parents for each, parents in graph.items()
    }
    assert children_first(opened)[1] == []
    for each in circles:
        assert any(each in graph[other] for other in circles if other != each)
        assert graph[each] & circles - {each}


def test_a_long_chain_needs_no_recursion() -> None:
    """A hundred thousand generations are put in order."""
    size = 100_000
    groups, left = children_first({each: {each + 1} for each in range(size)})
    assert [len(group) for group in groups] == [1] * size
    assert left == []
