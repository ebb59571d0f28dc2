"""The shape of venues.yaml: where each publication appeared and when, checked field by field.

fixtures/README.md describes the file.
"""

from typing import Annotated

from pydantic import Field, RootModel

from reviewapp.corpus.choices import Confidence
from taxonomy.loading.schema import FixtureRecord, Key, Month, Text, Year

# Volumes, numbers and pages are names of places, not amounts: "34", "2-3", "e17".
Place = Annotated[str, Field(min_length=1, max_length=20, pattern=r"^[^\s\x00]+$")]


class PagesRow(FixtureRecord):
    first: Place
    last: Place | None = None


class VenueRow(FixtureRecord):
    name: Text
    acronym: Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[^\x00]+$")] | None = None
    track: Text | None = None
    volume: Place | None = None
    number: Place | None = None
    pages: PagesRow | None = None


class PublishedRow(FixtureRecord):
    """When the version that is cited was published."""

    year: Year
    month: Month | None


class FirstVersionRow(FixtureRecord):
    """When the first version appeared on arXiv."""

    year: Year
    month: Month
    confidence: Confidence


class VenueFacts(FixtureRecord):
    """The entry of one publication; `confidence` is that of venue and year."""

    publication: Key
    venue: VenueRow
    published: PublishedRow
    confidence: Confidence
    first_version: FirstVersionRow | None
    note: Text | None = None

    @property
    def first_year(self) -> int:
        """Return the year of the first version that is known."""
        return self.first_version.year if self.first_version else self.published.year


class VenuesFile(RootModel[list[VenueFacts]]):
    """An entry for each publication of publications.jsonl."""
