"""Settings of a measurement in a column of their own, and the stage of a run apart from its step.

Until now a variant's text held both: "gptq, paper" is the variant gptq with the setting code.
"""

from typing import Any

from django.db import migrations, models

RENAMED = {
    "sparsegpt": {"pruning time": "compression time", "speed": "product speed"},
    "qmoe": {
        "zeros": "sparsity",
        "total": "bits per weight",
        "whole model": "bits per parameter",
        "compression": "compression ratio",
        "total at 88.5 % zeros": "bits per random weight",
    },
}
UNITS = {
    "compression ratio": "x",
    "product speed": "x",
    "perplexity ratio": "x",
    "payload over entropy": "x",
    "matched loss ratio": "x",
    "bits per weight": "bits",
    "bits per parameter": "bits",
    "bits per random weight": "bits",
}
VARIANTS = {"sparse rows (CSR)": "sparse rows", "dense bfloat16": "bfloat16"}


def divided(text: str) -> tuple[str, dict[str, Any]]:
    """Return variant and settings of what the two studies called their variants."""
    variant, _, rest = text.partition(", ")
    variant = VARIANTS.get(variant, variant)
    if not rest:
        return variant, {}
    number, _, unit = rest.partition(" ")
    if unit == "MiB":
        return variant, {"size": int(number)}
    return variant, {"tokens": int(number)} if unit.startswith("token") else {"code": rest}


def divide_variants(apps: Any, schema_editor: Any) -> None:
    Run = apps.get_model("casestudies", "Run")
    Run.objects.exclude(reference=None).delete()  # loaded again from the fixtures
    for run in Run.objects.filter(study__in=RENAMED, state="succeeded").iterator():
        for row in run.measurements.all():
            row.metric = RENAMED[run.study].get(row.metric, row.metric)
            row.unit = UNITS.get(row.metric, row.unit)
            row.variant, row.settings = divided(row.variant)
            row.save()
    for run in Run.objects.exclude(series=[]).iterator():
        for curve in run.series:
            # What the variants of a study that is gone were called, nobody knows.
            parts = divided(curve["variant"]) if run.study in RENAMED else (curve["variant"], {})
            curve["variant"], curve["settings"] = parts
        run.save(update_fields=["series"])


class Migration(migrations.Migration):
    dependencies = [("casestudies", "0003_no_procrastinate")]

    operations = [
        migrations.AddField("run", "stage", models.TextField(blank=True, default="")),
        migrations.AlterField("run", "stage", models.TextField(blank=True)),
        migrations.AddField("measurement", "settings", models.JSONField(blank=True, default=dict)),
        migrations.RemoveConstraint("measurement", "measurement_once_per_run"),
        migrations.RunPython(divide_variants, migrations.RunPython.noop),
        migrations.AddConstraint(
            "measurement",
            models.UniqueConstraint(
                fields=["run", "metric", "variant", "settings"], name="measurement_once_per_run"
            ),
        ),
    ]
