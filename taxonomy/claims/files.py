"""Files of claims, as the API writes them, made while they are sent."""

from collections.abc import Iterator
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest

from reviewapp.rest.csv_file import csv_file
from reviewapp.ui.export import json_parts, provenance
from taxonomy.claims.reading import with_everything
from taxonomy.claims.records import ClaimSerializer
from taxonomy.models import Claim, TaxonomyClass

BATCH = 1000


def with_records(claims: QuerySet[Claim]) -> QuerySet[Any]:
    """Return the claims, each to be read with all that its record says."""
    classes = Prefetch("publication__classes", TaxonomyClass.objects.only("slug"))
    return with_everything(claims).prefetch_related(classes)


def parts(extension: str, claims: QuerySet[Claim], request: HttpRequest) -> Iterator[str]:
    """Return the file of that kind, "csv" or "json", in parts."""
    serializer: Any = ClaimSerializer(context={"request": request})
    found, about = with_records(claims), provenance(request)
    if extension == "csv":
        return csv_file(serializer, found, {}, about)
    rows = map(serializer.to_representation, found.iterator(chunk_size=BATCH))
    return json_parts("claims", rows, about)
