"""An emulated link: when what was sent arrives, and how long a rank waits for it."""

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from casestudies.lab.distributed.alone import alone_among
from casestudies.lab.distributed.link import Link, SlowTraffic

SENT = st.lists(st.tuples(st.floats(0, 10), st.integers(0, 5000)), min_size=1, max_size=30)


@given(SENT, st.floats(1, 1e4), st.floats(0, 1), st.floats(0, 1e4))
def test_no_span_carries_more_than_the_rate_and_a_burst(pauses, rate, delay, burst) -> None:
    link = Link(rate, delay, burst)
    now, left = 0.0, []
    for pause, size in pauses:
        now += pause
        arrived = link.arrival(size, now)
        assert arrived >= now + delay
        left.append((now, arrived - delay, size))
    times = [time for _, time, _ in left]
    assert times == sorted(times)
    for first, (sent, _, _) in enumerate(left):
        carried = 0
        for _, gone, size in left[first:]:
            carried += size
            assert carried <= burst + rate * (gone - sent) + 1e-6 * (rate + carried)


@given(st.integers(1, 10**9), st.floats(1, 1e9), st.floats(0, 1), st.floats(0, 1e6))
def test_an_idle_link_is_as_fast_as_its_bandwidth_and_delay_say(size, rate, delay, burst) -> None:
    link = Link(rate, delay, burst)
    slack = 1e-9 * (size + burst) / rate  # of floating point
    expected = max(0.0, size - burst) / rate + delay
    assert link.arrival(size, 0.0) == pytest.approx(expected, rel=1e-6, abs=slack)
    # A message that finds the link busy waits for it, and for no delay but its own.
    expected = max(0.0, 2 * size - burst) / rate + delay
    assert link.arrival(size, 0.0) == pytest.approx(expected, rel=1e-6, abs=slack)


def test_a_rank_waits_for_the_bytes_that_it_sends() -> None:
    waits: list[float] = []
    link = Link(rate=100, delay=0.5)
    with alone_among(2), SlowTraffic(link, clock=lambda: 10.0, wait=waits.append) as traffic:
        dist.all_reduce(torch.ones(12))
        dist.send(torch.ones(10), 1)
        dist.barrier()
    assert traffic.bytes_sent == 48 + 40
    assert waits == pytest.approx([0.48 + 0.5, 0.48 + 0.4 + 0.5])
    assert str(link) == "emulated link, 0.0001 MB/s, 500 ms"
