"""Runs that others made: whose they are, who brought them, and whether they were accepted."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


# An older version would take contributed runs for its own: they go first. A table with constraints
# still to be checked cannot be altered.
REMOVE = """
DELETE FROM casestudies_measurement WHERE run_id IN (
    SELECT id FROM casestudies_run WHERE contribution_id IS NOT NULL);
DELETE FROM casestudies_run WHERE contribution_id IS NOT NULL;
SET CONSTRAINTS ALL IMMEDIATE;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('casestudies', '0007_model_of_run'),
        ('taxonomy', '0016_outcome_accepted'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Contribution',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('contributor', models.CharField(max_length=100)),
                ('file_name', models.CharField(max_length=200)),
                ('note', models.CharField(blank=True, max_length=2000)),
                ('created', models.DateTimeField()),
                ('accepted', models.DateTimeField(blank=True, null=True)),
                ('withdrawn', models.DateTimeField(blank=True, help_text='When the acceptance was taken back', null=True)),
                ('accepted_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('importer', models.ForeignKey(blank=True, help_text='Nobody: it came by the command line', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='contributions', to=settings.AUTH_USER_MODEL)),
                ('withdrawn_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-created', '-id'],
                'permissions': [('accept_contribution', 'Can accept contributed runs')],
                'default_permissions': ('add', 'delete'),
            },
        ),
        migrations.AddField(
            model_name='run',
            name='contribution',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='runs', to='casestudies.contribution'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(('contribution', None), models.Q(('owner', None), ('reference', None), ('state', 'succeeded'), ('sweep', None)), _connector='OR'), name='run_contributed_is_nobodys'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.UniqueConstraint(condition=models.Q(('contribution__isnull', False)), fields=('study', 'preset', 'seed', 'hardware', 'started', 'finished'), name='run_contributed_once'),
        ),
        migrations.AddConstraint(
            model_name='contribution',
            constraint=models.CheckConstraint(condition=models.Q(('contributor', ''), _negated=True), name='contribution_of_somebody'),
        ),
        migrations.AddConstraint(
            model_name='contribution',
            constraint=models.CheckConstraint(condition=models.Q(('withdrawn', None), ('accepted__isnull', False), _connector='OR'), name='contribution_withdrawn_once_accepted'),
        ),
        migrations.RunSQL(migrations.RunSQL.noop, REMOVE),
    ]
