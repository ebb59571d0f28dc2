"""The address of the answers."""

from django.urls import path

from taxonomy.answers import views

urlpatterns = [path("answers/", views.answers, name="answers")]
