"""The addresses of sweeps: their list, the page of one, and what may be done there."""

from django.urls import path

from casestudies.sweeps import views

urlpatterns = [
    path("sweeps/", views.sweeps, name="sweeps"),
    path("sweeps/<int:pk>/", views.sweep, name="sweep"),
    path("sweeps/<int:pk>/cancel/", views.cancel, name="sweep-cancel"),
    path("sweeps/<int:pk>/note/", views.note, name="sweep-note"),
    path("sweeps/<int:pk>/measurements.csv", views.measurements_csv, name="sweep-measurements"),
]
