import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('taxonomy', '0007_claim_facts'),
    ]

    operations = [
        migrations.CreateModel(
            name='Outcome',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('run', models.PositiveBigIntegerField()),
                ('study', models.SlugField()),
                ('hardware', models.TextField()),
                ('status', models.TextField(choices=[('supported', 'supported'), ('direction agrees', 'direction agrees'), ('not reproduced', 'not reproduced'), ('not comparable', 'not comparable'), ('not run', 'not run')])),
                ('reason', models.TextField(blank=True)),
                ('numbers', models.JSONField(default=list)),
                ('rule_written', models.DateField(null=True)),
                ('claim', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='outcomes', to='taxonomy.claim')),
            ],
            options={
                'ordering': ['-run'],
                'indexes': [models.Index(fields=['run'], name='outcome_by_run')],
                'constraints': [
                    models.UniqueConstraint(fields=('claim', 'run'), name='outcome_once'),
                    models.CheckConstraint(condition=models.Q(('status__in', ['supported', 'direction agrees', 'not reproduced', 'not comparable', 'not run'])), name='outcome_status_known'),
                ],
            },
        ),
    ]
