"""The addresses of a run: its page, its live view, its files, and what may be done with it."""

from django.urls import path

from casestudies.runs import files, live, views

urlpatterns = [
    path("runs/<int:pk>/", views.run, name="run"),
    path("runs/<int:pk>/news.json", live.news_since, name="run-news"),
    path("runs/<int:pk>/result.json", files.result, name="run-json"),
    path("runs/<int:pk>/log.txt", files.log, name="run-log"),
    path("runs/<int:pk>/measurements.csv", files.measurements_csv, name="run-measurements"),
    path("runs/<int:pk>/curves.csv", files.curves_csv, name="run-curves"),
    path("runs/<int:pk>/cancel/", views.cancel, name="run-cancel"),
    path("runs/<int:pk>/again/", views.again, name="run-again"),
    path("runs/<int:pk>/annotation/", views.annotation, name="run-annotation"),
    path("runs/<int:pk>/delete/", views.delete, name="run-delete"),
]
