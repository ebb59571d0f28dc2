"""What a database of an older version holds is brought over."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from reviewapp.corpus.models import Publication
from tests.factories import unsaved_publication

BEFORE_VENUES = [("corpus", "0003_list_orders")]


@pytest.mark.django_db(transaction=True)
def test_a_publication_keeps_its_venue_and_year_until_its_parts_are_loaded() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate(BEFORE_VENUES)
    try:
        old = MigrationExecutor(connection).loader.project_state(BEFORE_VENUES).apps
        review = old.get_model("corpus", "Review").objects.create(
            slug="review", title="A review", authors=["A"], year=2020, venue="A journal",
            period_from="2020-01", period_to="2020-12",
        )  # fmt: skip
        model = old.get_model("corpus", "Publication")
        known = {field.name for field in model._meta.fields if field.editable}
        values = {name: getattr(unsaved_publication(), name) for name in known - {"id", "review"}}
        model.objects.create(review=review, **values)
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    found = Publication.objects.get()
    assert (found.venue_name, found.venue_acronym) == (found.venue, "")
    assert (found.published_year, found.published_month) == (found.year, found.month)
    assert found.venue_confidence == found.confidence
    assert found.first_version == ""
