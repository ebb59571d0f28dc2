"""The addresses of the case studies."""

from django.urls import path

from casestudies import study_views as views

urlpatterns = [
    path("case-studies/", views.studies, name="studies"),
    path("case-studies/<slug:slug>/", views.study, name="study"),
]
