from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Count',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('what', models.CharField(max_length=100)),
                ('who', models.CharField(max_length=64)),
                ('n', models.PositiveIntegerField()),
                ('ends', models.DateTimeField(db_index=True)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('what', 'who'), name='count_of_each')],
            },
        ),
        # Written at each request that is limited: what a crash forgets need not wait for the disk.
        migrations.RunSQL("ALTER TABLE limits_count SET UNLOGGED", migrations.RunSQL.noop),
    ]
