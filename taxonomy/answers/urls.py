"""The addresses of the answers and their exports."""

from django.urls import path, re_path

from taxonomy.answers import views

urlpatterns = [
    path("answers/", views.answers, name="answers"),
    re_path(r"^answers/export\.(?P<extension>csv|json)$", views.export_answer),
]
