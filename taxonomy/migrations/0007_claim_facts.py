"""Give a claim's number its unit and its qualifier apart, and the claim its rule of replication."""

from django.db import migrations, models

# Of claims that no fixture names; loading the review then writes all that it names.
SPLIT = """
UPDATE taxonomy_claim SET
    unit = split_part(unit, ' (', 1),
    qualifier = CASE
        WHEN unit LIKE '%(lower bound%' THEN 'at-least'
        WHEN unit LIKE '%(upper bound%' THEN 'less-than'
        WHEN unit LIKE '%(up to%' THEN 'up-to'
        WHEN unit LIKE '%(approx%' THEN 'approx'
        ELSE 'range-high'
    END
WHERE unit ~ ' [(](lower bound|upper bound|up to|approx|top of range)';
"""


class Migration(migrations.Migration):

    dependencies = [
        ('corpus', '0003_list_orders'),
        ('taxonomy', '0006_claim_by_objective'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='claim',
            name='claim_by_value',
        ),
        migrations.AddField(
            model_name='claim',
            name='qualifier',
            field=models.TextField(choices=[('exact', ''), ('up-to', 'up to'), ('at-least', 'at least'), ('more-than', 'more than'), ('less-than', 'less than'), ('approx', 'approx.'), ('range-low', 'range from'), ('range-high', 'range to')], default='exact'),
        ),
        migrations.RunSQL(SPLIT, migrations.RunSQL.noop),
        migrations.AddField(
            model_name='claim',
            name='measure',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='rule',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='rule_blind',
            field=models.BooleanField(null=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='rule_written',
            field=models.DateField(null=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='study',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='testable',
            field=models.TextField(choices=[('no', 'no run here can speak to it'), ('model', 'only a formula fed with measured numbers'), ('direction', 'its direction only'), ('same-quantity', 'the quantity itself'), ('gpu-only', 'the quantity itself, on a GPU')], default='no'),
        ),
        migrations.AddIndex(
            model_name='claim',
            index=models.Index(models.F('objective'), models.F('unit'), models.F('direction'), models.OrderBy(models.F('value'), descending=True), models.F('id'), name='claim_by_value'),
        ),
        migrations.AddConstraint(
            model_name='claim',
            constraint=models.CheckConstraint(condition=models.Q(('qualifier__in', ['exact', 'up-to', 'at-least', 'more-than', 'less-than', 'approx', 'range-low', 'range-high'])), name='claim_qualifier_known'),
        ),
        migrations.AddConstraint(
            model_name='claim',
            constraint=models.CheckConstraint(condition=models.Q(('testable__in', ['no', 'model', 'direction', 'same-quantity', 'gpu-only'])), name='claim_testable_known'),
        ),
        migrations.AddConstraint(
            model_name='claim',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('rule', ''), ('rule_blind', None), ('rule_written', None)), models.Q(models.Q(('rule', ''), _negated=True), ('rule_blind__isnull', False), ('rule_written__isnull', False)), _connector='OR'), name='claim_rule_dated'),
        ),
    ]
