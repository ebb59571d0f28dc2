"""The addresses of the case studies."""

from django.urls import path

from casestudies.studies import views

urlpatterns = [
    path("case-studies/", views.studies, name="studies"),
    path("equations/", views.equations, name="equations"),
    path("case-studies/<slug:slug>/", views.study, name="study"),
]
