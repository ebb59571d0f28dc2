"""The addresses of a run: its page, its live view, its files, and what may be done with it."""

from django.urls import path

from casestudies import live, run_files, run_views

urlpatterns = [
    path("runs/<int:pk>/", run_views.run, name="run"),
    path("runs/<int:pk>/stream", live.stream, name="run-stream"),
    path("runs/<int:pk>/news.json", live.poll, name="run-news"),
    path("runs/<int:pk>/result.json", run_files.result, name="run-json"),
    path("runs/<int:pk>/log.txt", run_files.log, name="run-log"),
    path("runs/<int:pk>/measurements.csv", run_files.measurements_csv, name="run-measurements"),
    path("runs/<int:pk>/curves.csv", run_files.curves_csv, name="run-curves"),
    path("runs/<int:pk>/cancel/", run_views.cancel, name="run-cancel"),
    path("runs/<int:pk>/again/", run_views.again, name="run-again"),
    path("runs/<int:pk>/delete/", run_views.delete, name="run-delete"),
]
