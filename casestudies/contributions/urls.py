"""The addresses of contributions: their list, the page of one, and what may be done there."""

from django.urls import path

from casestudies.contributions import views

urlpatterns = [
    path("contributions/", views.contributions, name="contributions"),
    path("contributions/import/", views.contribute, name="contribute"),
    path("contributions/<int:pk>/", views.contribution, name="contribution"),
    path("contributions/<int:pk>/undo/", views.undo, name="contribution-undo"),
    path("contributions/<int:pk>/accept/", views.accept, name="contribution-accept"),
    path("contributions/<int:pk>/withdraw/", views.withdraw, name="contribution-withdraw"),
]
