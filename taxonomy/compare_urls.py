"""The addresses of the comparison, its exports and the compare tray."""

from django.urls import path

from taxonomy import compare_views, tray_views

urlpatterns = [
    path("compare/", compare_views.compare, name="compare"),
    path("compare/export.<str:extension>", compare_views.export, name="compare-export"),
    path("compare/tray/", tray_views.change_tray, name="compare-tray"),
]
