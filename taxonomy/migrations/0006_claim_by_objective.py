from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('corpus', '0003_list_orders'),
        ('taxonomy', '0005_claim_by_value'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='claim',
            index=models.Index(fields=['publication', 'objective'], name='claim_by_objective'),
        ),
    ]
