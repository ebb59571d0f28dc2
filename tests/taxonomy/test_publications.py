"""The list of publications: its search, its facets and the page of each publication."""

import re
from html import unescape

import pytest
from django.db.models import Count, F
from django.http import QueryDict
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.synthetic import add_publications
from reviewapp.corpus.models import Publication, Review
from taxonomy.models import Claim, Evidence, Family, Group, PublicationFacets, Strategy
from taxonomy.publications.facet_counts import count
from taxonomy.publications.facets import read_facets
from taxonomy.publications.filter import read_filter
from tests import factories
from tests.factories import publication
from tests.queries import count_queries

pytestmark = pytest.mark.django_db

META = re.compile(r'<meta name="(citation_\w+)" content="([^"]*)">')


def page(client: Client, query: str = "", **headers: str) -> str:
    response = client.get(f"/publications/?{query}", headers=headers)
    assert response.status_code == 200
    return response.content.decode()


def text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def titles(html: str) -> list[str]:
    return [text(found) for found in re.findall(r"<h2>(.*?)</h2>", html, re.DOTALL)]


def sentence(html: str) -> str:
    found = re.search(r'id="shown"[^>]*>(.*?)</p>', html, re.DOTALL)
    assert found
    return text(found[1])


def shown_count(html: str, facet: str, value: str) -> int:
    found = re.search(rf'id="facet-{facet}-{value}".*?class="count">([\d,]+)<', html, re.DOTALL)
    assert found
    return int(found[1].replace(",", ""))


def test_the_list_shows_all_and_says_how_many_the_review_counts(
    client: Client, review: Review
) -> None:
    html = page(client)
    assert sentence(html) == "73 publications; 65 counted in the review"
    assert "Why 65, and how sure?" in html
    assert len(titles(html)) == 25
    assert len(titles(page(client, "page=3"))) == 23


def results(html: str) -> list[str]:
    return re.findall(r'<li class="result">(.*?)</ul>', html, re.DOTALL)


def test_each_publication_links_to_the_pages_of_its_own_strategies(
    client: Client, review: Review
) -> None:
    html = page(client, "strategy=offloading")
    found = {
        title: set(re.findall(r'<a href="(/taxonomy/[^"]+)">([^<]+)</a>', result))
        for result in results(html)
        for title in titles(result)
    }
    assert len(found) > 2
    assert found == {
        title: {
            (strategy.get_absolute_url(), strategy.name)
            for strategy in Strategy.objects.filter(publications__title=title)
        }
        for title in found
    }


def test_a_page_says_which_version_is_cited_and_how_sure_that_is(
    client: Client, review: Review
) -> None:
    shown = text(client.get("/publications/frantar2022gptq/").content.decode())
    assert "ICLR 2023 (first version October 2022) conference" in shown
    assert "International Conference on Learning Representations" in shown
    assert "Published May 2023 high confidence First version October 2022, on arXiv" in shown
    assert "not certain" not in shown
    shown = text(client.get("/publications/wang2023zeropp/").content.decode())
    assert "arXiv 2023 preprint venue or year not certain" in shown
    assert "June 2023 medium confidence: venue and year deserve a second look" in shown
    assert "Also published at ICLR 2024" in shown
    shown = text(client.get("/publications/fang2021patrickstar/").content.decode())
    assert "IEEE Transactions on Parallel and Distributed Systems 34(1)" in shown


def test_a_page_carries_what_reference_managers_look_for(client: Client, review: Review) -> None:
    evil = '"><script>alert(1)</script>'
    publication(key="evil2023", title=evil, authors=[evil, "Roe, R"], venue_name=evil)
    html = client.get("/publications/evil2023/").content.decode()
    assert "<script>alert" not in html
    head = html[: html.index("</head>")]
    tags = [(name, unescape(content)) for name, content in META.findall(head)]
    assert tags.count(("citation_title", evil)) == 1
    assert [value for name, value in tags if name == "citation_author"] == [evil, "Roe, R"]
    assert ("citation_publication_date", "2023/06") in tags
    assert ("citation_conference_title", f"{evil} (MLSys)") in tags


def test_one_author_stands_alone_and_the_first_of_several_with_et_al(
    client: Client, review: Review
) -> None:
    publication(key="doe2023alone", title="Xylophone Solo", authors=["Doe, Jane"])
    publication(key="roe2023duo", title="Xylophone Duo", authors=["Roe, Richard", "Doe, Jane"])
    lines = {titles(result)[0]: text(result) for result in results(page(client, "q=xylophone"))}
    assert " Doe · MLSys 2023 " in lines["Xylophone Solo"]
    assert " Roe et al. · MLSys 2023 " in lines["Xylophone Duo"]


def test_facets_combine_and_the_sentence_says_so(client: Client, review: Review) -> None:
    html = page(client, "class=training&class=inference&from=2021&to=2023&code=yes&sort=title")
    found = Publication.objects.filter(
        classes__slug__in=["training", "inference"], year__range=(2021, 2023)
    ).exclude(code_url="")
    expected = found.distinct().count()
    counted = found.in_review().distinct().count()
    assert sentence(html) == (
        f"{expected} publications: LLM training or LLM inference, 2021–2023, with code; "
        f"{counted} counted in the review"
    )
    names = titles(html)
    assert names == sorted(names, key=str.lower)
    assert 'aria-label="Chosen"' in html


def test_every_count_is_what_choosing_it_would_show(client: Client, review: Review) -> None:
    chosen = "strategy=offloading&from=2020&membership=reconstructed&membership=named"
    html = page(client, chosen)
    for facet in read_facets():
        own = facet.key in ("strategy", "membership")
        for choice in facet.choices:
            others = QueryDict(chosen, mutable=True)
            if own:
                others.pop(facet.key)
            others.appendlist(facet.key, choice.value)
            alone = int(sentence(page(client, others.urlencode())).split(" ", 1)[0])
            assert shown_count(html, facet.key, choice.value) == alone, (facet.key, choice.value)


def test_a_chip_takes_away_one_choice_and_nothing_else(client: Client, review: Review) -> None:
    html = page(client, "q=memory&class=training&class=inference&from=2021&sort=title")
    chips = {
        text(label).removeprefix("Remove ").removesuffix(" ×"): unescape(href)
        for href, label in re.findall(r'class="chip" href="([^"]*)">(.*?)</a>', html)
    }
    assert chips == {
        "Search: memory": "/publications/?class=training&class=inference&from=2021&sort=title",
        "Class: LLM training": "/publications/?q=memory&class=inference&from=2021&sort=title",
        "Class: LLM inference": "/publications/?q=memory&class=training&from=2021&sort=title",
        "Years: since 2021": "/publications/?q=memory&class=training&class=inference&sort=title",
    }


def test_a_search_ranks_highlights_and_completes_the_last_word(
    client: Client, review: Review
) -> None:
    html = page(client, "q=one-shot+prun")
    assert titles(html)[0].startswith("SparseGPT")
    assert "<mark>Pruned</mark>" in html
    assert '<option value="" selected>Best match</option>' in html
    assert "Best match" not in page(client, "class=training")


def test_a_search_finds_what_is_only_in_a_claim(client: Client, review: Review) -> None:
    publication(key="doe2023claim", title="Nothing To See")
    found = Publication.objects.get(key="doe2023claim")
    assert "Nothing To See" not in page(client, "q=xylophone")
    factories.claim(found, objective="latency", metric="xylophone speedup")
    assert titles(page(client, "q=xylophone")) == ["Nothing To See"]


def test_an_excluded_word_stays_excluded(client: Client, review: Review) -> None:
    with_word = sentence(page(client, "q=memory"))
    without = titles(page(client, "q=memory+-offloading"))
    assert without
    assert int(with_word.split(" ", 1)[0]) > len(without) or len(without) == 25
    assert "73 publications" not in sentence(page(client, "q=-memory"))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.text(
        st.one_of(st.sampled_from("'\":*!&|()<->\\ ab"), st.characters(exclude_categories=["Cs"])),
        max_size=40,
    )
)
def test_any_search_is_answered(client: Client, review: Review, words: str) -> None:
    response = client.get("/publications/", {"q": words})
    assert response.status_code in (200, 400)
    assert (response.status_code == 400) == ("\0" in words)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("strategy=telepathy", "There is no strategy “telepathy”."),
        ("class=%3Cscript%3E", "There is no class “&lt;script&gt;”."),
        ("membership=all", "There is no membership “all”."),
        ("sort=random", "There is no sort order “random”."),
        ("from=soon", "“from”: Enter a whole number."),
        ("to=99999999999999999999", "“to”: Ensure this value is less than or equal to 2100."),
        ("q=" + "a" * 10_000, "A search may have at most 200 characters."),
        ("strategy=" + "a" * 10_000, "There is no strategy “aaa"),
        ("q=a%00b", "Null characters are not allowed."),
    ],
)
@pytest.mark.parametrize("path", ["", "export.csv"])
def test_what_cannot_be_is_refused_with_a_sentence(
    client: Client, path: str, query: str, message: str
) -> None:
    response = client.get(f"/publications/{path}?{query}")
    assert response.status_code == 400
    body = response.content.decode()
    assert message in body
    assert len(body) < 10_000


@pytest.mark.parametrize(
    "query",
    [
        "utm_source=x",
        "page=abc",
        "page=-1",
        "page=999999999999999999999",
        "q=%ff%fe%00"[:8],
        "q=the",
    ],
)
def test_what_does_not_matter_is_ignored(client: Client, review: Review, query: str) -> None:
    assert client.get(f"/publications/?{query}").status_code == 200


def test_years_the_wrong_way_round_are_turned(client: Client, review: Review) -> None:
    assert sentence(page(client, "from=2022&to=2020")) == sentence(
        page(client, "from=2020&to=2022")
    )


def test_an_empty_result_offers_a_way_out(client: Client, review: Review) -> None:
    html = page(client, "q=zebra&class=training")
    assert "No publication matches all of this." in html
    assert "show all publications" in html
    assert titles(html) == []


def test_a_partial_request_gets_the_list_alone_and_history_the_page(
    client: Client, review: Review
) -> None:
    part = page(client, "class=training", **{"HX-Request": "true"})
    assert "<html" not in part
    assert sentence(part) == sentence(page(client, "class=training"))
    restored = {"HX-Request": "true", "HX-History-Restore-Request": "true"}
    assert "<html" in page(client, "class=training", **restored)
    assert "HX-Request" in client.get("/publications/")["Vary"]


def test_text_from_the_database_is_escaped_everywhere(client: Client, review: Review) -> None:
    script = "<script>alert(1)</script> wicked"
    values = dict.fromkeys(("title", "venue", "artifact_name", "summary", "limitation"), script)
    lists = {name: [script] for name in ("authors", "hardware", "models_used", "sources")}
    made = publication(key="evil2023", confidence="medium", **values, **lists)
    for address in (
        "/publications/?q=wicked",
        "/publications/?confidence=medium",
        "/publications/evil2023/",
    ):
        html = client.get(address).content.decode()
        assert "<script>alert" not in html
        assert "&lt;script&gt;" in html
    made.delete()


def test_the_number_of_queries_does_not_grow(client: Client, review: Review) -> None:
    addresses = [
        "/publications/",
        "/publications/?q=memory&strategy=offloading&from=2020&sort=claims",
        "/publications/frantar2023sparsegpt/",
    ]
    before = [count_queries(client, address) for address in addresses]
    add_publications(150)
    assert [count_queries(client, address) for address in addresses] == before


def test_one_publication_shows_its_evidence_and_where_it_is_from(
    client: Client, review: Review
) -> None:
    html = text(client.get("/publications/frantar2023sparsegpt/").content.decode())
    assert "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot" in html
    assert "less than 4.5 h" in html
    assert "device not stated" in html
    assert "The review’s case study on SparseGPT" in html
    assert "Result: not run" in html
    assert "a machine-written summary of the review names this publication" in html
    assert "Basis: this project's reading." in html
    assert "shares 2 strategies" in html
    assert "README of DefTruth/Awesome-LLM-Inference" in html
    assert "none known" in html


def test_an_unknown_publication_is_not_found(client: Client, review: Review) -> None:
    assert client.get("/publications/nobody2023nothing/").status_code == 404
    assert client.get("/publications/nobody2023nothing/export.bib").status_code == 404


def expected_facets(pk: int) -> dict[str, object]:
    found = Publication.objects.get(pk=pk)
    evidence = Evidence.objects.filter(publication=pk)
    return {
        "year": found.year,
        "membership": found.membership,
        "has_code": bool(found.code_url),
        "classes": sorted(found.classes.values_list("pk", flat=True)),
        "strategies": sorted(evidence.values_list("strategy", flat=True)),
        "families": sorted(set(evidence.values_list("strategy__group__family", flat=True))),
        "objectives": sorted(set(found.claims.values_list("objective", flat=True))),
        "claim_count": found.claims.count(),
    }


def assert_facets_are_right() -> None:
    for row in PublicationFacets.objects.all():
        for column, value in expected_facets(row.pk).items():
            assert getattr(row, column) == value, (row.pk, column)


def test_facets_follow_every_change_of_what_they_repeat(review: Review) -> None:
    assert PublicationFacets.objects.count() == 73
    assert_facets_are_right()
    first, second = Publication.objects.order_by("key")[:2]
    first.code_url, first.year, first.membership = "", 2019, "extension"
    first.save()
    Claim.objects.filter(publication=first).update(publication=second, position=F("position") + 50)
    Claim.objects.filter(publication=second, position=50).update(objective="reliability")
    unused = Strategy.objects.exclude(publications=first).earliest("pk")
    Evidence.objects.create(publication=first, strategy=unused)
    first.classes.clear()
    Evidence.objects.filter(publication=second).earliest("pk").delete()
    assert_facets_are_right()
    other = Family.objects.exclude(groups__strategies=unused).earliest("pk")
    moved_to = Group.objects.filter(family=other).earliest("pk")
    Strategy.objects.filter(pk=unused.pk).update(group=moved_to)
    Group.objects.filter(family=other).update(family=Family.objects.exclude(pk=other.pk).first())
    assert_facets_are_right()
    second.delete()
    assert PublicationFacets.objects.count() == 72


def test_counts_add_up(review: Review) -> None:
    counts = count(read_filter(QueryDict(""), read_facets()))
    years = dict(Publication.objects.order_by().values_list("year").annotate(n=Count("*")))
    assert counts.by_facet["year"] == years
    assert (counts.total, counts.counted) == (73, 65)
