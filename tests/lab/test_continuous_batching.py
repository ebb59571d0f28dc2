"""Where throughputs are compared at equal latency."""

import pytest

from casestudies.lab.studies.continuous_batching.points import Point, rate_at

POINTS = [Point(0, 1), Point(100, 2), Point(200, 4)]


@pytest.mark.parametrize(
    ("latency", "rate"),
    [
        pytest.param(1.5, 50, id="between two points"),
        pytest.param(2, 100, id="at a point"),
        pytest.param(3, 150, id="in the last piece"),
        pytest.param(4, 200, id="at the last point"),
        pytest.param(4.1, None, id="never reached"),
    ],
)
def test_throughput_is_read_at_a_latency(latency: float, rate: float | None) -> None:
    assert rate_at(latency, POINTS) == rate


def test_of_several_throughputs_with_a_latency_the_highest_counts() -> None:
    assert rate_at(3, [*POINTS, Point(300, 2), Point(400, 4)]) == 350
