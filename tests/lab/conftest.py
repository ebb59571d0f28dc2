"""Which studies the smoke run has to be of: those that the chosen tests look at."""

import pytest

from tests.lab import smoke


def pytest_collection_finish(session: pytest.Session) -> None:
    """Take note of the studies that tests share the smoke run of."""
    groups = (item.get_closest_marker("xdist_group") for item in session.items)
    smoke.asked_for.update(group.kwargs["study"] for group in groups if group and group.kwargs)
