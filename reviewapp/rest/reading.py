"""What a request may send, and what it may ask for in return."""

import json
from collections.abc import Iterable
from typing import IO, Any

from django.http import Http404
from rest_framework.exceptions import NotAcceptable, ParseError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from reviewapp.rest.exceptions import TooLarge

MOST_BYTES = 64 * 1024
MOST_BRACKETS = 100


class JSONBody(BaseParser):
    """JSON in UTF-8 that is small, flat and can be stored: no NaN, no NUL, no half characters."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None
    ) -> Any:
        """Return what the body says; raise TooLarge or ParseError."""
        body = stream.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            raise TooLarge(f"A body may have at most {MOST_BYTES // 1024} KiB.")
        # Whatever reads a deeply nested value later would run out of stack.
        if body.count(b"[") + body.count(b"{") > MOST_BRACKETS:
            raise ParseError(f"A body may have at most {MOST_BRACKETS} lists and objects.")
        try:
            content = json.loads(body)
            storable = json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
        except ValueError as error:
            raise ParseError(f"The body is not JSON: {error}") from None
        if b"\\u0000" in storable:
            raise ParseError("The body has a NUL character.")
        return content


class Negotiation(DefaultContentNegotiation):
    """Answers an unknown `?format=` as it does an unknown Accept header."""

    def filter_renderers(
        self, renderers: Iterable[BaseRenderer], format: str
    ) -> list[BaseRenderer]:
        """Return the renderers of that format; raise NotAcceptable when there is none."""
        try:
            return list(super().filter_renderers(renderers, format))
        except Http404:
            known = " or ".join(str(renderer.format) for renderer in renderers)
            raise NotAcceptable(f"The format here is {known}.") from None
