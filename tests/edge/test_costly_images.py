"""Costly images: the site answers meanwhile, and who cannot have one is told at once."""

import struct
import time
from concurrent.futures import Future, ThreadPoolExecutor
from email.message import Message
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from tests.corpus.prisma_flows import with_reasons
from tests.edge.site import Site

pytestmark = pytest.mark.xdist_group("edge")
TOKEN = "a" * 32
SECONDS_AT_MOST = 3


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes
    seconds: float


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


def test_the_site_answers_while_ten_ask_for_a_costly_image(site: Site) -> None:
    address, text = f"http://127.0.0.1:{site.port}", with_reasons(1500)
    with ThreadPoolExecutor(10) as threads:
        images = [
            threads.submit(ask, f"{address}/prisma/import/", text=text, export="png", dpi=100)
            for _ in range(10)
        ]
        assert slowest_health(f"{address}/healthz", images) < SECONDS_AT_MOST
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
    assert ask(f"{address}/prisma/export.png").status == 200, "afterwards as before"
