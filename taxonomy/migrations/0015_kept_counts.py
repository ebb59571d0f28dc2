"""Count each publication's claims by scope, and keep what all claims are counted by in indexes."""

from importlib import import_module

from django.db import migrations, models


gap_map = import_module("taxonomy.migrations.0013_gap_map")

ROWS = """
INSERT INTO taxonomy_publicationeffect
    (publication_id, strategy_id, objective, isolated, combined, against_another, on_cpu, first)
SELECT c.publication_id, a.strategy_id, c.objective,
       count(*) FILTER (WHERE c.scope = 'isolated'),
       count(*) FILTER (WHERE c.scope = 'combined'),
       count(*) FILTER (WHERE c.scope = 'against-another'),
       count(*) FILTER (WHERE c.testable IN ('model', 'direction', 'same-quantity')),
       row_number() OVER (PARTITION BY c.publication_id, c.objective ORDER BY a.strategy_id) = 1
FROM taxonomy_claim AS c JOIN taxonomy_attribution AS a ON a.claim_id = c.id
WHERE a.counted AND c.scope IN ('isolated', 'combined', 'against-another') {some}
GROUP BY c.publication_id, a.strategy_id, c.objective;
"""


def functions(rows: str) -> str:
    """Return the SQL that writes all rows anew, and keeps them so from then on."""
    some = rows.format(some="AND c.publication_id = ANY(publications)")
    kept = "".join(
        gap_map.FUNCTION.format(table=table, publications=publications, rows=some)
        for table, publications in gap_map.PUBLICATIONS.items()
    )
    return kept.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION") + rows.format(some="")


EMPTY = "DELETE FROM taxonomy_publicationeffect;\nSET CONSTRAINTS ALL IMMEDIATE;"
# Most devices are the only ones of their claims, and each change of a claim costs.
DEVICE = """
UPDATE taxonomy_claim AS c SET device_gb = found.gb FROM (
    SELECT claim_id, {gb} AS gb FROM taxonomy_claimdevice AS d JOIN taxonomy_claim AS c
        ON c.id = d.claim_id
    WHERE role IN ('stated', 'implied') GROUP BY claim_id, hardware_alternatives
) AS found WHERE c.id = found.claim_id AND c.device_gb IS DISTINCT FROM found.gb;
SET CONSTRAINTS ALL IMMEDIATE;
"""
MOST = "CASE WHEN hardware_alternatives THEN min(memory_gb) ELSE max(memory_gb) END"


class Migration(migrations.Migration):

    dependencies = [
        ('corpus', '0006_publication_kinds'),
        ('taxonomy', '0014_claim_facets'),
    ]

    operations = [
        migrations.RunSQL(migrations.RunSQL.noop, functions(gap_map.ROWS)),
        migrations.RunSQL(EMPTY, EMPTY),
        migrations.RemoveField('publicationeffect', 'claims'),
        migrations.RemoveField('publicationeffect', 'strength'),
        migrations.AddField('publicationeffect', 'isolated', models.PositiveSmallIntegerField(default=0), preserve_default=False),
        migrations.AddField('publicationeffect', 'combined', models.PositiveSmallIntegerField(default=0), preserve_default=False),
        migrations.AddField('publicationeffect', 'against_another', models.PositiveSmallIntegerField(default=0), preserve_default=False),
        migrations.RunSQL(functions(ROWS), EMPTY),
        migrations.RunSQL(DEVICE.format(gb=MOST), DEVICE.format(gb="min(memory_gb)")),
        migrations.AddIndex('claim', models.Index(fields=['publication'], include=['scope', 'source', 'baseline_kind', 'device_named', 'testable', 'study', 'rule_blind'], name='claim_kinds')),
        migrations.AddIndex('claim', models.Index(fields=['phase', 'device_gb'], include=['axis', 'scope', 'plotted', 'id'], name='claim_by_device')),
        migrations.AddIndex('claim', models.Index(condition=models.Q(('study', ''), _negated=True), fields=['study'], name='claim_by_study')),
    ]
