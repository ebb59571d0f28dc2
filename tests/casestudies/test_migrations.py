"""What a database of an older version holds is brought over."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from casestudies.lab.catalogue import STUDIES
from casestudies.models import Run
from tests.casestudies.making import ENVIRONMENT, NOON, a_finished_run, a_person
from tests.casestudies.test_contributions import contributed

# What procrastinate's schema has one of each kind of: a type, tables that refer to each other, a
# function that returns rows, one that takes the type, and a trigger.
LEFT_BEHIND = """
CREATE TYPE procrastinate_job_status AS ENUM ('todo', 'done');
CREATE TYPE procrastinate_job_to_defer_v1 AS (queue_name text);
CREATE TABLE procrastinate_jobs (id bigserial PRIMARY KEY, status procrastinate_job_status);
CREATE TABLE procrastinate_events (job_id bigint REFERENCES procrastinate_jobs);
CREATE FUNCTION procrastinate_fetch_job_v2() RETURNS procrastinate_jobs
    LANGUAGE sql AS 'SELECT * FROM procrastinate_jobs LIMIT 1';
CREATE FUNCTION procrastinate_defer_jobs_v1(jobs procrastinate_job_to_defer_v1[]) RETURNS void
    LANGUAGE sql AS '';
CREATE FUNCTION procrastinate_notify_v1() RETURNS trigger
    LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER procrastinate_notify AFTER INSERT ON procrastinate_jobs
    FOR EACH ROW EXECUTE FUNCTION procrastinate_notify_v1();
CREATE TABLE procrastinated (id bigint);
"""
APPLIED = "INSERT INTO django_migrations (app, name, applied) VALUES ('procrastinate', 'x', now())"
NAMES = """
SELECT relname FROM pg_class WHERE relname LIKE 'procrastinate%'
UNION SELECT proname FROM pg_proc WHERE proname LIKE 'procrastinate%'
UNION SELECT typname FROM pg_type WHERE typname LIKE 'procrastinate%'
UNION SELECT name FROM django_migrations WHERE app = 'procrastinate'
"""


def names() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(NAMES)
        return {name for (name,) in cursor.fetchall()}


@pytest.mark.django_db
def test_all_that_the_former_queue_left_is_removed_and_nothing_else() -> None:
    drop = import_module("casestudies.migrations.0003_no_procrastinate").drop
    with connection.schema_editor() as editor:
        editor.execute(LEFT_BEHIND)
        drop(apps, editor)
        # Whose they are is not known.
        assert "procrastinate_jobs" in names()
        editor.execute(APPLIED)
        job = ContentType.objects.create(app_label="procrastinate", model="procrastinatejob")
        may_see = Permission.objects.create(content_type=job, codename="view_procrastinatejob")
        person = a_person()
        person.user_permissions.add(may_see)
        drop(apps, editor)
    assert names() == {"procrastinated"}
    assert not person.user_permissions.exists()
    assert not ContentType.objects.filter(app_label="procrastinate").exists()


@pytest.mark.parametrize(
    ("text", "variant", "settings"),
    [
        ("dense", "dense", {}),
        ("gptq, paper", "gptq", {"code": "paper"}),
        ("gptq, tunstall-16", "gptq", {"code": "tunstall-16"}),
        ("int8, 128 MiB", "int8", {"size": 128}),
        ("2-bit, 16 MiB", "2-bit", {"size": 16}),
        ("sparse rows (CSR), 1 token", "sparse rows", {"tokens": 1}),
        ("dense bfloat16, 512 tokens", "bfloat16", {"tokens": 512}),
        ("zeros in a dense product, 512 tokens", "zeros in a dense product", {"tokens": 512}),
    ],
)
def test_what_variants_were_called_is_divided(text, variant, settings) -> None:
    divided = import_module("casestudies.migrations.0004_settings").divided
    assert divided(text) == (variant, settings)


BEFORE_SETTINGS = [("casestudies", "0003_no_procrastinate")]
OLD_MEASUREMENTS = [
    ("loss increase", "gptq", "nats"),
    ("zeros", "gptq", "fraction"),
    ("total", "gptq, paper", "bits per weight"),
    ("total", "gptq, rans", "bits per weight"),
    ("total at 88.5 % zeros", "paper", "bits per weight"),
    ("whole model", "gptq, paper", "bits per parameter"),
    ("compression", "gptq, paper", "x bfloat16"),
    ("product speed", "int8, 128 MiB", "x dense"),
    ("product speed", "int8, 16 MiB", "x dense"),
]
OLD_CURVE = {"name": "loss increase by size", "variant": "gptq, paper", "points": [[0.8, 0.1]]}


@pytest.fixture
def old_models() -> Iterator[Any]:
    """Take the database back to what it was before settings, and forward again in the end."""
    call_command("migrate", *BEFORE_SETTINGS[0], verbosity=0)
    yield MigrationExecutor(connection).loader.project_state(BEFORE_SETTINGS).apps
    call_command("migrate", verbosity=0)


@pytest.mark.django_db(transaction=True)
def test_an_old_result_is_read_by_the_study_of_today(old_models: Any) -> None:
    values = {
        "study": "qmoe",
        "state": "succeeded",
        "preset": "quick",
        "parameters": {"clip": 1.2},
        "environment": ENVIRONMENT,
        "series": [OLD_CURVE],
        "verdict": "It is small.",
        **dict.fromkeys(("created", "started", "finished"), NOON),
    }
    old_run, old_measurement = (
        old_models.get_model("casestudies", name) for name in ("Run", "Measurement")
    )
    own = old_run.objects.create(**values)
    for run in (own, old_run.objects.create(reference="qmoe-quick", **values)):
        for metric, variant, unit in OLD_MEASUREMENTS:
            old_measurement.objects.create(
                run=run, metric=metric, variant=variant, unit=unit, value=0.5, n=1
            )
    gone = old_run.objects.create(**{**values, "study": "gone"})
    call_command("migrate", verbosity=0)
    assert Run.objects.get(pk=gone.pk).series == [{**OLD_CURVE, "settings": {}}]
    run = Run.objects.exclude(study="gone").get()  # the reference run comes again from the fixtures
    assert run.pk == own.pk
    read = STUDIES["qmoe"].read(run.result.model_dump(mode="json"))
    assert len(read.measurements) == len(OLD_MEASUREMENTS)
    for metric, variant, settings in (
        ("loss increase", "gptq", {}),
        ("sparsity", "gptq", {}),
        ("bits per weight", "gptq", {"code": "paper"}),
        ("bits per random weight", "paper", {}),
        ("product speed", "int8", {"size": 16}),
    ):
        assert read.value(metric, variant, **settings) == 0.5
    (curve,) = read.series
    assert (curve.variant, curve.settings) == ("gptq", {"code": "paper"})


@pytest.mark.django_db(transaction=True)
def test_an_older_version_does_not_take_contributed_runs_for_its_own() -> None:
    own, contribution = a_finished_run(), contributed()
    try:
        call_command("migrate", "casestudies", "0007", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM casestudies_run")
            assert cursor.fetchall() == [(own.pk,)]
    finally:
        call_command("migrate", verbosity=0)
    assert contribution.runs.count() == 0
    assert own.measurements.exists()
