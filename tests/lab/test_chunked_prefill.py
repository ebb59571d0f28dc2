"""The pipeline on paper: how long its stages wait."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from casestudies.lab.serving.arrivals import Request
from casestudies.lab.serving.carrying import PricedPasses
from casestudies.lab.serving.policies import iteration_level
from casestudies.lab.studies.chunked_prefill.about import ChunkedPrefillParameters
from casestudies.lab.studies.chunked_prefill.pipeline import pipelined
from casestudies.lab.studies.chunked_prefill.study import Trace, in_pipeline
from tests.lab.tiny import talkative_model


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


def test_each_batch_of_the_pipeline_serves_the_requests_from_elsewhere_on() -> None:
    p = ChunkedPrefillParameters(stages=2).model_copy(update={"slots": 1})
    requests = [Request(torch.zeros(prompt, dtype=torch.long), 1) for prompt in (1, 2, 4, 8)]
    trace = Trace(p, talkative_model(), requests, [0.0] * 4)
    a_second_a_token = PricedPasses(0.0, 0.0, 1.0)
    found = in_pipeline(trace, iteration_level, a_second_a_token)
    assert found == pipelined([[1, 2, 4, 8], [4, 8, 1, 2]])
    assert found != pipelined([[1, 2, 4, 8], [1, 2, 4, 8]])
