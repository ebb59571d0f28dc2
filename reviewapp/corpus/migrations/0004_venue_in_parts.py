"""Say in parts where and when a publication appeared, and when its first version did."""

from django.db import migrations, models
from django.db.models import Q

CONFIDENCE = [("high", "High"), ("medium", "Medium")]
KNOWN = ["high", "medium"]
TEXTS = ("venue_acronym", "venue_track", "volume", "number", "first_page", "last_page", "venue_note")
NUMBERS = ("published_month", "first_version_year", "first_version_month")

# Until the review is loaded again, and for publications that it does not name: what is known.
FILL = """
UPDATE corpus_publication
SET venue_name = venue, published_year = year, published_month = month, venue_confidence = confidence
"""
REQUIRED = {
    "venue_name": (models.TextField(), models.TextField(null=True)),
    "published_year": (models.PositiveSmallIntegerField(), models.PositiveSmallIntegerField(null=True)),
    "venue_confidence": (models.TextField(choices=CONFIDENCE), models.TextField(choices=CONFIDENCE, null=True)),
}
CONSTRAINTS = {
    "publication_published_year_possible": Q(published_year__range=(1950, 2100)),
    "publication_published_month_possible": Q(published_month__range=(1, 12)) | Q(published_month=None),
    "publication_first_version_whole": Q(
        first_version_year=None, first_version_month=None, first_version_confidence=""
    )
    | Q(
        first_version_year__range=(1950, 2100),
        first_version_month__range=(1, 12),
        first_version_confidence__in=KNOWN,
    ),
    "publication_venue_confidence_known": Q(venue_confidence__in=KNOWN),
}


def add(name, field, **options):
    return migrations.AddField("publication", name, field, **options)


class Migration(migrations.Migration):

    dependencies = [
        ('corpus', '0003_list_orders'),
    ]

    operations = [
        *(add(name, models.TextField(blank=True, default=""), preserve_default=False) for name in TEXTS),
        *(add(name, models.PositiveSmallIntegerField(null=True)) for name in NUMBERS),
        add(
            "first_version_confidence",
            models.TextField(blank=True, choices=CONFIDENCE, default=""),
            preserve_default=False,
        ),
        *(add(name, empty) for name, (_, empty) in REQUIRED.items()),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        *(migrations.AlterField("publication", name, whole) for name, (whole, _) in REQUIRED.items()),
        *(
            migrations.AddConstraint("publication", models.CheckConstraint(condition=condition, name=name))
            for name, condition in CONSTRAINTS.items()
        ),
    ]
