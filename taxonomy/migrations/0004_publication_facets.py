"""Keep one narrow row per publication for the facets of the list, by triggers."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models

COPIED = "year, venue_kind, artifact_kind, has_code, membership, confidence"

OWN_COLUMNS = f"""
CREATE FUNCTION copy_to_facets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO taxonomy_publicationfacets AS f (publication_id, {COPIED})
    VALUES (NEW.id, NEW.year, NEW.venue_kind, NEW.artifact_kind, NEW.code_url <> '',
            NEW.membership, NEW.confidence)
    ON CONFLICT (publication_id) DO UPDATE SET
        ({COPIED}) = (excluded.year, excluded.venue_kind, excluded.artifact_kind,
                      excluded.has_code, excluded.membership, excluded.confidence);
    RETURN NULL;
END $$;
CREATE TRIGGER publication_to_facets
    AFTER INSERT OR UPDATE OF year, venue_kind, artifact_kind, code_url, membership, confidence
    ON corpus_publication FOR EACH ROW EXECUTE FUNCTION copy_to_facets();
INSERT INTO taxonomy_publicationfacets (publication_id, {COPIED})
    SELECT id, year, venue_kind, artifact_kind, code_url <> '', membership, confidence
    FROM corpus_publication;
"""

STRATEGIES = """
    strategies = ARRAY(
        SELECT strategy_id FROM taxonomy_evidence
        WHERE publication_id = f.publication_id ORDER BY 1),
    families = ARRAY(
        SELECT DISTINCT g.family_id FROM taxonomy_evidence AS e
        JOIN taxonomy_strategy AS s ON s.id = e.strategy_id
        JOIN taxonomy_group AS g ON g.id = s.group_id
        WHERE e.publication_id = f.publication_id ORDER BY 1)"""
CLASSES = """
    classes = ARRAY(
        SELECT taxonomyclass_id FROM taxonomy_taxonomyclass_publications
        WHERE publication_id = f.publication_id ORDER BY 1)"""
CLAIMS = """
    objectives = ARRAY(
        SELECT DISTINCT objective FROM taxonomy_claim
        WHERE publication_id = f.publication_id ORDER BY 1),
    claim_count = (SELECT count(*) FROM taxonomy_claim WHERE publication_id = f.publication_id)"""

LINKS = {
    "taxonomy_evidence": STRATEGIES,
    "taxonomy_taxonomyclass_publications": CLASSES,
    "taxonomy_claim": CLAIMS,
}

# The rows are locked by a statement of their own, so that the next one sees what another
# transaction, for which this one waited, has linked to the same publication.
REFRESH = """
CREATE FUNCTION {table}_to_facets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM taxonomy_publicationfacets AS f
    WHERE f.publication_id IN (SELECT publication_id FROM changed)
    ORDER BY f.publication_id FOR UPDATE;
    UPDATE taxonomy_publicationfacets AS f SET {columns}
    WHERE f.publication_id IN (SELECT publication_id FROM changed);
    RETURN NULL;
END $$;
UPDATE taxonomy_publicationfacets AS f SET {columns};
"""
# A trigger with a transition table may name one event only, and an update that moves a link
# changes the publication that it leaves as well as the one that it joins.
TRIGGERS = "".join(
    f"CREATE TRIGGER {{table}}_{name} AFTER {event} ON {{table}} "
    f"REFERENCING {rows} TABLE AS changed "
    "FOR EACH STATEMENT EXECUTE FUNCTION {table}_to_facets();\n"
    for name, event, rows in (
        ("inserted", "INSERT", "NEW"),
        ("left", "UPDATE", "OLD"),
        ("joined", "UPDATE", "NEW"),
        ("deleted", "DELETE", "OLD"),
    )
)

MOVES = f"""
CREATE FUNCTION moved_to_facets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE taxonomy_publicationfacets AS f SET {STRATEGIES}
    WHERE f.strategies && ARRAY(
        SELECT s.id::int FROM taxonomy_strategy AS s
        WHERE TG_TABLE_NAME = 'taxonomy_strategy' AND s.id = NEW.id
            OR TG_TABLE_NAME = 'taxonomy_group' AND s.group_id = NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER strategy_moved AFTER UPDATE ON taxonomy_strategy FOR EACH ROW
    WHEN (OLD.group_id <> NEW.group_id) EXECUTE FUNCTION moved_to_facets();
CREATE TRIGGER group_moved AFTER UPDATE ON taxonomy_group FOR EACH ROW
    WHEN (OLD.family_id <> NEW.family_id) EXECUTE FUNCTION moved_to_facets();
"""

CREATE = OWN_COLUMNS + MOVES + "".join(
    (REFRESH + TRIGGERS).format(table=table, columns=columns) for table, columns in LINKS.items()
)
DROP = "".join(
    f"DROP FUNCTION {name}() CASCADE;\n"
    for name in ("copy_to_facets", "moved_to_facets", *(f"{table}_to_facets" for table in LINKS))
)


class Migration(migrations.Migration):

    dependencies = [
        ('corpus', '0001_initial'),
        ('taxonomy', '0003_taxonomy_revision'),
    ]

    operations = [
        migrations.CreateModel(
            name='PublicationFacets',
            fields=[
                ('publication', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='facets', serialize=False, to='corpus.publication')),
                ('year', models.PositiveSmallIntegerField()),
                ('venue_kind', models.TextField()),
                ('artifact_kind', models.TextField()),
                ('has_code', models.BooleanField()),
                ('membership', models.TextField()),
                ('confidence', models.TextField()),
                ('classes', django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), db_default=[], size=None)),
                ('families', django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), db_default=[], size=None)),
                ('strategies', django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), db_default=[], size=None)),
                ('objectives', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), db_default=[], size=None)),
                ('claim_count', models.PositiveSmallIntegerField(db_default=0)),
            ],
            options={
                'verbose_name_plural': 'publication facets',
                'indexes': [django.contrib.postgres.indexes.GinIndex(fields=['strategies'], name='facets_strategies'), models.Index(fields=['-claim_count', '-year', '-publication'], name='facets_claim_count')],
            },
        ),
        migrations.RunSQL(CREATE, DROP),
    ]
