"""The addresses of each claim and of files of claims."""

from django.urls import path

from taxonomy.claim_pages import views

urlpatterns = [
    path("claims/<slug:code>/", views.claim, name="claim"),
    path("claims/export.csv", views.claims_export, {"extension": "csv"}, name="claims-csv"),
    path("claims/export.json", views.claims_export, {"extension": "json"}, name="claims-json"),
]
