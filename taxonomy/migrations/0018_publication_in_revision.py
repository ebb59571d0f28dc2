"""Let every change of a publication give the taxonomy's state another name."""

from django.db import migrations

FEW = "membership, key, artifact_name, year, month, title, authors, hardware, models_used"
REVISION = """
DROP TRIGGER new_taxonomy_revision ON corpus_publication;
CREATE TRIGGER new_taxonomy_revision
    AFTER INSERT OR UPDATE {columns} OR DELETE OR TRUNCATE ON corpus_publication
    FOR EACH STATEMENT EXECUTE FUNCTION new_taxonomy_revision();
"""
# The list of publications is remembered as it is shown.
ALL = REVISION.format(columns="")


class Migration(migrations.Migration):
    dependencies = [
        ("taxonomy", "0017_findings_revision"),
        ("corpus", "0006_publication_kinds"),
    ]

    operations = [migrations.RunSQL(ALL, REVISION.format(columns=f"OF {FEW}"))]
