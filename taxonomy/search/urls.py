"""The address of a search."""

from django.urls import path

from taxonomy.search import views

urlpatterns = [path("search/", views.search, name="search")]
