"""Search claims by themselves, by more of what they say, and with the synonyms of the field."""

import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
from django.db import migrations, models


# What a publication is found by, with the hardware and the model that its claims name.
CLAIMS_TEXT = """
CREATE OR REPLACE FUNCTION refresh_claims_text() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM corpus_publication AS p
    WHERE p.id IN (SELECT publication_id FROM changed) ORDER BY p.id FOR UPDATE;
    UPDATE corpus_publication AS p
    SET claims_text = coalesce((
        SELECT string_agg(concat_ws(' ', {columns}), ' ' ORDER BY c.position)
        FROM taxonomy_claim AS c WHERE c.publication_id = p.id
    ), '')
    WHERE p.id IN (SELECT publication_id FROM changed);
    RETURN NULL;
END $$;
"""
BEFORE = CLAIMS_TEXT.format(columns="c.metric, c.baseline, c.conditions")
NOW = CLAIMS_TEXT.format(columns="c.metric, c.baseline, c.conditions, c.hardware, c.model")

# A claim is known by its publication's name too: "SparseGPT runtime".
CLAIM_SEARCH = """
CREATE FUNCTION claim_search() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT setweight(to_tsvector('english', search_text(concat_ws(
            ' ', NEW.metric, NEW.unit, replace(NEW.objective, '-', ' '), NEW.hardware, NEW.model))), 'A')
        || setweight(to_tsvector('english', search_text(
            concat_ws(' ', NEW.baseline, NEW.conditions))), 'B')
        || setweight(to_tsvector('english', search_text(
            concat_ws(' ', artifact_name, title))), 'C')
    INTO NEW.search FROM corpus_publication WHERE id = NEW.publication_id;
    RETURN NEW;
END $$;
CREATE TRIGGER claim_search
    BEFORE INSERT OR UPDATE OF metric, unit, objective, hardware, model, baseline, conditions, publication_id
    ON taxonomy_claim FOR EACH ROW EXECUTE FUNCTION claim_search();

CREATE FUNCTION renamed_in_claims() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE taxonomy_claim SET metric = metric WHERE publication_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER renamed_in_claims AFTER UPDATE OF title, artifact_name ON corpus_publication FOR EACH ROW
    WHEN ((OLD.title, OLD.artifact_name) <> (NEW.title, NEW.artifact_name))
    EXECUTE FUNCTION renamed_in_claims();

UPDATE taxonomy_claim SET metric = metric;
"""
NO_CLAIM_SEARCH = "DROP FUNCTION claim_search() CASCADE; DROP FUNCTION renamed_in_claims() CASCADE;"

# What search remembers is made of these as well.
REVISION = """
DROP TRIGGER new_taxonomy_revision ON corpus_publication;
CREATE TRIGGER new_taxonomy_revision
    AFTER INSERT OR UPDATE OF {columns} OR DELETE OR TRUNCATE ON corpus_publication
    FOR EACH STATEMENT EXECUTE FUNCTION new_taxonomy_revision();
"""
FEW = "membership, key, artifact_name, year, month"
SYNONYMS = """
CREATE TRIGGER new_taxonomy_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON taxonomy_synonym
    FOR EACH STATEMENT EXECUTE FUNCTION new_taxonomy_revision();
"""
REMEMBER = REVISION.format(columns=f"{FEW}, title, authors, hardware, models_used") + SYNONYMS


class Migration(migrations.Migration):

    dependencies = [
        ('corpus', '0005_folded_search'),
        ('taxonomy', '0009_outcome_rank'),
    ]

    operations = [
        migrations.CreateModel(
            name='Synonym',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('head', models.TextField()),
                ('kind', models.TextField(choices=[('same', 'means the same'), ('narrower', 'is a kind of it'), ('see_also', 'is suggested beside it'), ('whole_word', 'means the same where it stands as a word of its own')])),
                ('text', models.TextField()),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.AddField(
            model_name='claim',
            name='search',
            field=django.contrib.postgres.search.SearchVectorField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name='claim',
            index=django.contrib.postgres.indexes.GinIndex(fields=['search'], name='claim_search'),
        ),
        migrations.AddField(
            model_name='synonym',
            name='strategy',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='synonyms', to='taxonomy.strategy'),
        ),
        migrations.AddConstraint(
            model_name='synonym',
            constraint=models.UniqueConstraint(fields=('strategy', 'head', 'kind', 'text'), name='synonym_once', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='synonym',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['same', 'narrower', 'see_also', 'whole_word'])), name='synonym_kind_known'),
        ),
        migrations.RunSQL(NOW + CLAIM_SEARCH, BEFORE + NO_CLAIM_SEARCH),
        migrations.RunSQL(REMEMBER, REVISION.format(columns=FEW)),
    ]
