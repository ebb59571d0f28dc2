"""The addresses of ..."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
