"""A list of things as JSON in pages, or all of it as one CSV file."""

from collections.abc import Iterator
from typing import Any, ClassVar, TypeVar

from django import forms
from django.db.models import F, Func, Model, QuerySet
from django.http.response import HttpResponseBase
from rest_framework.exceptions import ValidationError
from rest_framework.generics import ListAPIView
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from reviewapp.rest.csv_file import csv_file
from reviewapp.rest.endpoint import Endpoint
from reviewapp.rest.pages import OF_EVERY_LIST, Pages
from reviewapp.rest.reading import given
from reviewapp.ui.errors import cleaned_or_400
from reviewapp.ui.export import provenance, stream

MOST_ROWS = 100_000

Row = TypeVar("Row", bound=Model)


class CsvFile(BaseRenderer):
    """Stands for CSV when client and server agree on a format; `Listing` writes the file."""

    media_type = "text/csv"
    format = "csv"


class Listing(Endpoint, ListAPIView[Row]):
    """The things that an address asks for; its keys are those of `form`."""

    renderer_classes = [JSONRenderer, CsvFile]
    other_keys = OF_EVERY_LIST
    form: ClassVar[type[forms.Form]] = forms.Form
    file_name: ClassVar[str]

    def fields(self) -> dict[str, forms.Field]:
        """Return the keys of the address that choose what is listed."""
        return self.form().fields

    def found(self, chosen: dict[str, Any]) -> QuerySet[Row]:
        """Return what is listed, in its order, for the form's cleaned data."""
        raise NotImplementedError

    def get_queryset(self) -> QuerySet[Row]:
        """Return what is listed; raise InvalidForm for a value that cannot be."""
        return self.found(cleaned_or_400(self.form(given(self.request.query_params))))

    # A file is not the library's kind of response, though it may be answered.
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        if request.accepted_renderer.format == CsvFile.format:
            return self._file(request)
        return self.list(request, *args, **kwargs)

    def _file(self, request: Request) -> HttpResponseBase:
        # A file has no pages, but what is refused of a page is refused beside it too.
        pages = Pages()
        pages.get_page_number(request)
        pages.get_page_size(request)
        rows = self.get_queryset()
        if (n := rows.count()) > MOST_ROWS:
            raise ValidationError(
                f"These are {n:,} rows and a file has at most {MOST_ROWS:,}. Choose fewer."
            )
        return stream(self.lines(rows), self.file_name, CsvFile.format)

    def parts(self, rows: QuerySet[Row]) -> dict[str, list[str]]:
        """Return of the fields that are open objects the keys that these rows have, in order.

        In the file each is a column, called by the field and the key.
        """
        return {}

    def lines(self, rows: QuerySet[Row]) -> Iterator[str]:
        """Yield the file of these rows."""
        serializer: Any = self.get_serializer()
        return csv_file(serializer, rows, self.parts(rows), provenance(self.request))


def json_keys(rows: QuerySet[Any], column: str) -> list[str]:
    """Return the keys that the objects of a JSON column have in any of the rows, sorted."""
    keys = Func(F(column), function="jsonb_object_keys")
    return sorted(rows.order_by().values_list(keys, flat=True).distinct())
