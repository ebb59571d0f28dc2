"""Give claims what they are about, what they are an effect of, and on what they were measured."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


# What is remembered of the evidence is made of these as well.
TABLES = (
    "quantity",
    "axis",
    "attribution",
    "claimdevice",
    "claimmodel",
    "secondreading",
    "remark",
    "formerrule",
)
TRIGGER = """
CREATE TRIGGER new_taxonomy_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON taxonomy_{table}
    FOR EACH STATEMENT EXECUTE FUNCTION new_taxonomy_revision();
"""
FORGET = "DROP TRIGGER new_taxonomy_revision ON taxonomy_{table};"


def await_the_facts(apps, schema_editor):
    """Put claims that are there already on an axis of no quantity, until the review is loaded."""
    Claim = apps.get_model("taxonomy", "Claim")
    if not Claim.objects.exists():
        return
    quantity = apps.get_model("taxonomy", "Quantity").objects.create(
        slug="not-read-yet",
        position=0,
        group="quality",
        name="Not read yet",
        definition="What these numbers measure stands in the fixtures: load them again.",
        direction="higher_better",
        unit_family="",
        axis_kind="value",
        axis_unit="",
        comparable="Nothing is comparable until then.",
    )
    axis = apps.get_model("taxonomy", "Axis").objects.create(quantity=quantity)
    Claim.objects.update(axis=axis)


class Migration(migrations.Migration):

    dependencies = [
        ('corpus', '0005_folded_search'),
        ('taxonomy', '0010_search'),
    ]

    operations = [
        migrations.CreateModel(
            name='Attribution',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.PositiveSmallIntegerField()),
                ('counted', models.BooleanField(default=True)),
            ],
            options={
                'ordering': ['position'],
            },
        ),
        migrations.CreateModel(
            name='Axis',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('phase', models.TextField(blank=True, choices=[('training', 'training'), ('fine-tuning', 'fine-tuning'), ('inference', 'inference'), ('serving', 'serving'), ('compression', 'compression'), ('none', 'not tied to a phase')])),
                ('part', models.TextField(blank=True)),
                ('job', models.TextField(blank=True)),
                ('benchmark', models.TextField(blank=True)),
                ('unit', models.TextField(blank=True)),
            ],
            options={
                'verbose_name_plural': 'axes',
                'ordering': ['quantity__position', 'id'],
            },
        ),
        migrations.CreateModel(
            name='ClaimDevice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.TextField(choices=[('stated', 'named by the claim'), ('implied', 'implied by what the claim names'), ('baseline', 'named for the baseline')])),
                ('position', models.PositiveSmallIntegerField()),
                ('name', models.TextField()),
                ('is_product', models.BooleanField()),
                ('count', models.PositiveIntegerField(null=True)),
                ('memory_gb', models.FloatField(null=True)),
            ],
            options={
                'ordering': ['claim_id', 'role', 'position'],
            },
        ),
        migrations.CreateModel(
            name='ClaimModel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.PositiveSmallIntegerField()),
                ('name', models.TextField()),
                ('parameters_billion', models.FloatField(null=True)),
                ('at_least_billion', models.FloatField(null=True)),
                ('at_most_billion', models.FloatField(null=True)),
            ],
            options={
                'ordering': ['claim_id', 'position'],
            },
        ),
        migrations.CreateModel(
            name='FormerRule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('text', models.TextField()),
                ('written', models.DateField()),
                ('blind', models.BooleanField()),
                ('replaced', models.DateField()),
                ('reason', models.TextField()),
                ('after_result', models.BooleanField()),
            ],
            options={
                'ordering': ['claim_id', 'written', 'id'],
            },
        ),
        migrations.CreateModel(
            name='Quantity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.SlugField(unique=True)),
                ('position', models.PositiveSmallIntegerField()),
                ('group', models.TextField(choices=[('speed', 'Speed'), ('throughput', 'Throughput'), ('latency', 'Latency'), ('memory', 'Memory'), ('size', 'Size'), ('scale', 'Scale'), ('cost', 'Cost'), ('communication', 'Communication'), ('utilisation', 'Utilisation'), ('quality', 'Quality')])),
                ('name', models.TextField()),
                ('definition', models.TextField()),
                ('direction', models.TextField(choices=[('higher_better', 'higher is better'), ('lower_better', 'lower is better')])),
                ('unit_family', models.TextField()),
                ('axis_kind', models.TextField(choices=[('ratio', "the claim's factor in the good direction"), ('value', "the claim's number in one unit")])),
                ('axis_unit', models.TextField()),
                ('match', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None)),
                ('comparable', models.TextField()),
                ('related', models.JSONField(default=list)),
            ],
            options={
                'verbose_name_plural': 'quantities',
                'ordering': ['position'],
            },
        ),
        migrations.CreateModel(
            name='Remark',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.TextField(choices=[('doubt', 'doubt'), ('correction', 'corrected')])),
                ('field', models.TextField(blank=True)),
                ('before', models.TextField(blank=True)),
                ('text', models.TextField()),
                ('source', models.TextField(blank=True)),
                ('settled', models.BooleanField(default=False)),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='SecondReading',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('scope', models.TextField(blank=True, choices=[('isolated', 'isolated'), ('combined', 'combined'), ('against-another', 'against another'), ('system', 'whole system'), ('descriptive', 'descriptive')])),
                ('agrees', models.BooleanField(null=True)),
                ('doubt', models.TextField(blank=True)),
                ('testable', models.TextField(blank=True, choices=[('no', 'no run here can speak to it'), ('model', 'only a formula fed with measured numbers'), ('direction', 'its direction only'), ('same-quantity', 'the quantity itself'), ('gpu-only', 'the quantity itself, on a GPU')])),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='claim',
            name='claim_value_finite',
        ),
        migrations.RemoveConstraint(
            model_name='claim',
            name='claim_source_known',
        ),
        migrations.AddField(
            model_name='claim',
            name='baseline_kind',
            field=models.TextField(blank=True, choices=[('unmodified', 'the same system without it'), ('other-system', 'another system'), ('unnamed', 'not named'), ('other-model', 'another model of like quality'), ('other-resource', 'the usual, dearer hardware or service')]),
        ),
        migrations.AddField(
            model_name='claim',
            name='benchmark',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='confidence',
            field=models.TextField(choices=[('high', 'high'), ('medium', 'medium'), ('low', 'low')], default='low'),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='claim',
            name='derivable_ratio',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='hardware_alternatives',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='claim',
            name='hardware_fewest',
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='hardware_most',
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='hardware_note',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='job',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='note',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='other_end',
            field=models.OneToOneField(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='taxonomy.claim'),
        ),
        migrations.AddField(
            model_name='claim',
            name='other_plotted',
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='part',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='pattern',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='percentile',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='phase',
            field=models.TextField(choices=[('training', 'training'), ('fine-tuning', 'fine-tuning'), ('inference', 'inference'), ('serving', 'serving'), ('compression', 'compression'), ('none', 'not tied to a phase')], default='none'),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='claim',
            name='plotted',
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='ratio',
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='ratio_how',
            field=models.TextField(default='not an effect ratio'),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='claim',
            name='ratio_readings',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), default=list, size=None),
        ),
        migrations.AddField(
            model_name='claim',
            name='ratio_rule',
            field=models.TextField(choices=[('factor', 'published as a factor'), ('less', 'reduced by p %: 1 / (1 - p/100)'), ('more', 'p % more or faster: 1 + p/100'), ('share', 'p % of the baseline is left: 100/p'), ('ambiguous', 'the wording allows more than one factor'), ('none', 'not an effect ratio')], default='none'),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='claim',
            name='scope',
            field=models.TextField(choices=[('isolated', 'isolated'), ('combined', 'combined'), ('against-another', 'against another'), ('system', 'whole system'), ('descriptive', 'descriptive')], default='descriptive'),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='claim',
            name='task',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='claim',
            name='why',
            field=models.TextField(default='not read yet'),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='outcome',
            name='counts',
            field=models.BooleanField(default=True),
        ),
        migrations.AddField(
            model_name='outcome',
            name='shipped',
            field=models.BooleanField(default=False, help_text='Its run came with the project'),
        ),
        migrations.AlterField(
            model_name='claim',
            name='source',
            field=models.TextField(choices=[('abstract', 'abstract'), ('paper', 'paper'), ('readme', 'project README'), ('press', 'press coverage'), ('third-party summary', 'third-party summary')]),
        ),
        migrations.AddField(
            model_name='attribution',
            name='claim',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='attributions', to='taxonomy.claim'),
        ),
        migrations.AddField(
            model_name='attribution',
            name='strategy',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='attributions', to='taxonomy.strategy'),
        ),
        migrations.AddField(
            model_name='claim',
            name='axis',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='claims', to='taxonomy.axis'),
        ),
        migrations.AddIndex(
            model_name='claim',
            index=models.Index(models.F('axis'), models.OrderBy(models.F('plotted'), descending=True), models.F('id'), name='claim_by_axis'),
        ),
        migrations.AddConstraint(
            model_name='claim',
            constraint=models.CheckConstraint(condition=models.Q(('value', None), models.Q(('value__gt', float("-inf")), ('value__lt', float("inf"))), _connector='OR'), name='claim_value_finite'),
        ),
        migrations.AddConstraint(
            model_name='claim',
            constraint=models.CheckConstraint(condition=models.Q(('plotted', None), models.Q(('plotted__gt', float("-inf")), ('plotted__lt', float("inf"))), _connector='OR'), name='claim_plotted_finite'),
        ),
        migrations.AddConstraint(
            model_name='claim',
            constraint=models.CheckConstraint(condition=models.Q(('source__in', ['abstract', 'paper', 'readme', 'press', 'third-party summary'])), name='claim_source_known'),
        ),
        migrations.AddConstraint(
            model_name='claim',
            constraint=models.CheckConstraint(condition=models.Q(('phase__in', ['training', 'fine-tuning', 'inference', 'serving', 'compression', 'none'])), name='claim_phase_known'),
        ),
        migrations.AddConstraint(
            model_name='claim',
            constraint=models.CheckConstraint(condition=models.Q(('scope__in', ['isolated', 'combined', 'against-another', 'system', 'descriptive'])), name='claim_scope_known'),
        ),
        migrations.AddConstraint(
            model_name='claim',
            constraint=models.CheckConstraint(condition=models.Q(('confidence__in', ['high', 'medium', 'low'])), name='claim_confidence_known'),
        ),
        migrations.AddConstraint(
            model_name='claim',
            constraint=models.CheckConstraint(condition=models.Q(('baseline_kind__in', ['', 'unmodified', 'other-system', 'unnamed', 'other-model', 'other-resource'])), name='claim_baseline_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='claim',
            constraint=models.CheckConstraint(condition=models.Q(('ratio_rule__in', ['factor', 'less', 'more', 'share', 'ambiguous', 'none'])), name='claim_ratio_rule_known'),
        ),
        migrations.AddConstraint(
            model_name='claim',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ratio', None), ('ratio_rule__in', ['ambiguous', 'none'])), models.Q(models.Q(('ratio_rule__in', ['ambiguous', 'none']), _negated=True), ('ratio__gt', 0)), _connector='OR'), name='claim_ratio_by_its_rule'),
        ),
        migrations.AddField(
            model_name='claimdevice',
            name='claim',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='devices', to='taxonomy.claim'),
        ),
        migrations.AddField(
            model_name='claimmodel',
            name='claim',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='models', to='taxonomy.claim'),
        ),
        migrations.AddField(
            model_name='formerrule',
            name='claim',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='former_rules', to='taxonomy.claim'),
        ),
        migrations.AddConstraint(
            model_name='quantity',
            constraint=models.CheckConstraint(condition=models.Q(('group__in', ['speed', 'throughput', 'latency', 'memory', 'size', 'scale', 'cost', 'communication', 'utilisation', 'quality'])), name='quantity_group_known'),
        ),
        migrations.AddConstraint(
            model_name='quantity',
            constraint=models.CheckConstraint(condition=models.Q(('direction__in', ['higher_better', 'lower_better'])), name='quantity_direction_known'),
        ),
        migrations.AddConstraint(
            model_name='quantity',
            constraint=models.CheckConstraint(condition=models.Q(('axis_kind__in', ['ratio', 'value'])), name='quantity_axis_kind_known'),
        ),
        migrations.AddField(
            model_name='axis',
            name='quantity',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='axes', to='taxonomy.quantity'),
        ),
        migrations.AddField(
            model_name='remark',
            name='claim',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='remarks', to='taxonomy.claim'),
        ),
        migrations.AddField(
            model_name='remark',
            name='publication',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='remarks', to='corpus.publication'),
        ),
        migrations.AddField(
            model_name='secondreading',
            name='claim',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='second_reading', to='taxonomy.claim'),
        ),
        migrations.AddField(
            model_name='secondreading',
            name='strategies',
            field=models.ManyToManyField(related_name='+', to='taxonomy.strategy'),
        ),
        migrations.AddConstraint(
            model_name='attribution',
            constraint=models.UniqueConstraint(fields=('strategy', 'claim'), name='attribution_once'),
        ),
        migrations.AddConstraint(
            model_name='claimdevice',
            constraint=models.UniqueConstraint(fields=('claim', 'role', 'position'), name='device_once'),
        ),
        migrations.AddConstraint(
            model_name='claimdevice',
            constraint=models.CheckConstraint(condition=models.Q(('role__in', ['stated', 'implied', 'baseline'])), name='device_role_known'),
        ),
        migrations.AddConstraint(
            model_name='claimdevice',
            constraint=models.CheckConstraint(condition=models.Q(('memory_gb', None), ('memory_gb__gt', 0), _connector='OR'), name='device_memory_positive'),
        ),
        migrations.AddConstraint(
            model_name='claimmodel',
            constraint=models.UniqueConstraint(fields=('claim', 'position'), name='claim_model_once'),
        ),
        migrations.AddConstraint(
            model_name='axis',
            constraint=models.UniqueConstraint(fields=('quantity', 'phase', 'part', 'job', 'benchmark', 'unit'), name='axis_once'),
        ),
        migrations.AddConstraint(
            model_name='axis',
            constraint=models.CheckConstraint(condition=models.Q(('phase__in', ['', 'training', 'fine-tuning', 'inference', 'serving', 'compression', 'none'])), name='axis_phase_known'),
        ),
        migrations.AddConstraint(
            model_name='remark',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['doubt', 'correction'])), name='remark_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='secondreading',
            constraint=models.CheckConstraint(condition=models.Q(('scope__in', ['', 'isolated', 'combined', 'against-another', 'system', 'descriptive'])), name='second_scope_known'),
        ),
        migrations.AddConstraint(
            model_name='secondreading',
            constraint=models.CheckConstraint(condition=models.Q(('testable__in', ['', 'no', 'model', 'direction', 'same-quantity', 'gpu-only'])), name='second_testable_known'),
        ),
        migrations.RunSQL(
            "".join(TRIGGER.format(table=table) for table in TABLES),
            "".join(FORGET.format(table=table) for table in TABLES),
        ),
        migrations.RunPython(await_the_facts, migrations.RunPython.noop),
        # A table with constraints still to be checked cannot be altered.
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="claim",
            name="axis",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="claims", to="taxonomy.axis"),
        ),
    ]
