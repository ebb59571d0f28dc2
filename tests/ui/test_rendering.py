"""Rendering in processes of their own: what they may take, and when they end."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess

import psutil
import pytest

from reviewapp.limits.turns import Busy
from reviewapp.rendering import renderer
from reviewapp.rendering.scripts import EACH, script_of, sentence, undrawable
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


def drawing_all_but(lacking: str, asked: list[str]) -> Callable[[str], bytes]:
    """Return what draws a character; the lacking ones, and those for private use, as one box."""

    def draw(character: str) -> bytes:
        asked.append(character)
        boxed = character in lacking or character >= "\U000f0000"
        return b"a box" if boxed else character.encode()

    return draw


def test_of_each_script_that_no_font_has_the_first_character_is_told() -> None:
    asked: list[str] = []
    text = "aé\u3000语言 ✂ مدل\u200b א 语\U0010fffe"
    assert undrawable(text, drawing_all_but("语言مد", asked)) == "语م\U0010fffe"
    assert sorted(asked[1:]) == sorted("语✂مא\U0010fffe"), "what is there for all is not tried"
    assert undrawable("语言", drawing_all_but("言", [])) == "言"
    assert undrawable("é✂", drawing_all_but("", [])) == ""


def test_of_very_many_characters_of_a_script_some_are_tried_and_the_next_script_is_too() -> None:
    asked: list[str] = []
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 2 * EACH)))
    assert undrawable(f"{many}م", drawing_all_but(f"{many[EACH:]}م", asked)) == "م"
    assert len(asked) == 1 + EACH + 1
    assert undrawable(many, drawing_all_but(many[EACH - 1], [])) == many[EACH - 1]


def test_it_is_said_what_to_install_for_all_that_is_missing() -> None:
    assert sentence("语م") == (
        "No font here can draw Chinese characters (“语”) and Arabic (“م”): install the Debian"
        " package fonts-noto-cjk fonts-noto-core on the server, or ask for the SVG, which keeps"
        " them as text."
    )
    assert sentence("\U0010fffe").endswith(
        "private use (“\U0010fffe”): ask for the SVG, which keeps them as text."
    )
    found = {character: script_of(character) for character in "✂😀ﾓＡ"}
    assert [(script.name, script.package) for script in found.values()] == [
        ("symbols", "fonts-noto-core"),
        ("symbols", "fonts-noto-color-emoji"),
        ("Japanese", "fonts-noto-cjk"),
        ("full-width characters", "fonts-noto-cjk"),
    ]
