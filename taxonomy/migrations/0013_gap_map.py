"""Keep one narrow row of what each publication claims of a strategy, by triggers, for the gap map."""

import django.db.models.deletion
from django.db import migrations, models

ROWS = """
INSERT INTO taxonomy_publicationeffect
    (publication_id, strategy_id, objective, claims, on_cpu, strength, first)
SELECT c.publication_id, a.strategy_id, c.objective, count(*),
       count(*) FILTER (WHERE c.testable IN ('model', 'direction', 'same-quantity')),
       min(array_position(ARRAY['isolated', 'combined', 'against-another'], c.scope)),
       row_number() OVER (PARTITION BY c.publication_id, c.objective ORDER BY a.strategy_id) = 1
FROM taxonomy_claim AS c JOIN taxonomy_attribution AS a ON a.claim_id = c.id
WHERE a.counted AND c.scope IN ('isolated', 'combined', 'against-another') {some}
GROUP BY c.publication_id, a.strategy_id, c.objective;
"""
# The facets are locked by a statement of their own, so that the next one sees what another
# transaction, for which this one waited, has written of the same publication.
FUNCTION = """
CREATE FUNCTION {table}_to_effects() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    publications bigint[] := ARRAY({publications});
BEGIN
    PERFORM FROM taxonomy_publicationfacets WHERE publication_id = ANY(publications)
    ORDER BY publication_id FOR UPDATE;
    DELETE FROM taxonomy_publicationeffect WHERE publication_id = ANY(publications);
    {rows}
    RETURN NULL;
END $$;
"""
PUBLICATIONS = {
    "taxonomy_claim": "SELECT DISTINCT publication_id FROM changed",
    "taxonomy_attribution": (
        "SELECT DISTINCT c.publication_id FROM changed JOIN taxonomy_claim AS c "
        "ON c.id = changed.claim_id"
    ),
}
# A trigger with a transition table may name one event only, and no columns.
TRIGGER = """
CREATE TRIGGER {table}_effects_{name} AFTER {event} ON {table} REFERENCING {rows} TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION {table}_to_effects();
"""
EVENTS = {
    "left": ("UPDATE", "OLD"),
    "joined": ("UPDATE", "NEW"),
    "deleted": ("DELETE", "OLD"),
    "inserted": ("INSERT", "NEW"),
}


def triggers(table: str, *names: str) -> str:
    """Return the SQL of the function of a table and of its triggers with these names."""
    some = ROWS.format(some="AND c.publication_id = ANY(publications)")
    function = FUNCTION.format(table=table, publications=PUBLICATIONS[table], rows=some)
    return function + "".join(
        TRIGGER.format(table=table, name=name, event=EVENTS[name][0], rows=EVENTS[name][1])
        for name in names
    )


CREATE = (
    ROWS.format(some="")
    # A new claim has no attribution yet.
    + triggers("taxonomy_claim", "left", "joined", "deleted")
    + triggers("taxonomy_attribution", *EVENTS)
)
DROP = "".join(f"DROP FUNCTION {table}_to_effects() CASCADE;\n" for table in PUBLICATIONS)


class Migration(migrations.Migration):

    dependencies = [
        ('corpus', '0005_folded_search'),
        ('taxonomy', '0012_facet_values'),
    ]

    operations = [
        migrations.CreateModel(
            name='PublicationEffect',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('objective', models.TextField()),
                ('claims', models.PositiveSmallIntegerField()),
                ('on_cpu', models.PositiveSmallIntegerField()),
                ('strength', models.PositiveSmallIntegerField()),
                ('first', models.BooleanField()),
                ('publication', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='corpus.publication')),
                ('strategy', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='taxonomy.strategy')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('publication', 'strategy', 'objective'), name='publication_effect_once')],
            },
        ),
        migrations.RunSQL(CREATE, DROP),
        migrations.RemoveIndex(
            model_name='claim',
            name='claim_by_objective',
        ),
    ]
