"""The addresses of the comparison, its exports and the compare tray."""

from django.urls import path

from taxonomy.comparison import tray_views, views

urlpatterns = [
    path("compare/", views.compare, name="compare"),
    path("compare/export.<str:extension>", views.export, name="compare-export"),
    path("compare/tray/", tray_views.change_tray, name="compare-tray"),
]
