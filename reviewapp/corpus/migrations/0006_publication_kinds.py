"""Keep in an index what the claims of publications are counted by."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('corpus', '0005_folded_search'),
    ]

    operations = [
        migrations.AddIndex('publication', models.Index(fields=['id'], include=('membership', 'from_general_knowledge'), name='publication_kinds')),
    ]
