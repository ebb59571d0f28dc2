"""An outcome of a contributed run says whether the run was accepted, and counts only then."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('taxonomy', '0015_kept_counts'),
    ]

    operations = [
        migrations.AddField(
            model_name='outcome',
            name='accepted',
            field=models.BooleanField(help_text='Of a contributed run: whether somebody accepted it', null=True),
        ),
        migrations.AddConstraint(
            model_name='outcome',
            constraint=models.CheckConstraint(condition=models.Q(('accepted', None), ('shipped', False), _connector='OR'), name='outcome_shipped_or_contributed'),
        ),
        migrations.AddConstraint(
            model_name='outcome',
            constraint=models.CheckConstraint(condition=models.Q(('accepted', None), ('accepted', True), ('counts', False), _connector='OR'), name='outcome_counts_once_accepted'),
        ),
    ]
