"""The addresses of what was tried here."""

from django.urls import path, re_path

from taxonomy.replication import views

urlpatterns = [
    path("replication/", views.replication_page, name="replication"),
    re_path(r"^replication/export\.(?P<extension>csv|json)$", views.replication_export),
]
