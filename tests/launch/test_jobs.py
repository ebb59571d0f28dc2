"""The queue's own housekeeping."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob

from casestudies.worker import jobs


@pytest.mark.django_db(transaction=True)
def test_expired_sessions_and_old_jobs_are_removed_and_recent_ones_kept() -> None:
    now = timezone.now()
    for key, age in (("expired", timedelta(days=1)), ("current", timedelta(days=-1))):
        Session.objects.create(session_key=key, session_data="", expire_date=now - age)
    old, recent = finished_job(days_ago=31), finished_job(days_ago=29)

    jobs.remove_outdated_rows.configure(task_kwargs={"timestamp": 0}).defer()
    with app.replace_connector(app.connector.get_worker_connector()):  # type: ignore[attr-defined]
        app.run_worker(queues=["cpu"], wait=False, install_signal_handlers=False)

    assert [session.session_key for session in Session.objects.all()] == ["current"]
    left = set(ProcrastinateJob.objects.values_list("id", flat=True))
    assert recent in left
    assert old not in left


def finished_job(*, days_ago: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, status)"
            " VALUES ('cpu', 'some.task', 'failed') RETURNING id"
        )
        [job] = cursor.fetchone()
        cursor.execute(
            "INSERT INTO procrastinate_events (job_id, type, at)"
            " VALUES (%s, 'failed', now() - make_interval(days => %s))",
            [job, days_ago],
        )
    return job
