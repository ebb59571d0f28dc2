"""The WSGI application of the web server."""

import os
import re
from collections.abc import Iterable
from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application
from django.http.multipartparser import MultiPartParserError
from django.utils.http import parse_header_parameters

from reviewapp.edge.proxies import believe_proxies

# As RFC 2046 has it, so that it can be written between quotes as it is.
BOUNDARY = re.compile(r"[\w'()+,./:=? -]{1,200}", re.ASCII)


class Request(WSGIRequest):
    """A request whose form is refused where the header of one of its parts cannot be read."""

    def parse_file_upload(self, META: Any, post_data: Any) -> Any:
        """Return the fields and the files; raise MultiPartParserError, which is answered by 400."""
        try:
            return super().parse_file_upload(META, post_data)
        except TypeError as error:  # Python's, of a parameter that is numbered and is not
            raise MultiPartParserError("The header of a part cannot be read") from error


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "reviewapp.settings")
_django = get_wsgi_application()
_django.request_class = Request


def application(asked: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer a request, which is read as UTF-8 whatever it says."""
    believe_proxies(asked)
    asked["CONTENT_TYPE"] = _harmless(asked.get("CONTENT_TYPE", ""))
    return _django(asked, start_response)


def _harmless(content_type: str) -> str:
    """Return the type with its boundary, if there is one, which is all that is read of it here.

    Django reads the header before it can answer for an error, and fails on an encoding that there
    is not, as on one of Python's that is not for text, and on a parameter in pieces of two kinds.
    """
    try:
        kind, parameters = parse_header_parameters(content_type)
    except (TypeError, ValueError):
        return content_type.partition(";")[0]
    boundary = parameters.get("boundary", "")
    return f'{kind}; boundary="{boundary}"' if BOUNDARY.fullmatch(boundary) else kind
