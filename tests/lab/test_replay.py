"""Replays of events: each worker in its order, as soon as it can; and the most that they bear."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.replay.events import Event, Stuck, replay
from casestudies.lab.replay.search import highest


@st.composite
def workers_with_events(draw: st.DrawFn) -> list[list[Event]]:
    """Workers whose events wait for some of those with smaller names, so that all can end."""
    workers: list[list[Event]] = [[] for _ in range(draw(st.integers(1, 4)))]
    for name in range(draw(st.integers(0, 12))):
        after = draw(st.sets(st.integers(0, name - 1), max_size=3)) if name else set()
        event = Event(name, draw(st.integers(0, 5)), tuple(after))
        draw(st.sampled_from(workers)).append(event)
    return workers


@settings(max_examples=200)
@given(workers=workers_with_events())
def test_an_event_ends_when_the_longest_way_to_it_does(workers: list[list[Event]]) -> None:
    before: dict[object, tuple[Event, tuple[object, ...]]] = {}
    for events in workers:
        for n, event in enumerate(events):
            own = (events[n - 1].name,) if n else ()
            before[event.name] = event, (*event.after, *own)

    @cache
    def end(name: object) -> float:
        event, earlier = before[name]
        return max(map(end, earlier), default=0) + event.duration

    found = replay(workers)
    assert found.ends == {name: end(name) for name in before}
    assert found.duration == max(map(end, before), default=0)
    for events, busy, idle in zip(workers, found.busy, found.idle, strict=True):
        assert busy == sum(event.duration for event in events)
        assert busy + idle == found.duration
    whole = found.duration * len(workers)
    assert found.idle_share * whole == pytest.approx(sum(found.idle))


def test_what_can_never_begin_and_what_stands_twice_is_named() -> None:
    waits = [[Event("a", 1, after=("b",))], [Event("b", 1, after=("a",))]]
    with pytest.raises(Stuck, match="'a' waits for 'b'"):
        replay(waits)
    with pytest.raises(Stuck, match="'a' waits for 'nothing'"):
        replay([[Event("a", 1, after=("nothing",))]])
    with pytest.raises(ValueError, match="two events are named 'a'"):
        replay([[Event("a", 1)], [Event("a", 2)]])


@given(limit=st.floats(0.5, 9), halvings=st.integers(1, 20))
def test_the_highest_number_is_found_as_closely_as_it_is_halved(limit, halvings) -> None:
    found = highest(lambda number: number <= limit, 1.0, 8.0, halvings)
    if limit < 1:
        assert found == 0
    else:
        assert found <= limit
        assert found * 8 ** (0.5**halvings) >= min(limit, 8) * (1 - 1e-9)
