"""One CSV file of rows, with the fields that their serializer has."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.db.models import QuerySet
from rest_framework.serializers import Serializer

from reviewapp.ui.export import Provenance, csv_lines

BATCH = 1000


def csv_file(
    serializer: Any, rows: QuerySet[Any], parts: Mapping[str, Sequence[str]], about: Provenance
) -> Iterator[str]:
    """Yield the file line by line: the same fields, in the same order, as in JSON.

    A field that is an object has a column for each of its keys, called by both. Those of a field
    that is no serializer are in `parts`.
    """
    nested = {
        name: list(field.fields)
        for name, field in serializer.fields.items()
        if isinstance(field, Serializer)
    }
    columns = list(_columns(serializer.fields, {**nested, **parts}))
    records = map(serializer.to_representation, rows.iterator(chunk_size=BATCH))
    cells = ([_cell(record[name], key) for name, key in columns] for record in records)
    header = ["_".join(filter(None, column)) for column in columns]
    return csv_lines(header, cells, about)


def _columns(
    fields: Iterable[str], parts: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, str | None]]:
    """Yield each column as a field with the key of its object, or with none if it is no object."""
    for name in fields:
        if name in parts:
            yield from ((name, key) for key in parts[name])
        else:
            yield name, None


def _cell(value: Any, key: str | None) -> Any:
    """Return a field's value, or what its object has under the key; objects in it as JSON."""
    if key is not None:
        value = (value or {}).get(key)
    holds_objects = isinstance(value, list) and any(isinstance(one, dict) for one in value)
    if isinstance(value, dict) or holds_objects:
        return json.dumps(value, ensure_ascii=False)
    return value
