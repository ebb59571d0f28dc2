"""What tests that run in parallel rely on."""

import pytest


@pytest.mark.xdist_group("example")
def test_tests_of_one_group_go_to_one_process(request: pytest.FixtureRequest) -> None:
    in_parallel = hasattr(request.config, "workerinput")
    # It is by this ending that xdist knows a group; without it, it divides the tests silently.
    assert request.node.nodeid.endswith("@example") is in_parallel
