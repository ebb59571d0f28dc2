"""The addresses of the API."""

from django.urls import path, re_path

from casestudies import api as casestudies
from reviewapp import api
from reviewapp.corpus.prisma.api import Prisma
from taxonomy.api import claims, publications, strategies
from taxonomy.search.api import Everything

V1 = "api/v1/"

urlpatterns = [
    path(V1, api.reference, name="api"),
    path(f"{V1}schema/", api.Schema.as_view(), name="api-schema"),
    path(f"{V1}search/", Everything.as_view(), name="api-search"),
    path(f"{V1}publications/", publications.Publications.as_view(), name="api-publications"),
    path(
        f"{V1}publications/<slug:key>/",
        publications.OnePublication.as_view(),
        name="api-publication",
    ),
    path(f"{V1}strategies/", strategies.Strategies.as_view(), name="api-strategies"),
    path(f"{V1}strategies/<slug:slug>/", strategies.OneStrategy.as_view(), name="api-strategy"),
    path(f"{V1}quantities/", claims.Quantities.as_view(), name="api-quantities"),
    path(f"{V1}claims/", claims.Claims.as_view(), name="api-claims"),
    path(f"{V1}claims/<slug:code>/", claims.OneClaim.as_view(), name="api-claim"),
    path(f"{V1}prisma/", Prisma.as_view(), name="api-prisma"),
    path(f"{V1}studies/", casestudies.Studies.as_view(), name="api-studies"),
    path(f"{V1}studies/<slug:slug>/", casestudies.OneStudy.as_view(), name="api-study"),
    path(f"{V1}runs/", casestudies.Runs.as_view(), name="api-runs"),
    path(f"{V1}runs/<int:pk>/", casestudies.OneRun.as_view(), name="api-run"),
    path(f"{V1}runs/<int:pk>/cancel/", casestudies.CancelRun.as_view(), name="api-cancel-run"),
    path(
        f"{V1}runs/<int:pk>/annotation/",
        casestudies.AnnotateRun.as_view(),
        name="api-annotate-run",
    ),
    path(f"{V1}sweeps/", casestudies.Sweeps.as_view(), name="api-sweeps"),
    path(f"{V1}sweeps/<int:pk>/", casestudies.OneSweep.as_view(), name="api-sweep"),
    path(
        f"{V1}sweeps/<int:pk>/cancel/", casestudies.CancelSweep.as_view(), name="api-cancel-sweep"
    ),
    path(f"{V1}measurements/", casestudies.Measurements.as_view(), name="api-measurements"),
    # Without its slash an address is not led on to: what is posted would not come along.
    re_path(rf"^{V1}[\s\S]+$", api.Nothing.as_view()),
    path("account/token/", api.account_token, name="account-token"),
]
