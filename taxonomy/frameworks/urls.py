"""The addresses of frameworks, libraries and systems."""

from django.urls import path, re_path

from taxonomy.frameworks import views

urlpatterns = [
    path("frameworks/", views.frameworks, name="frameworks"),
    re_path(r"^frameworks/export\.(?P<extension>csv|json)$", views.frameworks_export),
]
