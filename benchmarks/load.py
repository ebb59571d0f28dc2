"""How long pages take while many ask for them: `python -m benchmarks.load ADDRESS [CLIENTS]`.

The site has to run already, `make run` or another, with a run in it as every site has from its
first start. So many clients at a time, 32 unless told, ask for each page for 15 s; then two do,
while 50 viewers of a run ask for its news as its page does. Where clients and site share a machine
its cores are busy: only figures of one sitting compare.
"""

import http.client
import itertools
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

CLIENTS, VIEWERS, SECONDS, WARM = 32, 50, 15.0, 5
SECONDS_BETWEEN_NEWS = 2.0  # as the page has it
PAGES = (
    "/publications/",
    "/publications/?strategy=pruning&class=inference",
    "/compare/?strategies=distillation,pruning,quantization",
    "/taxonomy/quantization/",
    "/case-studies/",
    "/healthz",
)
NEWS = "/runs/1/news.json"


@dataclass(frozen=True)
class Answers:
    """The seconds of each answer to one client, and how many were errors."""

    seconds: list[float]
    errors: int


def main(address: str, clients: int) -> int:
    """Print the times of each page; return 1 if an answer was an error."""
    host = urlsplit(address).netloc
    print(f"{'page':56} {'answers':>7} {'a second':>9} {'median':>8} {'p95':>8} {'errors':>6}")
    failed = 0
    for page in PAGES:
        ask(host, page, itertools.repeat(0, WARM))
        failed += report(page, together(host, page, clients), SECONDS)
    over, begun = threading.Event(), time.monotonic()
    with ThreadPoolExecutor(VIEWERS) as viewers:
        try:
            watching = [
                viewers.submit(ask, host, NEWS, pauses(over.is_set, SECONDS_BETWEEN_NEWS))
                for _ in range(VIEWERS)
            ]
            for page in PAGES:
                failed += report(f"{page}, {VIEWERS} viewers", together(host, page, 2), SECONDS)
        finally:
            over.set()
    failed += report(NEWS, [one.result() for one in watching], time.monotonic() - begun)
    return int(failed > 0)


def together(host: str, page: str, clients: int) -> list[Answers]:
    """Return what each of the clients met that ask at the same time, without a pause."""
    end = time.monotonic() + SECONDS
    with ThreadPoolExecutor(clients) as pool:
        asking = [
            pool.submit(ask, host, page, pauses(lambda: time.monotonic() >= end))
            for _ in range(clients)
        ]
        return [one.result() for one in asking]


def pauses(over: Callable[[], bool], seconds: float = 0) -> Iterator[float]:
    """Yield how long to wait before asking again, until it is over."""
    while not over():
        yield seconds


def ask(host: str, page: str, waits: Iterator[float]) -> Answers:
    """Ask for the page once for each wait, on a connection that stays open as a browser's does."""
    seconds, errors = [], 0
    with closing(http.client.HTTPConnection(host, timeout=60)) as connection:
        for wait in waits:
            time.sleep(wait)
            begun = time.monotonic()
            try:
                connection.request("GET", page)
                answer = connection.getresponse()
                answer.read()
                errors += answer.status != http.HTTPStatus.OK
            except (OSError, http.client.HTTPException):
                connection.close()
                errors += 1
            seconds.append(time.monotonic() - begun)
    return Answers(seconds, errors)


def report(name: str, asked: list[Answers], duration: float) -> int:
    """Print what was asked in so many seconds as a line, and return the number of errors."""
    seconds = sorted(second for one in asked for second in one.seconds)
    errors = sum(one.errors for one in asked)
    p95 = seconds[int(0.95 * (len(seconds) - 1))]
    rate = len(seconds) / duration
    print(
        f"{name:56} {len(seconds):>7} {rate:>9.1f} {statistics.median(seconds):>6.2f} s"
        f" {p95:>6.2f} s {errors:>6}",
        flush=True,
    )
    return errors


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else CLIENTS))
