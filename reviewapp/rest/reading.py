"""What a request may send, and what it may ask for in return."""

import json
from collections.abc import Iterable, Sequence
from typing import IO, Any

from django import forms
from django.core.validators import slug_re
from django.http import Http404, QueryDict
from django.utils.text import Truncator
from rest_framework.exceptions import NotAcceptable, ParseError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from reviewapp.rest.exceptions import TooLarge, UnknownKeys

MOST_BYTES = 64 * 1024
MOST_BRACKETS = 100
MOST_NAMED = 5  # keys of an address in one error


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
            content = json.loads(body.decode(), parse_float=_number, object_pairs_hook=_once)
            storable = json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
        except ValueError as error:
            raise ParseError(f"The body is not JSON: {error}") from None
        # A backslash that belongs to a text is doubled there.
        if b"\\u0000" in storable.replace(b"\\\\", b""):
            raise ParseError("The body has a NUL character.")
        return content


def _number(digits: str) -> int | float:
    """Return 5 for "5.0": to JSON Schema, which describes the body, that is an integer too."""
    number = float(digits)
    return int(number) if number.is_integer() else number


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs as an object; raise ValueError if a key stands twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return content


class Slugs(forms.MultipleChoiceField):
    """Any number of slugs, whether or not there is something of that name."""

    def valid_value(self, value: str) -> bool:
        """Return whether the value is a slug."""
        return bool(slug_re.fullmatch(value))


def given(query: QueryDict) -> QueryDict:
    """Return the keys of an address that have a value: an empty one is as none at all."""
    kept = QueryDict(mutable=True)
    for key, values in query.lists():
        if some := [value for value in values if value]:
            kept.setlist(key, some)
    return kept


def unknown_keys(query: QueryDict, known: Iterable[str]) -> list[str]:
    """Return the keys of an address that are none of those known, with or without a value."""
    return [key for key in query if key not in set(known)]


def refuse_unknown(query: QueryDict, known: Sequence[str]) -> None:
    """Raise UnknownKeys where an address has a key that is none of those known."""
    if unknown := unknown_keys(query, known):
        raise UnknownKeys(unknown, known)


def said_of_unknown(unknown: Iterable[str], known: Iterable[str]) -> str:
    """Return a sentence that names the keys that are not known, cut short, and those that are."""
    names = ", ".join(f"“{Truncator(key).chars(40)}”" for key in [*unknown][:MOST_NAMED])
    return f"There is no key {names} here. The keys are {', '.join(sorted(known))}."


class Negotiation(DefaultContentNegotiation):
    """Answers an unknown `?format=` as it does an unknown Accept header."""

    def get_accept_list(self, request: Request) -> list[str]:
        """Return the kinds alone: no parameter changes an answer, and some cannot be read."""
        return [kind.partition(";")[0].strip() for kind in super().get_accept_list(request)]

    def filter_renderers(
        self, renderers: Iterable[BaseRenderer], format: str
    ) -> list[BaseRenderer]:
        """Return the renderers of that format; raise NotAcceptable when there is none."""
        try:
            return list(super().filter_renderers(renderers, format))
        except Http404:
            known = " or ".join(str(renderer.format) for renderer in renderers)
            raise NotAcceptable(f"The format here is {known}.") from None
