"""The addresses of the taxonomy's pages and their exports."""

from django.urls import path, re_path

from taxonomy.explorer import strategy_views, views

urlpatterns = [
    path("taxonomy/", views.explorer, name="taxonomy"),
    re_path(
        r"^taxonomy/export\.(?P<extension>csv|json)$", views.export_explorer, name="taxonomy-export"
    ),
    path("taxonomy/<slug:slug>/", strategy_views.strategy, name="strategy"),
    path("taxonomy/<slug:slug>/chart/", strategy_views.strategy_chart, name="strategy-chart"),
    re_path(
        r"^taxonomy/(?P<slug>[-\w]+)/export\.(?P<extension>csv|json|bib|ris|csl\.json)$",
        strategy_views.export_strategy,
        name="strategy-export",
    ),
]
