"""Keep facets as the bits of the publications that have a value; narrow rows keep what else counts."""

from django.db import migrations, models

import taxonomy.models

ARRAY = "ARRAY(SELECT DISTINCT {value} FROM {rows} WHERE {rows}.publication_id = f.publication_id ORDER BY 1)"
STRATEGIES = "strategies = " + ARRAY.format(value="strategy_id", rows="taxonomy_evidence")
FAMILIES = """families = ARRAY(
    SELECT DISTINCT g.family_id FROM taxonomy_evidence AS e
    JOIN taxonomy_strategy AS s ON s.id = e.strategy_id
    JOIN taxonomy_group AS g ON g.id = s.group_id
    WHERE e.publication_id = f.publication_id ORDER BY 1)"""
OBJECTIVES = "objectives = " + ARRAY.format(value="objective", rows="taxonomy_claim")
CLAIM_COUNT = "claim_count = (SELECT count(*) FROM taxonomy_claim WHERE publication_id = f.publication_id)"

OWN = """
CREATE OR REPLACE FUNCTION copy_to_facets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO taxonomy_publicationfacets AS f (publication_id, {columns})
    VALUES (NEW.id, {values})
    ON CONFLICT (publication_id) DO UPDATE SET ({columns}) = ROW({excluded});
    RETURN NULL;
END $$;
DROP TRIGGER publication_to_facets ON corpus_publication;
CREATE TRIGGER publication_to_facets AFTER INSERT OR UPDATE OF {read}
    ON corpus_publication FOR EACH ROW EXECUTE FUNCTION copy_to_facets();
"""
REFRESH = """
CREATE OR REPLACE FUNCTION {table}_to_facets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM taxonomy_publicationfacets AS f
    WHERE f.publication_id IN (SELECT publication_id FROM changed)
    ORDER BY f.publication_id FOR UPDATE;
    UPDATE taxonomy_publicationfacets AS f SET {columns}
    WHERE f.publication_id IN (SELECT publication_id FROM changed);
    RETURN NULL;
END $$;
"""
MOVES = f"""
CREATE FUNCTION moved_to_facets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE taxonomy_publicationfacets AS f SET {FAMILIES}
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


def _own(**read: str) -> str:
    """Return the trigger that copies columns of a publication, each with what it is read from."""
    return OWN.format(
        columns=", ".join(read),
        values=", ".join(f"NEW.{value}" for value in read.values()),
        excluded=", ".join(f"excluded.{name}" for name in read),
        read=", ".join(value.split()[0] for value in read.values()),
    )


def _links(evidence: str, claims: str) -> str:
    return REFRESH.format(table="taxonomy_evidence", columns=evidence) + REFRESH.format(
        table="taxonomy_claim", columns=claims
    )


NOW = (
    _own(year="year", membership="membership")
    + _links(STRATEGIES, CLAIM_COUNT)
    + "DROP FUNCTION moved_to_facets() CASCADE;"
)
BEFORE = (
    _own(
        year="year",
        venue_kind="venue_kind",
        artifact_kind="artifact_kind",
        has_code="code_url <> ''",
        membership="membership",
        confidence="confidence",
    )
    + _links(f"{STRATEGIES}, {FAMILIES}", f"{OBJECTIVES}, {CLAIM_COUNT}")
    + MOVES
    + f"""
    UPDATE taxonomy_publicationfacets AS f SET {FAMILIES}, {OBJECTIVES};
    UPDATE corpus_publication SET confidence = confidence;
    SET CONSTRAINTS ALL IMMEDIATE;
    """
)
# With a default, so that the way back can add them to rows that there are.
COPIED = {
    "venue_kind": models.TextField(db_default=""),
    "artifact_kind": models.TextField(db_default=""),
    "has_code": models.BooleanField(db_default=False),
    "confidence": models.TextField(db_default=""),
}


class Migration(migrations.Migration):

    dependencies = [
        ('taxonomy', '0011_claims_as_evidence'),
    ]

    operations = [
        migrations.CreateModel(
            name='FacetValue',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('block', models.PositiveIntegerField()),
                ('facet', models.TextField()),
                ('value', models.JSONField()),
                ('claim', models.PositiveSmallIntegerField(null=True)),
                ('bits', taxonomy.models.BitsField()),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('block', 'facet', 'value', 'claim'), name='facet_value_once', nulls_distinct=False)],
            },
        ),
        migrations.CreateModel(
            name='FacetChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('publication', models.PositiveBigIntegerField()),
            ],
        ),
        *(migrations.AlterField('publicationfacets', name, field) for name, field in COPIED.items()),
        migrations.RunSQL(NOW, BEFORE),
        *(migrations.RemoveField('publicationfacets', name) for name in (*COPIED, 'families', 'objectives')),
    ]
