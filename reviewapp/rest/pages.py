"""A list in pages."""

import re
from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request

from reviewapp.ui.listing import PER_PAGE

MOST_PER_PAGE = 100
OF_EVERY_LIST = ("page", "page_size", "format")  # the keys that every list has


class Pages(PageNumberPagination):
    """Pages of a size that the address may choose."""

    page_size = PER_PAGE
    page_size_query_param = "page_size"
    max_page_size = MOST_PER_PAGE
    last_page_strings = ()
    invalid_page_message = "There is no such page."

    def get_page_size(self, request: Request) -> int:
        """Return the size asked for; raise ValidationError rather than give another one."""
        asked = request.query_params.get("page_size") or str(PER_PAGE)
        if not (re.fullmatch("[0-9]{1,3}", asked) and 1 <= int(asked) <= MOST_PER_PAGE):
            raise ValidationError({"page_size": [f"A whole number from 1 to {MOST_PER_PAGE}."]})
        return int(asked)

    def get_page_number(self, request: Request, paginator: Any = None) -> str:
        """Return the page asked for; raise ValidationError for what is no number of a page."""
        asked: str = request.query_params.get("page") or "1"
        if not re.fullmatch("0*[1-9][0-9]*", asked):
            raise ValidationError({"page": ["A whole number from 1."]})
        return asked

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Return the description of `page` and `page_size` for OpenAPI."""
        whole = {"type": "integer", "minimum": 1}
        size = {**whole, "maximum": MOST_PER_PAGE, "default": PER_PAGE}
        return [
            {"name": "page", "in": "query", "schema": whole, "description": "Which page"},
            {
                "name": "page_size",
                "in": "query",
                "schema": size,
                "description": "How many on a page",
            },
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the description of a page of what `schema` describes."""
        address = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["count", "next", "previous", "results"],
            "properties": {
                "count": {"type": "integer", "minimum": 0},
                "next": address,
                "previous": address,
                "results": schema,
            },
        }
