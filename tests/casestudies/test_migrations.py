"""What a database of an older version holds is brought over."""

from importlib import import_module

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection

from tests.casestudies.making import a_person

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
