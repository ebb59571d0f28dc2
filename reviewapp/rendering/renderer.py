"""SVG to PNG and PDF, in a process of its own, limited in time and memory.

The converter holds the interpreter's lock as long as it works: in a web process nothing else
would answer meanwhile. The process starts in a tenth of a second, and the kernel ends it with
its parent.
"""

import logging
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from reviewapp.limits.turns import Busy, Turns
from reviewapp.rendering import scripts

SECONDS = 10  # of processor time that one rendering may take; so long the next waits for its turn
PATIENCE = 3 * SECONDS  # by the clock: a busy machine is no fault of the file
MEMORY = 768 * 2**20  # an image of 50 million pixels takes 430 MB

# What Python may need to start; the site's secrets stay behind.
_ALLOWED = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH")
_UNDRAWABLE = 3  # exit status: characters that no font has are on standard output
_SVG = "http://www.w3.org/2000/svg"
_CHECKOUT = Path(__file__).resolve().parents[2]
_PROCESS = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", __name__]
_turns = Turns(running=1, waiting=2)  # of each web process
_logger = logging.getLogger(__name__)


class NotRendered(ValueError):
    """The rendering took too long or failed, or has no font; the message says what to do."""


def png(svg: str, dpi: float) -> bytes:
    """Return the SVG as a PNG, where one inch is 96 of its pixels. Raises Busy, NotRendered."""
    return _rendered(svg, "png", str(dpi))


def pdf(svg: str) -> bytes:
    """Return the SVG as a PDF of one page, every pixel a point. Raises Busy, NotRendered."""
    return _rendered(svg, "pdf")


def _rendered(svg: str, *arguments: str) -> bytes:
    with _turns.turn(SECONDS):
        try:
            ended = subprocess.run(
                [*_PROCESS, str(SECONDS), *arguments],
                input=svg.encode(),
                capture_output=True,
                check=False,
                cwd=_CHECKOUT,
                env={name: os.environ[name] for name in _ALLOWED if name in os.environ},
                timeout=PATIENCE,
            )
        except OSError as error:
            _logger.error("no rendering can be started: %s", error)
            raise Busy from None
        except subprocess.TimeoutExpired:
            raise Busy from None
    if ended.returncode == -signal.SIGPROF:
        raise NotRendered(
            f"Rendering it takes more than {SECONDS} s. Ask for fewer dpi, or for the SVG."
        )
    if ended.returncode == _UNDRAWABLE:
        raise NotRendered(scripts.sentence(ended.stdout.decode()))
    if ended.returncode:
        last_words = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        reason = last_words or f"exit status {ended.returncode}"
        _logger.warning("a rendering ended early: %s", reason)
        raise NotRendered(f"Rendering it ended early: {reason}. Ask for fewer dpi, or for the SVG.")
    return ended.stdout


def _undrawable(svg: str) -> str:
    import vl_convert

    root = ET.fromstring(svg)  # noqa: S314 - the site's own drawing
    family = root.get("font-family", "sans-serif")

    def draw(character: str) -> bytes:
        small = ET.Element("svg", {"xmlns": _SVG, "width": "20", "height": "20"})
        text = ET.SubElement(small, "text", {"x": "2", "y": "15", "font-family": family})
        text.text = character
        drawn: bytes = vl_convert.svg_to_png(ET.tostring(small, encoding="unicode"))
        return drawn

    shown = root.iter(f"{{{_SVG}}}text")
    return scripts.undrawable("".join("".join(text.itertext()) for text in shown), draw)


def _main(seconds: str, kind: str, *dpi: str) -> None:
    """Render standard input to standard output; SIGPROF ends it after so much processor time."""
    signal.setitimer(signal.ITIMER_PROF, float(seconds))
    import vl_convert

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.nice(10)  # pages are answered, and runs measured, first
    svg = sys.stdin.buffer.read().decode()
    if missing := _undrawable(svg):
        sys.stdout.buffer.write(missing.encode())
        sys.exit(_UNDRAWABLE)
    if kind == "png":
        rendered = vl_convert.svg_to_png(svg, scale=72 / 96, ppi=float(*dpi))
    else:
        rendered = vl_convert.svg_to_pdf(svg)
    sys.stdout.buffer.write(rendered)


if __name__ == "__main__":
    _main(*sys.argv[1:])
