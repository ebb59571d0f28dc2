"""The addresses of the list of publications and of each publication."""

from django.urls import path

from taxonomy.publications import views

LIST_EXPORTS = ("csv", "json", "bib", "ris", "csl.json")
EXPORTS = ("bib", "ris", "csl.json", "json")

urlpatterns = [
    path("publications/", views.publications, name="publications"),
    path("publications/<slug:key>/", views.publication, name="publication"),
    *(
        path(f"publications/export.{kind}", views.publications_export, {"extension": kind})
        for kind in LIST_EXPORTS
    ),
    *(
        path(
            f"publications/<slug:key>/export.{kind}", views.publication_export, {"extension": kind}
        )
        for kind in EXPORTS
    ),
]
