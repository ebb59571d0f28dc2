"""Costly images: what they may take, and that the site answers meanwhile, on a real server."""

import csv
import io
import struct
import time
from concurrent.futures import Future, ThreadPoolExecutor
from email.message import Message
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from reviewapp.corpus.prisma.csv_file import write
from reviewapp.corpus.prisma.flow import Flow
from reviewapp.rendering import renderer

TOKEN = "a" * 32
SECONDS_AT_MOST = 3


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes
    seconds: float


def with_reasons(count: int) -> str:
    """A CSV that lists so many reasons for exclusion, each of them a line of the diagram."""
    rows = list(csv.reader(io.StringIO(write(Flow()).decode())))
    for row in rows:
        if row[0] == "dbr_excluded":
            row[7] = ";".join(f"r{n},{n}" for n in range(count))
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def ask(url: str, **posted: str | int) -> Answer:
    headers = {"Cookie": f"csrftoken={TOKEN}", "X-CSRFToken": TOKEN}
    request = Request(url, urlencode(posted).encode() if posted else None, headers)  # noqa: S310
    began = time.monotonic()
    try:
        answer = urlopen(request)  # noqa: S310
    except HTTPError as error:
        answer = error
    with answer:
        return Answer(answer.status, answer.headers, answer.read(), time.monotonic() - began)


def slowest_health(url: str, meanwhile: list[Future[Answer]]) -> float:
    """The longest that /healthz takes to say that all is well, until all `meanwhile` are done."""
    longest = 0.0
    while not all(future.done() for future in meanwhile):
        answer = ask(url)
        assert answer.status == 200
        longest = max(longest, answer.seconds)
    return longest


def test_the_site_answers_while_ten_ask_for_a_costly_image(
    live_server: LiveServer, review: None
) -> None:
    text = with_reasons(1500)
    with ThreadPoolExecutor(10) as threads:
        images = [
            threads.submit(ask, f"{live_server}/prisma/import/", text=text, export="png", dpi=100)
            for _ in range(10)
        ]
        assert slowest_health(f"{live_server}/healthz", images) < SECONDS_AT_MOST
    answers = [image.result() for image in images]
    drawn = [answer.body for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status != 200]
    assert drawn
    assert min(answer.seconds for answer in refused) < SECONDS_AT_MOST, "told at once"
    for body in drawn:
        width, height = struct.unpack(">II", body[16:24])
        assert body.startswith(b"\x89PNG")
        assert height > 1500 * 15 > width
    for answer in refused:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "Try again in" in answer.body.decode()
    assert ask(f"{live_server}/prisma/export.png").status == 200, "afterwards as before"


def test_an_image_over_a_limit_is_a_400_that_says_what_to_do(
    client: Client, review: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"text": with_reasons(5000), "export": "png"}
    response = client.post("/prisma/import/", {**asked, "dpi": 600})
    assert response.status_code == 400
    page = response.content.decode()
    assert "dpi (50,000,000 pixels); the SVG is sharp at any size." in page
    monkeypatch.setattr(renderer, "SECONDS", 0.2)
    response = client.post("/prisma/import/", {**asked, "dpi": 100})
    assert response.status_code == 400
    assert "more than 0.2 s. Ask for fewer dpi, or for the SVG." in response.content.decode()
