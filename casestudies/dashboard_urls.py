"""The addresses of the dashboards."""

from django.urls import path

from casestudies import dashboard_views

urlpatterns = [
    path("dashboards/", dashboard_views.dashboards, name="dashboards"),
    path(
        "dashboards/export.<str:extension>",
        dashboard_views.dashboards_export,
        name="dashboards-export",
    ),
]
