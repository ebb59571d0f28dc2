"""Rendering in processes of their own: what they may take, and when they end."""

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess

import psutil
import pytest

from reviewapp.limits.turns import Busy
from reviewapp.rendering import renderer
from tests.waiting import alive, wait_until

SECONDS_TO_END = 5


def svg(width: int, height: int, content: str = "") -> str:
    size = f'width="{width}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><rect {size}/>{content}</svg>'


SMALL = svg(96, 48)
ENORMOUS = svg(96_000, 48_000)
# Minutes of work, of which the limit allows a few seconds.
ENDLESS = svg(
    4000,
    4000,
    '<filter id="noise"><feTurbulence baseFrequency="0.1" numOctaves="1000"/></filter>'
    '<rect width="4000" height="4000" filter="url(#noise)"/>',
)


def renderers(parent: BaseProcess | None = None) -> list[psutil.Process]:
    """The processes that render for `parent`, or for this process."""
    children = psutil.Process(parent.pid if parent else None).children()
    return [child for child in children if child.cmdline()[1:3] == ["-m", renderer.__name__]]


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is all that a rendering may take."""
    monkeypatch.setattr(renderer, "SECONDS", 1)


@pytest.fixture
def web_process() -> Iterator[BaseProcess]:
    """A process that renders without end."""
    process = multiprocessing.get_context("spawn").Process(
        target=renderer.png, args=(ENDLESS, 96), daemon=True
    )
    process.start()
    yield process
    process.kill()
    process.join()


def test_what_takes_too_long_is_ended_and_says_what_to_do(one_second: None) -> None:
    began = time.monotonic()
    with pytest.raises(renderer.NotRendered, match=r"more than 1 s\. Ask for fewer dpi"):
        renderer.png(ENDLESS, 96)
    assert time.monotonic() - began < renderer.PATIENCE
    assert renderers() == []
    assert renderer.pdf(SMALL).startswith(b"%PDF"), "and the next has its turn"


def test_its_process_gets_what_python_may_need_to_start_and_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LD_LIBRARY_PATH", "PYTHONPATH", "SECRET_KEY", "DATABASE_URL", "PGPASSWORD"):
        monkeypatch.setenv(name, "told")
    monkeypatch.setattr(renderer, "_PROCESS", ["sh", "-c", "env"])
    environment = renderer.pdf(SMALL).decode().split("\n")
    told = {line for line in environment if line.endswith("=told")}
    assert told == {"LD_LIBRARY_PATH=told", "PYTHONPATH=told"}


def test_a_machine_too_busy_to_render_is_not_the_fault_of_the_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(renderer, "PATIENCE", 0.5)
    with pytest.raises(Busy):
        renderer.png(ENDLESS, 96)
    assert renderers() == []


def test_what_takes_too_much_memory_is_refused_with_the_reason() -> None:
    with pytest.raises(renderer.NotRendered, match=r"memory.*Ask for fewer dpi"):
        renderer.png(ENORMOUS, 96)
    assert renderer.png(SMALL, 96).startswith(b"\x89PNG")


def test_a_renderer_ends_with_the_web_process(web_process: BaseProcess) -> None:
    wait_until(lambda: renderers(web_process))
    (renderer,) = renderers(web_process)
    web_process.kill()
    wait_until(lambda: not alive(renderer.pid), SECONDS_TO_END)


def test_a_renderer_that_is_killed_is_told_of() -> None:
    with ThreadPoolExecutor() as threads:
        rendered = threads.submit(renderer.png, ENDLESS, 96)
        wait_until(renderers)
        renderers()[0].kill()
        with pytest.raises(renderer.NotRendered, match="ended early"):
            rendered.result()
