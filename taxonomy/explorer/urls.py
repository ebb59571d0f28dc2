"""The addresses of the taxonomy's pages and their exports."""

from django.urls import path, re_path

from taxonomy.explorer import views

urlpatterns = [
    path("taxonomy/", views.explorer, name="taxonomy"),
    re_path(
        r"^taxonomy/export\.(?P<extension>csv|json)$", views.export_explorer, name="taxonomy-export"
    ),
    path("taxonomy/<slug:slug>/", views.strategy_page, name="strategy"),
    re_path(
        r"^taxonomy/(?P<slug>[-\w]+)/export\.(?P<extension>csv|json|bib|ris|csl\.json)$",
        views.export_strategy,
        name="strategy-export",
    ),
]
