"""Who asks, and by TLS or not, where a proxy passes the request on."""

import ipaddress
from contextlib import suppress
from typing import Any

from django.conf import settings


def believe_proxies(asked: dict[str, Any]) -> None:
    """Put the visitor's address and scheme into the WSGI variables in place of a proxy's.

    Only a proxy in TRUSTED_PROXIES is believed, and of what it passes on the last address that is
    no such proxy: whatever stands before that, the visitor may have written. From here on nobody
    sees the headers.
    """
    addresses = asked.pop("HTTP_X_FORWARDED_FOR", "").split(",")
    scheme = asked.pop("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip()
    if not _trusted(asked.get("REMOTE_ADDR", "")):
        return
    if scheme in ("http", "https"):
        asked["wsgi.url_scheme"] = scheme
    with suppress(ValueError):
        while addresses and _trusted(asked["REMOTE_ADDR"]):
            asked["REMOTE_ADDR"] = _address(addresses.pop().strip())


def _address(text: str) -> str:
    """Return the address that a proxy wrote, without its port; raise ValueError if it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return str(ipaddress.ip_address(text))


def _trusted(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in settings.TRUSTED_PROXIES)
