"""Let what ended runs measured have a part in the name of what was found."""

from django.db import migrations

STATEMENTS = """
CREATE TRIGGER new_findings_revision
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON casestudies_{table}
    FOR EACH STATEMENT EXECUTE FUNCTION new_findings_revision();
"""
# A run that has not ended is written every few seconds, and nothing of it is remembered.
RUNS = """
CREATE TRIGGER new_findings_revision_inserted AFTER INSERT ON casestudies_run
    FOR EACH ROW WHEN (NEW.state = 'succeeded') EXECUTE FUNCTION new_findings_revision();
CREATE TRIGGER new_findings_revision_updated AFTER UPDATE ON casestudies_run
    FOR EACH ROW WHEN (OLD.state = 'succeeded' OR NEW.state = 'succeeded')
    EXECUTE FUNCTION new_findings_revision();
CREATE TRIGGER new_findings_revision_deleted AFTER DELETE ON casestudies_run
    FOR EACH ROW WHEN (OLD.state = 'succeeded') EXECUTE FUNCTION new_findings_revision();
CREATE TRIGGER new_findings_revision_truncated AFTER TRUNCATE ON casestudies_run
    FOR EACH STATEMENT EXECUTE FUNCTION new_findings_revision();
"""
TABLES = ("measurement", "contribution")
CREATE = RUNS + "".join(STATEMENTS.format(table=table) for table in TABLES)
DROP = "".join(
    f"DROP TRIGGER new_findings_revision_{event} ON casestudies_run;"
    for event in ("inserted", "updated", "deleted", "truncated")
) + "".join(f"DROP TRIGGER new_findings_revision ON casestudies_{table};" for table in TABLES)


class Migration(migrations.Migration):
    dependencies = [("casestudies", "0008_contributions"), ("taxonomy", "0017_findings_revision")]

    operations = [migrations.RunSQL(CREATE, DROP)]
