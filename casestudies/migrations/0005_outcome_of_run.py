"""An outcome goes with its run: the taxonomy keeps the run's number, the database the reference."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("casestudies", "0004_settings"), ("taxonomy", "0008_outcome")]

    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE taxonomy_outcome ADD CONSTRAINT outcome_of_run
            FOREIGN KEY (run) REFERENCES casestudies_run (id) ON DELETE CASCADE
            """,
            "ALTER TABLE taxonomy_outcome DROP CONSTRAINT outcome_of_run",
        )
    ]
