"""The WSGI application of the web server."""

import os
from collections.abc import Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "reviewapp.settings")
_django = get_wsgi_application()


def application(asked: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer a request, which is read as UTF-8 whatever it says.

    Django takes any of Python's codecs for a charset, and fails on those that are not for text.
    """
    kind, parameters = parse_header_parameters(asked.get("CONTENT_TYPE", ""))
    if "charset" in parameters:
        kept = (f"; {name}={value}" for name, value in parameters.items() if name != "charset")
        asked["CONTENT_TYPE"] = kind + "".join(kept)
    return _django(asked, start_response)
