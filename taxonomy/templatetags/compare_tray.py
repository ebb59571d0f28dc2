"""Template tags of the compare tray: the bar on every page, and the button that fills it."""

from typing import Any

from django import template
from django.contrib.messages import get_messages
from django.middleware.csrf import get_token
from django.template.context import Context

from taxonomy.comparison.selection import FEWEST, MOST, TRAY_KINDS
from taxonomy.comparison.tray import Tray

register = template.Library()


@register.inclusion_tag("taxonomy/_tray.html", takes_context=True)
def compare_tray(
    context: Context, tray: Tray | None = None, address: str = "", swap: bool = False
) -> dict[str, Any]:
    """Show the tray; nothing on a page that is rendered without a request.

    `tray` is the tray when it is not that of the request's cookie any more, `address` the page to
    come back to, and `swap` asks HTMX to put the bar in the place of the one shown.
    """
    request = context.get("request")
    if request is None:
        return {}
    # A page that shows the tray depends on the cookie; asking for the token makes Django say so.
    get_token(request)
    tray = tray or Tray.of(request)
    names = tray.names()
    return {
        "shown": True,
        "kind": tray.kind,
        "names": names,
        "selection": Tray(tray.kind, tuple(names)).selection(),
        "enough": len(names) >= FEWEST,
        "most": MOST,
        "messages": get_messages(request),
        "next": address or request.get_full_path(),
        "swap": swap,
    }


@register.inclusion_tag("taxonomy/_compare_button.html", takes_context=True)
def compare_button(  # noqa: PLR0913, PLR0917 - the last three are for the answer to a press
    context: Context,
    kind: str,
    slug: str,
    name: str,
    tray: Tray | None = None,
    address: str = "",
    swap: bool = False,
) -> dict[str, Any]:
    """Show the button that puts an item into the tray, or takes it out; asks no database.

    `kind` is "strategy" or "publication"; the rest is as for `compare_tray`.
    """
    request = context.get("request")
    tray = tray or (Tray.of(request) if request else Tray())
    return {
        "kind": kind,
        "slug": slug,
        "name": name,
        "picked": tray.holds(TRAY_KINDS[kind], slug),
        "other": tray.kind.plural if tray.slugs and tray.kind and tray.kind.name != kind else "",
        "next": address or (request.get_full_path() if request else ""),
        "swap": swap,
    }
