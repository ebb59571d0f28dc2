"""Give claims the narrow columns that lists filter by; a trigger keeps which of them were tried."""

from django.db import migrations, models

KNOWN = """
UPDATE taxonomy_claim AS c SET
    device_gb = (SELECT min(memory_gb) FROM taxonomy_claimdevice
        WHERE claim_id = c.id AND role IN ('stated', 'implied')),
    device_named = coalesce((SELECT CASE WHEN bool_or(is_product) THEN 'product' ELSE 'kind' END
        FROM taxonomy_claimdevice WHERE claim_id = c.id AND role = 'stated'), 'none'),
    parameters_billion = (SELECT max(coalesce(parameters_billion, at_most_billion))
        FROM taxonomy_claimmodel WHERE claim_id = c.id),
    tried = claim_tried(id);
-- A table with constraints still to be checked cannot be altered.
SET CONSTRAINTS ALL IMMEDIATE;
"""

# Two who change outcomes of one claim take turns, so that the second sees what the first found.
# A claim is written only where this changes: each change makes pages count anew.
TRIED = """
CREATE FUNCTION claim_tried(claim bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM taxonomy_outcome WHERE claim_id = claim AND counts
        AND status IN ('supported', 'direction agrees', 'not reproduced'))
$$;

CREATE FUNCTION claims_tried(claims bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM taxonomy_claim WHERE id = ANY (claims) ORDER BY id FOR NO KEY UPDATE;
    claims := ARRAY(
        SELECT id FROM taxonomy_claim WHERE id = ANY (claims) AND tried <> claim_tried(id));
    IF cardinality(claims) > 0 THEN
        UPDATE taxonomy_claim SET tried = NOT tried WHERE id = ANY (claims);
    END IF;
END $$;

CREATE FUNCTION outcomes_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM claims_tried(ARRAY(SELECT DISTINCT claim_id FROM changed));
    RETURN NULL;
END $$;

CREATE FUNCTION outcomes_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM claims_tried(ARRAY(SELECT id FROM taxonomy_claim WHERE tried));
    RETURN NULL;
END $$;

CREATE TRIGGER outcomes_made AFTER INSERT ON taxonomy_outcome REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION outcomes_changed();
CREATE TRIGGER outcomes_left AFTER UPDATE ON taxonomy_outcome REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION outcomes_changed();
CREATE TRIGGER outcomes_joined AFTER UPDATE ON taxonomy_outcome REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION outcomes_changed();
CREATE TRIGGER outcomes_deleted AFTER DELETE ON taxonomy_outcome REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION outcomes_changed();
CREATE TRIGGER outcomes_gone AFTER TRUNCATE ON taxonomy_outcome
    FOR EACH STATEMENT EXECUTE FUNCTION outcomes_gone();
"""
UNTRIED = """
DROP FUNCTION outcomes_changed() CASCADE;
DROP FUNCTION outcomes_gone() CASCADE;
DROP FUNCTION claims_tried(bigint[]);
DROP FUNCTION claim_tried(bigint);
"""


class Migration(migrations.Migration):

    dependencies = [
        ('taxonomy', '0013_gap_map'),
    ]

    operations = [
        migrations.AddField('claim', 'device_gb', models.FloatField(null=True)),
        migrations.AddField('claim', 'device_named', models.TextField(choices=[('product', 'a product'), ('kind', 'only a kind'), ('none', 'no device')], default='none')),
        migrations.AddField('claim', 'parameters_billion', models.FloatField(null=True)),
        migrations.AddField('claim', 'tried', models.BooleanField(db_default=False, editable=False)),
        migrations.AddConstraint('claim', models.CheckConstraint(condition=models.Q(('device_named__in', ['product', 'kind', 'none'])), name='claim_device_named_known')),
        migrations.RunSQL(TRIED, UNTRIED),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
    ]
