"""The list of publications: its search, its facets and the page of each publication."""

import re
from html import unescape
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import Count, F
from django.http import QueryDict
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewapp.corpus.models import Publication, Review
from taxonomy.choices import ClaimSource, Status
from taxonomy.claims.outcomes import Finding, Judged, keep
from taxonomy.models import Claim, Evidence, Family, Group, Outcome, PublicationFacets, Strategy
from taxonomy.publications import facets
from taxonomy.publications.facet_counts import count
from taxonomy.publications.facet_values import keep_up
from taxonomy.publications.facets import read_facets
from taxonomy.publications.filter import read_filter
from taxonomy.publications.kinds import Choice, ListFacet
from tests import factories
from tests.casestudies.making import a_finished_run
from tests.factories import publication

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


def test_the_largest_models_come_first_and_those_of_no_known_size_last(
    client: Client, review: Review
) -> None:
    for key, size in (("small", 1), ("unknown", None), ("large", 70)):
        publication(key=key, title=f"Zebra {key}", max_params_billion=size)
    assert titles(page(client, "q=zebra&sort=size")) == [
        "Zebra large",
        "Zebra small",
        "Zebra unknown",
    ]


def results(html: str) -> list[str]:
    return re.findall(r'<li class="result">(.*?)\n *</li>', html, re.DOTALL)


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
        if not isinstance(facet, ListFacet):
            continue
        own = facet.key in ("strategy", "membership")
        for choice in facet.choices:
            others = QueryDict(chosen, mutable=True)
            if own:
                others.pop(facet.key)
            others.appendlist(facet.key, choice.value)
            alone = int(sentence(page(client, others.urlencode())).split(" ", 1)[0])
            assert shown_count(html, facet.key, choice.value) == alone, (facet.key, choice.value)


def test_what_would_show_nothing_or_the_same_is_greyed(client: Client, review: Review) -> None:
    html = page(client, "strategy=pruning")
    total = int(sentence(html).split(" ", 1)[0])
    options = re.findall(
        r'<label( class="none")?><input [^>]*name="(\w+)"[^>]*> .*?class="count">(\d+)<', html
    )
    of_others = [(bool(grey), int(n)) for grey, name, n in options if name != "strategy"]
    assert {n for grey, n in of_others if grey} == {0, total}
    assert all(0 < n < total for grey, n in of_others if not grey)
    assert all((n == "0") == bool(grey) for grey, name, n in options if name == "strategy")


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
    assert ": matching “one-shot prun”; " in sentence(html)
    assert "matching “quantization”; " in sentence(page(client, "q=quantizaton"))
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


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
        pytest.param(
            "q=" + "a" * 10_000, "A search may have at most 200 characters.", id="long search"
        ),
        pytest.param("strategy=" + "a" * 10_000, "There is no strategy “aaa", id="long strategy"),
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


def test_each_year_is_a_bar_as_high_as_it_has_publications_on_one_ground(
    client: Client, review: Review
) -> None:
    bars = re.findall(
        r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"[^>]*>'
        r"<title>(\d+): (\d+)</title>",
        page(client),
    )
    counts = dict(Publication.objects.order_by().values_list("year").annotate(n=Count("*")))
    assert {int(year): int(n) for *_, year, n in bars if n != "0"} == counts
    heights = [float(height) for *_, height, _, _ in bars]
    tallest = max(counts.values())
    for (x, y, width, _, _, n), height in zip(bars, heights, strict=True):
        assert height == pytest.approx(max(heights) * int(n) / tallest, abs=0.1)
        assert float(y) + height == pytest.approx(max(heights), abs=0.1)
        assert float(x) + float(width) <= 220
    places = [float(x) for x, *_ in bars]
    step = places[-1] / (len(bars) - 1)
    assert places == pytest.approx([step * n for n in range(len(bars))], abs=0.1)
    publication(key="doe2023alone", title="Xylophone")
    [alone] = re.findall(
        r'width="([\d.]+)" height="[\d.]+"[^>]*><title>', page(client, "q=xylophone")
    )
    assert float(alone) < step * 3, "a year alone is no block"


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ("", 0, 9999),
        ("from=2021&to=2022", 2021, 2022),
        ("from=2022", 2022, 9999),
        ("to=2020", 0, 2020),
    ],
)
def test_of_all_years_those_asked_for_are_marked(
    client: Client, review: Review, query: str, first: int, last: int
) -> None:
    bars = re.findall(r'<rect [^>]*?( class="in")?><title>(\d+): \d+</title>', page(client, query))
    years = set(Publication.objects.values_list("year", flat=True))
    assert years <= {int(year) for _, year in bars}
    assert [int(year) for mark, year in bars if mark] == [
        int(year) for _, year in bars if first <= int(year) <= last
    ]


def test_what_few_ask_for_stands_closed_until_something_of_it_is_chosen(
    client: Client, review: Review
) -> None:
    def closed_and_open(query: str) -> dict[str, str]:
        found = re.findall(
            r'id="facet-in-(\w+)"( open)?>\s*<summary>.*?(?:<span class="quiet">([^<]*)</span>)?'
            r"</summary>",
            page(client, query),
        )
        return {key: said if is_open else "closed" for key, is_open, said in found}

    asked_by_few = (
        *("quantity", "scope", "device_named", "model_size"),
        *("venue", "artifact", "code", "membership", "confidence", "record"),
    )
    closed = dict.fromkeys(asked_by_few, "closed")
    assert closed_and_open("class=training") == closed
    query = "venue=journal&venue=conference&quantity=speedup-end-to-end"
    assert closed_and_open(query) == closed | {"venue": "2 chosen", "quantity": "1 chosen"}


@pytest.mark.parametrize("query", ["", "class=training", "year=2021&year=2021&venue=journal"])
def test_what_would_show_nothing_or_nothing_else_is_quiet(
    client: Client, review: Review, query: str
) -> None:
    options = re.findall(
        r'<label( class="none")?><input [^>]*? name="(\w+)"[^>]*?( checked)?> <span>.*?'
        r'<span class="count">([\d,]+)</span>',
        page(client, query),
    )
    total = count(read_filter(QueryDict(query), read_facets())).total
    chosen = {key for _, key, mark, _ in options if mark}
    assert chosen == {key for key in ("class", "venue") if f"{key}=" in query}
    for mark, key, _, n in options:
        idle = {0} if key in chosen else {0, total}  # others may be added to what is chosen
        assert bool(mark) == (int(n.replace(",", "")) in idle), (key, n)


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ("code=yes", lambda found: bool(found.code_url)),
        ("code=no", lambda found: not found.code_url),
        ("record=sources", lambda found: not found.from_general_knowledge),
        ("record=general-knowledge", lambda found: found.from_general_knowledge),
        ("tried=yes", lambda found: False),
        ("tried=no", lambda found: found.claims.exists()),
    ],
)
def test_yes_and_no_keep_what_they_say(
    client: Client, review: Review, query: str, passes: Any
) -> None:
    wanted = sum(map(passes, Publication.objects.all()))
    assert sentence(page(client, query)).split(" ", 1)[0] == str(wanted)


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


Value = tuple[str, Any, int | None]
KEPT = """
SELECT facet, value #>> '{}', claim FROM facets_now()
WHERE block = %s / 4096 AND get_bit(bits, %s %% 4096) = 1
"""


def kept_values(pk: int) -> set[Value]:
    """Return what the database counts the publication by: facet, value, and of which claim."""
    with connection.cursor() as cursor:
        cursor.execute(KEPT, [pk, pk])
        return set(cursor.fetchall())


def band(number: float | None, limits: list[int]) -> str:
    if number is None:
        return "not-stated"
    return next((str(limit) for limit in limits if number <= limit), "more")


def values_of_claim(claim: Claim) -> dict[str, Any]:
    """Return what the facets say of a claim, from its devices, models and outcomes."""
    own = claim.devices.filter(role__in=["stated", "implied"])
    stated = [device.is_product for device in claim.devices.filter(role="stated")]
    sizes = [model.parameters_billion or model.at_most_billion for model in claim.models.all()]
    memory = min((device.memory_gb for device in own if device.memory_gb), default=None)
    size = max((size for size in sizes if size), default=None)
    judged = ["supported", "direction agrees", "not reproduced"]
    return {
        "objective": claim.objective,
        "quantity": claim.axis.quantity_id,
        "phase": claim.phase,
        "scope": claim.scope,
        "device_memory": band(memory, [16, 24, 32, 40, 48, 80]),
        "device_named": ("product" if any(stated) else "kind") if stated else "none",
        "model_size": band(size, [1, 7, 13, 70, 200]),
        "tried": str(claim.outcomes.filter(counts=True, status__in=judged).exists()).lower(),
    }


def expected_values(pk: int) -> set[Value]:
    found = Publication.objects.get(pk=pk)
    evidence = Evidence.objects.filter(publication=pk)
    values: dict[str, list[Any]] = {
        "class": list(found.classes.values_list("pk", flat=True)),
        "family": list(evidence.values_list("strategy__group__family", flat=True)),
        "strategy": list(evidence.values_list("strategy", flat=True)),
        "year": [found.year],
        "venue": [found.venue_kind],
        "artifact": [found.artifact_kind],
        "code": [str(bool(found.code_url)).lower()],
        "membership": [found.membership],
        "confidence": [found.confidence],
        "record": [str(found.from_general_knowledge).lower()],
        "counted": [str(found.in_review).lower()],
    }
    of_claims = {
        (key, str(value), claim.position)
        for claim in found.claims.select_related("axis")
        for key, value in values_of_claim(claim).items()
    }
    return of_claims | {(key, str(one), None) for key, some in values.items() for one in some}


def assert_facets_are_right() -> None:
    for row in PublicationFacets.objects.all():
        found = Publication.objects.get(pk=row.pk)
        assert kept_values(row.pk) == expected_values(row.pk), found.key
        assert (row.year, row.membership) == (found.year, found.membership)
        assert row.classes == sorted(found.classes.values_list("pk", flat=True))
        assert row.strategies == sorted(found.strategies.values_list("pk", flat=True))
        assert row.claim_count == found.claims.count()


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
    gone = second.pk
    second.delete()
    assert PublicationFacets.objects.count() == 72
    assert kept_values(gone) == set()


def of_year(year: int) -> int:
    return count(read_filter(QueryDict(""), read_facets())).by_facet["year"][year]


@pytest.mark.django_db(transaction=True)
def test_writers_do_not_wait_for_each_other_and_what_each_commits_is_counted() -> None:
    call_command("load_review", "fixtures", verbosity=0)
    move = "UPDATE corpus_publication SET year = 1999 WHERE id = %s"
    first, second, third = Publication.objects.values_list("pk", flat=True)[:3]
    parameters = {k: v for k, v in connection.get_connection_params().items() if k in DIRECT}
    with psycopg.connect(**parameters) as one, psycopg.connect(**parameters) as two:
        two.execute("SET lock_timeout = '5s'")
        one.execute(move, [first])
        two.execute(move, [second])
        assert of_year(1999) == 0, "what is not committed is not counted"
        two.commit()
        assert of_year(1999) == 1
        one.commit()
        assert of_year(1999) == 2
    assert_facets_are_right()
    Publication.objects.filter(pk=third).update(year=1999)
    assert of_year(1999) == 3
    assert_facets_are_right()


DIRECT = {"dbname", "host", "port", "user", "password"}


def claims_of(key: str, title: str, *sayings: tuple[str, str]) -> None:
    """Make a publication with a claim for each objective and source."""
    made = publication(key=key, title=title)
    for position, (objective, source) in enumerate(sayings):
        factories.claim(made, position=position, objective=objective, source=source)


def test_a_facet_is_one_entry_and_all_that_speak_of_claims_ask_the_same_claim(
    client: Client, review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = tuple(Choice(s.value, s.label, f"from its {s.label}", s.value) for s in ClaimSource)
    added = ListFacet("source", "Source of a claim", Claim, "source", lambda: choices)
    monkeypatch.setattr(facets, "FACETS", (*facets.FACETS, added))
    keep_up()
    claims_of("doe2023one", "Both In One Claim", ("cost", "paper"), ("memory", "readme"))
    claims_of("doe2023two", "Each In Another", ("memory", "paper"), ("cost", "readme"))
    query = "objective=memory&membership=reconstructed"
    html = page(client, f"{query}&source=readme")
    assert "Memory claims, reconstructed, from its project README;".lower() in html.lower()
    assert "Both In One Claim" in titles(html)
    assert "Each In Another" not in titles(html)
    for source in ClaimSource.values:
        alone = page(client, f"{query}&source={source}")
        assert shown_count(html, "source", source) == int(sentence(alone).split(" ", 1)[0])
    found = client.get(f"/api/v1/publications/?{query}&source=readme").content.decode()
    assert "doe2023one" in found
    assert "doe2023two" not in found


def test_the_list_follows_every_change_and_each_visitor_sees_the_own_tray(
    client: Client, review: Review
) -> None:
    pruned = Claim.objects.filter(
        attributions__strategy__slug="pruning", attributions__counted=True
    )
    one = pruned.select_related("publication").earliest("pk").publication

    def shown(to: Client) -> str:
        found = page(to, "strategy=pruning")
        return text(results(found)[titles(found).index(one.title)])

    before = shown(client)
    assert "supported" not in before
    assert "Played on a xylophone." not in before
    Publication.objects.filter(pk=one.pk).update(summary="Played on a xylophone.")
    assert "Played on a xylophone." in shown(client)
    for hardware, status, words in (
        ("CPU", Status.SUPPORTED, "supported"),
        ("GPU", Status.NOT_REPRODUCED, "runs conflict"),
    ):
        judged = Judged(a_finished_run().pk, "sparsegpt", hardware)
        keep([(judged, [Finding(claim.code, status) for claim in pruned.filter(publication=one)])])
        assert words in shown(client)
    other = Client()
    other.cookies["compare"] = f"publication:{one.key}"
    assert "In tray" in shown(other)
    assert "In tray" not in shown(client)


def test_a_practitioner_is_told_what_nobody_states_and_sees_the_claims_that_match(
    client: Client, review: Review
) -> None:
    asked = "objective=memory&phase=inference"
    html = page(client, f"{asked}&device_memory=16&device_memory=24")
    assert sentence(html) == (
        "0 publications: memory claims, in inference, on a device of up to 16 GB or on a device of "
        "over 16 to 24 GB; 0 counted in the review"
    )
    assert "no single claim recorded here is all of it" in text(html)
    silent = f"/publications/?{asked}&device_memory=not-stated"
    assert re.findall(r'href="([^"]*not-stated[^"]*)"', unescape(html)) == [silent], "are offered"
    html = client.get(silent).content.decode()
    shown = results(html)
    claims = Claim.objects.filter(objective="memory", phase="inference", device_gb=None)
    assert shown
    assert len(shown) == claims.values("publication").distinct().count()
    for claim in claims:
        assert f'href="/claims/{claim.code}/"' in html
        assert claim.metric in text(html)
    assert all("device not stated" in text(result) for result in shown)


def matching(html: str, title: str) -> str:
    """Return the matching claims in the row of the publication, or all of it if it has none."""
    rows = re.findall(r'<li class="result">.*?<ul class="strategies"', html, re.DOTALL)
    [row] = [row for row in rows if title in titles(row)]
    found = re.search(r'<ul class="matching".*?</ul>', row, re.DOTALL)
    return text(found[0] if found else row)


def test_a_row_shows_effects_of_the_chosen_strategy_first_and_says_what_is_none(
    client: Client, review: Review
) -> None:
    made = publication(key="doe2023duo", title="Xylophone Duo")
    pruning, other = Strategy.objects.get(slug="pruning"), Strategy.objects.get(slug="offloading")
    for strategy in (pruning, other):
        Evidence.objects.create(publication=made, strategy=strategy)
    plain = [factories.claim(made, metric=f"plain {n}", phase="training") for n in range(3)]
    effect = factories.claim(made, metric="pruned bells", phase="training", baseline="bells")
    assert "No claim of it is attributed to Pruning" in matching(
        page(client, "q=xylophone&strategy=pruning"), "Xylophone Duo"
    )
    effect.attributions.create(strategy=pruning, position=0)
    alone = matching(page(client, "q=xylophone&strategy=pruning"), "Xylophone Duo")
    assert "pruned bells vs. bells" in alone
    assert "plain" not in alone
    both = matching(page(client, "strategy=pruning&phase=training&q=xylophone"), "Xylophone Duo")
    assert both.index("pruned bells") < both.index("plain 0")
    assert both.count("not an effect of Pruning") == 1
    assert "and 2 more" in both
    words = matching(page(client, 'q="plain+2"'), "Xylophone Duo")
    assert plain[2].metric in words
    assert "bells" not in words
    assert 'class="matching"' not in page(client, "membership=named")


def test_tried_follows_every_change_of_outcomes(client: Client, review: Review) -> None:
    [claim, other] = Claim.objects.filter(outcomes=None).order_by("pk")[:2]

    def tried() -> list[bool]:
        return [Claim.objects.get(pk=one.pk).tried for one in (claim, other)]

    run = a_finished_run()
    made = Outcome.objects.create(
        claim=claim, run=run.pk, study=run.study, hardware="CPU", status="supported", counts=False
    )
    assert tried() == [False, False], "a run that does not count"
    Outcome.objects.filter(pk=made.pk).update(counts=True)
    assert tried() == [True, False]
    Outcome.objects.filter(pk=made.pk).update(claim=other)
    assert tried() == [False, True]
    assert_facets_are_right()
    Outcome.objects.filter(pk=made.pk).update(status="not comparable")
    assert tried() == [False, False]
    Outcome.objects.filter(pk=made.pk).update(status="not reproduced")
    run.delete()
    assert tried() == [False, False], "an outcome goes with its run"


def test_counts_add_up(review: Review) -> None:
    counts = count(read_filter(QueryDict(""), read_facets()))
    years = dict(Publication.objects.order_by().values_list("year").annotate(n=Count("*")))
    assert counts.by_facet["year"] == years
    assert (counts.total, counts.counted) == (73, 65)
