"""Every address of the site, with a thing that exists where the address names one."""

import re

from django.urls import URLPattern, get_resolver

PLACE = re.compile(r"\(\?P<(\w+)>[^)]*\)|<(?:\w+:)?(\w+)>")


def every_address(run: int) -> list[str]:
    """Return them all, those that take no GET included; `run` is the number of a stored run."""
    patterns = [one for one in get_resolver().url_patterns if isinstance(one, URLPattern)]
    return [f"/{_filled(str(one.pattern), run)}" for one in patterns]


def _filled(route: str, run: int) -> str:
    things = {
        "pk": str(run),
        "key": "frantar2023sparsegpt",
        "code": "frantar2023sparsegpt-0",
        "slug": "sparsegpt" if "studies/" in route else "pruning",
        "extension": "csv",
    }
    filled = PLACE.sub(lambda found: things[found[1] or found[2]], route)
    return filled.strip("^$").replace("\\.", ".").replace(r"[\s\S]+", "nothing")
