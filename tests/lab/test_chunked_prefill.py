"""The pipeline on paper: how long its stages wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casestudies.lab.studies.chunked_prefill.pipeline import pipelined


@given(stages=st.integers(1, 6), passes=st.integers(1, 9), seconds=st.sampled_from([0.5, 1.0, 6.0]))
def test_equal_passes_leave_only_the_bubbles_of_beginning_and_end(stages, passes, seconds) -> None:
    found = pipelined([[seconds] * passes] * stages)
    # Each stage waits for as many turns as there are other stages.
    assert sum(found.idle) == pytest.approx((stages - 1) * seconds)
    assert found.duration == pytest.approx((passes * stages + stages - 1) * seconds / stages)


def test_a_long_pass_makes_the_others_wait() -> None:
    equal = pipelined([[2, 2, 2], [2, 2, 2]])
    unequal = pipelined([[2, 3, 1], [2, 2, 2]])
    assert sum(unequal.busy) == sum(equal.busy)
    assert sum(unequal.idle) > sum(equal.idle)
