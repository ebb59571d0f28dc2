"""Give the state of what was found on this site a name, as the taxonomy's has one."""

from django.db import migrations

# As in 0003: no writer waits for another, and every commit leaves another name.
CREATE = """
CREATE TABLE findings_revision (id uuid PRIMARY KEY DEFAULT gen_random_uuid());
INSERT INTO findings_revision DEFAULT VALUES;

CREATE FUNCTION new_findings_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM findings_revision
    WHERE id IN (SELECT id FROM findings_revision FOR UPDATE SKIP LOCKED);
    INSERT INTO findings_revision DEFAULT VALUES;
    RETURN NULL;
END $$;

CREATE TRIGGER new_findings_revision
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON taxonomy_outcome
    FOR EACH STATEMENT EXECUTE FUNCTION new_findings_revision();
"""
DROP = "DROP FUNCTION new_findings_revision() CASCADE; DROP TABLE findings_revision;"


class Migration(migrations.Migration):
    dependencies = [("taxonomy", "0016_outcome_accepted")]

    operations = [migrations.RunSQL(CREATE, DROP)]
