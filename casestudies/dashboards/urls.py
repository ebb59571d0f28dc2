"""The addresses of the dashboards."""

from django.urls import path

from casestudies.dashboards import views

urlpatterns = [
    path("dashboards/", views.dashboards, name="dashboards"),
    path(
        "dashboards/export.<str:extension>",
        views.dashboards_export,
        name="dashboards-export",
    ),
]
