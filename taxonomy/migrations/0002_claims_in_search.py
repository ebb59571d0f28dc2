"""Keep corpus_publication.claims_text, which full-text search reads, equal to the claims."""

from django.db import migrations

# The rows are locked by a statement of their own, so that the next one sees the claims of another
# transaction for which this one waited.
FUNCTION = """
CREATE FUNCTION refresh_claims_text() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM corpus_publication AS p
    WHERE p.id IN (SELECT publication_id FROM changed) ORDER BY p.id FOR UPDATE;
    UPDATE corpus_publication AS p
    SET claims_text = coalesce((
        SELECT string_agg(concat_ws(' ', c.metric, c.baseline, c.conditions), ' ' ORDER BY c.position)
        FROM taxonomy_claim AS c WHERE c.publication_id = p.id
    ), '')
    WHERE p.id IN (SELECT publication_id FROM changed);
    RETURN NULL;
END $$;
"""

# A trigger with a transition table may name one event only.
TRIGGERS = """
CREATE TRIGGER claims_inserted AFTER INSERT ON taxonomy_claim
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refresh_claims_text();
CREATE TRIGGER claims_updated AFTER UPDATE ON taxonomy_claim
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refresh_claims_text();
CREATE TRIGGER claims_deleted AFTER DELETE ON taxonomy_claim
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refresh_claims_text();
"""

DROP = """
DROP TRIGGER claims_inserted ON taxonomy_claim;
DROP TRIGGER claims_updated ON taxonomy_claim;
DROP TRIGGER claims_deleted ON taxonomy_claim;
DROP FUNCTION refresh_claims_text();
"""


class Migration(migrations.Migration):
    dependencies = [("taxonomy", "0001_initial")]

    operations = [migrations.RunSQL(FUNCTION + TRIGGERS, DROP)]
