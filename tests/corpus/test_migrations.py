"""What a database of an older version holds is brought over."""

import os
from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from pytest_django import DjangoDbBlocker

from reviewapp.corpus.models import Publication
from tests.database import new_database, use_database
from tests.factories import unsaved_publication

BEFORE_VENUES = [("corpus", "0003_list_orders")]


@pytest.fixture
def old_database(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A database as it was before venues had parts."""
    with (
        new_database(f"before_venues_{os.getpid()}") as name,
        django_db_blocker.unblock(),
        use_database(name),
    ):
        call_command("migrate", *BEFORE_VENUES[0], verbosity=0)
        yield


def test_a_publication_keeps_its_venue_and_year_until_its_parts_are_loaded(
    old_database: None,
) -> None:
    old = MigrationExecutor(connection).loader.project_state(BEFORE_VENUES).apps
    review = old.get_model("corpus", "Review").objects.create(
        slug="review", title="A review", authors=["A"], year=2020, venue="A journal",
        period_from="2020-01", period_to="2020-12",
    )  # fmt: skip
    model = old.get_model("corpus", "Publication")
    known = {field.name for field in model._meta.fields if field.editable}
    values = {name: getattr(unsaved_publication(), name) for name in known - {"id", "review"}}
    model.objects.create(review=review, **values)
    call_command("migrate", verbosity=0)
    found = Publication.objects.get()
    assert (found.venue_name, found.venue_acronym) == (found.venue, "")
    assert (found.published_year, found.published_month) == (found.year, found.month)
    assert found.venue_confidence == found.confidence
    assert found.first_version == ""
