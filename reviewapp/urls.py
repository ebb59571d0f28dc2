"""The addresses of the site: each room's pages, joined."""

from django.urls import path

from casestudies.contributions.urls import urlpatterns as contribution_urls
from casestudies.dashboards.urls import urlpatterns as dashboard_urls
from casestudies.runs.urls import urlpatterns as run_urls
from casestudies.studies.urls import urlpatterns as study_urls
from casestudies.sweeps.urls import urlpatterns as sweep_urls
from reviewapp import pages
from reviewapp.account_urls import urlpatterns as account_urls
from reviewapp.api_urls import urlpatterns as api_urls
from reviewapp.corpus.prisma.urls import urlpatterns as corpus_urls
from taxonomy.answers.urls import urlpatterns as answer_urls
from taxonomy.claim_pages.urls import urlpatterns as claim_urls
from taxonomy.comparison.urls import urlpatterns as compare_urls
from taxonomy.explorer.urls import urlpatterns as explorer_urls
from taxonomy.frameworks.urls import urlpatterns as framework_urls
from taxonomy.publications.urls import urlpatterns as publication_urls
from taxonomy.replication.urls import urlpatterns as replication_urls
from taxonomy.search.urls import urlpatterns as search_urls

handler400 = pages.bad_request
handler500 = pages.server_error

urlpatterns = [
    path("", pages.home, name="home"),
    path("about/", pages.about, name="about"),
    path("healthz", pages.health, name="healthz"),
    *explorer_urls,
    *publication_urls,
    *claim_urls,
    *answer_urls,
    *framework_urls,
    *replication_urls,
    *search_urls,
    *compare_urls,
    *corpus_urls,
    *study_urls,
    *run_urls,
    *sweep_urls,
    *contribution_urls,
    *dashboard_urls,
    *account_urls,
    *api_urls,
]
