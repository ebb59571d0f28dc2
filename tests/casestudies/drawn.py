"""Measured runs, and what a dashboard draws of them."""

from datetime import timedelta
from typing import Any

from django.http import QueryDict
from django.test import Client

from casestudies.dashboards.board import Board, build
from casestudies.dashboards.forms import read_selection
from casestudies.models import Run
from tests.casestudies.making import NOON, a_finished_run

GPU = "Example GPU"
MEASURED = [
    ("perplexity", "dense", 13.0),
    ("perplexity", "wanda", 26.0),
    ("perplexity", "sparsegpt", 19.5),
    ("perplexity ratio", "magnitude", 26.0),
    ("perplexity ratio", "wanda", 2.0),
    ("perplexity ratio", "sparsegpt", 1.5),
    ("compression time", "magnitude", 2.0),
    ("compression time", "wanda", 16.0),
    ("compression time", "sparsegpt", 15.0),
    ("sparsity", "wanda", 0.5),
]
CURVE = [
    {
        "name": "perplexity by sparsity",
        "variant": "wanda",
        "settings": {},
        "points": [[0.0, 13.0], [0.5, 26.0]],
    }
]


def measured_run(hours: int = 0, **values: Any) -> Run:
    """A finished run, so many hours after the first, with two curves' worth of points."""
    finished = NOON + timedelta(hours=hours)
    return a_finished_run(measured=MEASURED, series=CURVE, finished=finished, **values)


def board(query: str = "") -> Board:
    return build(read_selection(QueryDict(query)))


def drawn(query: str = "") -> set[int]:
    """The keys of the runs in the first chart."""
    return {point.run.pk for point in board(query).plots[0].points}


def page(client: Client, query: str = "") -> str:
    response = client.get(f"/dashboards/?{query}")
    assert response.status_code == 200
    return response.content.decode()
