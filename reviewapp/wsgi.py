"""The WSGI application of the web server."""

import os
from collections.abc import Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

from reviewapp.edge.proxies import believe_proxies

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "reviewapp.settings")
_django = get_wsgi_application()


def application(asked: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer a request, which is read as UTF-8 whatever it says."""
    believe_proxies(asked)
    asked["CONTENT_TYPE"] = _harmless(asked.get("CONTENT_TYPE", ""))
    return _django(asked, start_response)


def _harmless(content_type: str) -> str:
    """Return the type with its boundary, if there is one, which is all that is read of it here.

    Django reads the header before it can answer for an error, and fails on an encoding that there
    is not, as on one of Python's that is not for text.
    """
    try:
        kind, parameters = parse_header_parameters(content_type)
    except ValueError:
        return content_type.partition(";")[0]
    return f'{kind}; boundary="{parameters["boundary"]}"' if "boundary" in parameters else kind
