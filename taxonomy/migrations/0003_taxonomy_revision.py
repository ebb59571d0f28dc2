"""Give the state of the taxonomy and its evidence a name, so that counts of it can be kept."""

from django.db import migrations

# A writer never waits here for another: each adds its own row, and removes only the rows that
# nobody else is removing. The set of visible rows is therefore different after every commit.
REVISION = """
CREATE TABLE taxonomy_revision (id uuid PRIMARY KEY DEFAULT gen_random_uuid());
INSERT INTO taxonomy_revision DEFAULT VALUES;

CREATE FUNCTION new_taxonomy_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM taxonomy_revision
    WHERE id IN (SELECT id FROM taxonomy_revision FOR UPDATE SKIP LOCKED);
    INSERT INTO taxonomy_revision DEFAULT VALUES;
    RETURN NULL;
END $$;
"""

TABLES = (
    "taxonomy_evidence",
    "taxonomy_claim",
    "taxonomy_taxonomyclass",
    "taxonomy_taxonomyclass_publications",
    "taxonomy_family",
    "taxonomy_group",
    "taxonomy_strategy",
    "taxonomy_strategy_classes",
)
TRIGGER = """
CREATE TRIGGER new_taxonomy_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION new_taxonomy_revision();
"""
# What the counts and charts are made of; the rest of a publication is always read anew.
PUBLICATIONS = """
CREATE TRIGGER new_taxonomy_revision
    AFTER INSERT OR UPDATE OF membership, key, artifact_name, year, month OR DELETE OR TRUNCATE ON corpus_publication
    FOR EACH STATEMENT EXECUTE FUNCTION new_taxonomy_revision();
"""

CREATE = REVISION + "".join(TRIGGER.format(table=table) for table in TABLES) + PUBLICATIONS
DROP = "DROP FUNCTION new_taxonomy_revision() CASCADE; DROP TABLE taxonomy_revision;"


class Migration(migrations.Migration):
    dependencies = [("taxonomy", "0002_claims_in_search"), ("corpus", "0001_initial")]

    operations = [migrations.RunSQL(CREATE, DROP)]
