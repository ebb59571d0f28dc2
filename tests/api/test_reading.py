"""What everybody may read through the API."""

import csv
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client
from drf_spectacular.drainage import GENERATOR_STATS

from casestudies.lab.catalogue import STUDIES
from reviewapp.corpus.models import Review
from reviewapp.rest import listing
from reviewapp.rest.reference import components
from reviewapp.ui.export import neutralise
from taxonomy.models import Evidence
from tests.casestudies.making import a_finished_run, a_person, a_run
from tests.queries import count_queries

pytestmark = pytest.mark.django_db

V1 = "/api/v1/"


def read(client: Client, address: str) -> Any:
    response = client.get(f"{V1}{address}")
    assert response.status_code == 200, response.content
    assert response["Content-Type"] == "application/json"
    return response.json()


def rows(client: Client, address: str) -> list[dict[str, str]]:
    """Return the rows of a CSV, without the columns that say where they come from."""
    response = client.get(f"{V1}{address}")
    assert response["Content-Type"].startswith("text/csv")
    text = b"".join(response).decode("utf-8-sig")
    return [
        {name: cell for name, cell in row.items() if not name.startswith("export_")}
        for row in csv.DictReader(text.splitlines())
    ]


def error(client: Client, address: str, status: int, **headers: str) -> dict[str, Any]:
    response = client.get(f"{V1}{address}", headers=headers)
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/json"
    body: dict[str, Any] = response.json()["error"]
    assert body["code"]
    assert body["message"]
    return body


@pytest.mark.parametrize(
    "query",
    [
        "",
        "q=memory&sort=relevance",
        "class=training&class=inference&from=2021&to=2023&code=yes&sort=title",
        "strategy=offloading&membership=named&membership=reconstructed&sort=claims",
        "objective=memory&code=no&sort=size",
    ],
)
def test_publications_are_filtered_and_sorted_as_on_their_page(
    client: Client, review: Review, query: str
) -> None:
    exported = json.loads(b"".join(client.get(f"/publications/export.json?{query}")))
    found = read(client, f"publications/?page_size=100&{query}")
    assert found["count"] == len(exported["publications"]) > 0
    assert [{**one, "page": None} for one in found["results"]] == [
        {**one, "page": None} for one in exported["publications"]
    ]
    of_page = b"".join(client.get(f"/publications/export.csv?{query}")).decode("utf-8-sig")
    assert [row["key"] for row in rows(client, f"publications/?format=csv&{query}")] == [
        row["key"] for row in csv.DictReader(of_page.splitlines())
    ]


def test_one_publication_has_its_claims_and_says_what_nobody_reports(
    client: Client, review: Review
) -> None:
    found = read(client, "publications/frantar2023sparsegpt/")
    assert found["page"] == "http://testserver/publications/frantar2023sparsegpt/"
    assert found["in_review"] is True
    assert "pruning" in found["strategies"]
    assert {claim["source"] for claim in found["claims"]} <= {"abstract", "paper", "readme"}
    assert None in {claim["hardware"] for claim in found["claims"]}
    assert "" not in found.values()


def test_a_list_comes_in_pages_that_name_their_neighbours(client: Client, review: Review) -> None:
    first = read(client, "strategies/?page_size=20")
    assert (first["count"], len(first["results"]), first["previous"]) == (31, 20, None)
    second = client.get(first["next"]).json()
    assert (len(second["results"]), second["next"]) == (11, None)
    assert client.get(second["previous"]).json() == first


def test_claims_are_chosen_by_publication_strategy_and_objective(
    client: Client, review: Review
) -> None:
    query = "strategy=pruning&objective=memory&objective=model-size&objective=cost"
    found = read(client, f"claims/?{query}")["results"]
    assert found
    for claim in found:
        assert claim["objective"] in ("memory", "model-size", "cost")
        assert "pruning" in claim["strategies"]
        publication = read(client, f"publications/{claim['publication']}/")
        assert claim["title"] == publication["title"]
        same = next(one for one in publication["claims"] if one["code"] == claim["code"])
        assert same == {name: claim[name] for name in same}
    own = read(client, "claims/?publication=frantar2023sparsegpt")["results"]
    assert {claim["publication"] for claim in own} == {"frantar2023sparsegpt"}


def every_claim(client: Client) -> list[dict[str, Any]]:
    first = read(client, "claims/?page_size=100")
    return [*first["results"], *client.get(first["next"]).json()["results"]]


@pytest.mark.parametrize(
    "query",
    [
        "certainty",
        "quantity=memory-reduction&quantity=bits-per-weight",
        "phase=inference&scope=isolated&baseline_kind=unmodified",
        "testable=direction&study=quantization&study=offloading",
        "outcome=not run",
        "class=inference&membership=named&from=2023",
        "attribution_confidence=low",
        "memory_at_most=24",
        "memory_at_least=24&memory_at_most=48&hardware=a6000",
        "hardware=nvidia",
        "model_at_least=100&model_at_most=200",
    ],
)
def test_claims_are_chosen_by_each_of_their_facts(
    client: Client, review: Review, query: str
) -> None:
    run = a_finished_run("qmoe", [("bits per random weight", "paper", 0.75)])
    assert run.pk
    every = every_claim(client)
    if query == "certainty":
        for question in every[0]["certainty"]:
            for degree in ("yes", "partly", "no"):
                wanted = {one["code"] for one in every if one["certainty"][question] == degree}
                found = read(client, f"claims/?page_size=1&{question}={degree}")
                assert found["count"] == len(wanted), (question, degree)
        return
    asked = QueryDict(query)
    wanted = {one["code"] for one in every if all(meets(one, asked, key) for key in asked)}
    first = read(client, f"claims/?page_size=100&{query}")
    assert first["count"] == len(wanted) > 0
    assert {one["code"] for one in first["results"]} <= wanted


def meets(claim: dict[str, Any], asked: QueryDict, key: str) -> bool:
    """Whether a record is what one key asks for, read off the record itself."""
    values = asked.getlist(key)
    stated = [one for one in claim["devices"] if one["role"] == "stated"]
    if key.startswith("memory_at"):
        least, most = (float(str(asked.get(f"memory_at_{end}", n))) for end, n in BOUNDS)
        its = [one for one in claim["devices"] if one["role"] != "baseline" and one["memory_gb"]]
        choose = min if claim["hardware_alternatives"] else max
        within = bool(its) and least <= choose(one["memory_gb"] for one in its) <= most
        return within and (not asked.get("hardware") or meets(claim, asked, "hardware"))
    if key.startswith("model_at"):
        least, most = (float(str(asked[f"model_at_{end}"])) for end, _ in BOUNDS)
        return any(
            (one["parameters_billion"] or one["at_least_billion"] or -1) >= least
            and (one["parameters_billion"] or one["at_most_billion"] or 1e9) <= most
            for one in claim["models"]
        )
    if key == "hardware":
        return any(values[0].lower() in one["name"].lower() for one in stated)
    if key == "from":
        return bool(claim["year"] >= int(values[0]))
    own: Any = {
        "quantity": claim["axis"]["quantity"],
        "outcome": claim["outcome"]["status"] if claim["outcome"] else claim["study"] and "not run",
        "attribution_confidence": claim["confidence"],
    }
    if key == "class":
        return bool({*values} & {*claim["classes"]})
    return own.get(key, claim.get(key)) in values


BOUNDS = (("least", "0"), ("most", "1e9"))


@pytest.mark.parametrize(
    "address",
    ["claims/", "publications/", "strategies/", "quantities/", "runs/", "measurements/"],
)
@pytest.mark.parametrize("form", ["", "&format=csv"])
def test_a_key_that_an_address_does_not_know_is_refused_with_those_that_it_does(
    client: Client, review: Review, address: str, form: str
) -> None:
    body = error(client, f"{address}?colour=red&{'y' * 5000}={form}", 400)
    assert body["fields"]["colour"] == ["There is no such key."]
    known = read(client, "schema/")["paths"][f"{V1}{address}"]["get"]["parameters"]
    for key in known:
        assert key["name"] in body["message"].partition("The keys are ")[2]
    assert len(json.dumps(body)) < 2000


@pytest.mark.parametrize(
    "address", ["prisma/", "studies/", "studies/zero/", "search/", "claims/frantar2023qmoe-0/"]
)
def test_what_is_no_list_refuses_a_key_too(client: Client, review: Review, address: str) -> None:
    body = error(client, f"{address}?colour=red", 400)
    assert body["fields"] == {"colour": ["There is no such key."]}
    client.get(f"{V1}{address}?format=json").json()


def test_one_claim_is_that_of_the_list(client: Client, review: Review) -> None:
    listed = read(client, "claims/?publication=frantar2023qmoe")["results"]
    assert [read(client, f"claims/{one['code']}/") for one in listed] == listed
    assert listed[0]["second_reading"]["agrees"] is False
    assert listed[0]["page"] == "http://testserver/claims/frantar2023qmoe-0/"
    quantities = {one["slug"] for one in read(client, "quantities/?page_size=100")["results"]}
    assert {one["axis"]["quantity"] for one in listed} <= quantities


def test_a_claim_of_several_strategies_is_found_by_those_that_it_is_an_effect_of(
    client: Client, review: Review
) -> None:
    every = every_claim(client)
    assert len(every) == 177
    strategies = read(client, "strategies/?page_size=100")["results"]
    for slug in (strategy["slug"] for strategy in strategies):
        found = read(client, f"claims/?page_size=100&strategy={slug}")
        assert {one["code"] for one in found["results"]} == {
            one["code"] for one in every if slug in one["strategies"]
        }
    families = {strategy["family"]["slug"] for strategy in strategies}
    for family in families:
        slugs = {one["slug"] for one in strategies if one["family"]["slug"] == family}
        found = read(client, f"claims/?page_size=100&family={family}")
        assert found["count"] == sum(bool(slugs & {*one["strategies"]}) for one in every)


def test_a_strategy_counts_the_publications_of_the_review(client: Client, review: Review) -> None:
    found = read(client, "strategies/pruning/")
    listed = read(
        client, "publications/?strategy=pruning&membership=named&membership=reconstructed"
    )
    assert found["publications"] == listed["count"] > 0
    assert found["group"]["definition"]
    assert found["grade"]
    Evidence.objects.filter(strategy__slug="pruning").delete()
    assert read(client, "strategies/pruning/")["publications"] == 0


def test_the_flow_is_that_of_its_page(client: Client, review: Review) -> None:
    exported = json.loads(client.get("/prisma/export.json?variant=new-v2").content)
    found = read(client, "prisma/?variant=new-v2")
    assert found["template"] == exported["template"] == "new-v2"
    assert [(row["key"], row["n"], row["origin"], row["grade"]) for row in found["rows"]] == [
        (row["key"], row["n"], row["origin"], row["grade"]) for row in exported["rows"]
    ]
    assert [check["result"] for check in found["checks"]] == [
        check["result"] for check in exported["checks"]
    ]
    named = next(row for row in found["rows"] if row["key"] == "database_specific_results")
    assert {"label": "Web of Science", "n": None} in named["items"]


def test_claims_are_chosen_by_what_runs_found_of_them(client: Client, review: Review) -> None:
    assert read(client, "claims/?outcome=supported")["count"] == 0
    run = a_finished_run("qmoe", [("bits per random weight", "paper", 0.75)])
    found = read(client, "claims/?outcome=supported&outcome=direction agrees")["results"]
    assert {claim["outcome"]["run"] for claim in found} == {run.pk}
    assert [claim["metric"] for claim in found] == [
        "model compression ratio",
        "bits per parameter",
    ]
    error(client, "claims/?outcome=disproved", 400)


def test_a_study_declares_itself_and_holds_claims_beside_measurements(
    client: Client, review: Review
) -> None:
    run = a_finished_run("qmoe", [("bits per random weight", "paper", 0.75)])
    listed = read(client, "studies/?page_size=100")
    assert {study["slug"] for study in listed["results"]} == set(STUDIES)
    study = read(client, "studies/sparsegpt/")
    sparsity = study["parameters"]["properties"]["sparsity"]
    assert (sparsity["minimum"], sparsity["maximum"]) == (0.05, 0.95)
    assert study["presets"]["smoke"]["minutes"] < 1
    assert {variant["role"] for variant in study["variants"]} == {"baseline", "method", "control"}
    unanswered = study["answers"][0]
    assert unanswered["status"] == "not run"
    # As the page says: "written when the outcome was known" of the first.
    assert [answer["rule_blind"] for answer in study["answers"]] == [False, True, True]
    described = read(client, "schema/")["components"]["schemas"]["AnsweredClaim"]["properties"]
    missing = [name for name, value in unanswered.items() if value is None]
    assert missing == ["run", "run_label"]
    assert all("null" in described[name]["type"] for name in missing)
    answered = read(client, "studies/qmoe/")["answers"]
    assert [answer["claim_id"] for answer in answered] == [f"frantar2023qmoe-{n}" for n in range(3)]
    assert [answer["status"] for answer in answered] == ["supported", "supported", "not run"]
    assert answered[1]["claim"]["source"]
    assert answered[1]["rule"].startswith("Supported if the publication's code")
    assert (answered[1]["run"], answered[1]["numbers"][0]["value"]) == (run.pk, 0.75)
    assert answered[2]["reason"] == "needs a GPU"


def test_runs_and_measurements_are_chosen_by_what_they_are(client: Client, review: Review) -> None:
    person = a_person("ada")
    mine = a_finished_run(owner=person)
    shipped = a_finished_run(reference="sparsegpt-quick", hardware="Another Processor")
    waiting = a_run(device="cuda", owner=person)

    def ids(query: str) -> set[int]:
        return {run["id"] for run in read(client, f"runs/?{query}")["results"]}

    assert ids("") == {mine.pk, shipped.pk, waiting.pk}
    assert ids("study=sparsegpt&state=succeeded") == {mine.pk, shipped.pk}
    assert ids("state=queued&state=succeeded&reference=no") == {mine.pk, waiting.pk}
    assert ids("reference=yes") == ids("hardware=Another+Processor") == {shipped.pk}
    assert ids("device=cuda") == {waiting.pk}
    assert ids("study=none") == set()
    query = f"study=sparsegpt&metric=perplexity&variant=dense&run={shipped.pk}"
    (measured,) = read(client, f"measurements/?{query}")["results"]
    assert (measured["value"], measured["n"], measured["spread"]) == (13.0, 1, None)
    assert measured["run_label"] == "reference run, 2-core CPU"
    assert measured["hardware"] == "Another Processor"
    assert measured["environment"]["libraries"]["torch"]
    assert measured["page"] == f"http://testserver/runs/{shipped.pk}/"


def test_a_run_has_its_result_and_the_command_to_repeat_it(client: Client) -> None:
    run = a_finished_run(
        series=[{"name": "s", "variant": "v", "settings": {}, "points": [[0.0, 1.5]]}]
    )
    found = read(client, f"runs/{run.pk}/")
    assert found["command"].startswith("python -m casestudies.lab run sparsegpt --preset quick")
    assert found["measurements"][0]["metric"] == "perplexity"
    assert found["series"] == run.series
    assert found["label"] == f"run {run.pk}"
    assert read(client, f"runs/{a_run().pk}/")["hardware"] is None


@pytest.mark.parametrize(
    "address", ["claims/", "quantities/", "strategies/", "runs/", "measurements/"]
)
def test_a_csv_has_the_rows_of_all_pages(client: Client, review: Review, address: str) -> None:
    a_finished_run(error="=1+1")
    a_run(owner=a_person("ada"))
    listed = read(client, f"{address}?page_size=100")
    found = listed["results"]
    if listed["next"]:
        found += client.get(listed["next"]).json()["results"]
    assert found
    in_file = rows(client, f"{address}?format=csv")
    assert [without_empty(row) for row in in_file] == [
        without_empty(dict(as_cells(one))) for one in found
    ]


def without_empty(row: dict[str, str]) -> dict[str, str]:
    return {name: cell for name, cell in row.items() if cell}


def as_cells(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each value as a cell, and each of an object's values under the names of both."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from ((f"{name}_{key}", as_cell(part)) for key, part in value.items())
        else:
            yield name, as_cell(value)


def as_cell(value: Any) -> str:
    if isinstance(value, list) and not any(isinstance(one, dict) for one in value):
        value = "; ".join(map(str, value))
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    return str(neutralise("" if value is None else value))


def test_a_csv_says_where_it_comes_from_and_is_never_cut_short(
    client: Client, review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    response = client.get(f"{V1}claims/?objective=cost", headers={"Accept": "text/csv"})
    first = next(csv.DictReader(b"".join(response).decode("utf-8-sig").splitlines()))
    assert first["export_query"] == f"http://testserver{V1}claims/?objective=cost"
    monkeypatch.setattr(listing, "MOST_ROWS", 5)
    message = error(client, "claims/?format=csv", 400)["message"]
    assert message == "These are 177 rows and a file has at most 5. Choose fewer."


@pytest.mark.parametrize(
    ("address", "field", "message"),
    [
        ("publications/?strategy=telepathy", "strategy", "There is no strategy “telepathy”."),
        ("publications/?from=soon", "from", "Enter a whole number."),
        ("publications/?q=a%00b", "q", "Null characters are not allowed."),
        ("publications/?page_size=101", "page_size", "A whole number from 1 to 100."),
        ("claims/?strategy=telepathy", "strategy", "There is no strategy “telepathy”."),
        ("claims/?publication=%00", "publication", "“\0” cannot be the key of a publication."),
        ("claims/?objective=" + "x" * 5000, "objective", "There is no objective “xxx"),
        ("claims/?memory_at_most=nan", "memory_at_most", "Enter a number."),
        ("claims/?model_at_least=-1", "model_at_least", "Ensure this value is greater than"),
        ("claims/?quantity=weight", "quantity", "There is no quantity “weight”."),
        ("prisma/?variant=old", "variant", "There is no template “old”."),
        ("runs/?state=sleeping", "state", "Select a valid choice."),
        ("runs/?study=%00", "study", "Enter a valid “slug”"),
        ("runs/?hardware=%ff%00", "hardware", "Null characters are not allowed."),
        ("measurements/?run=" + "9" * 30, "run", "Ensure this value is less than"),
        ("measurements/?run=" + "9" * 5000, "run", "Enter a whole number."),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(
    client: Client, address: str, field: str, message: str
) -> None:
    body = error(client, address, 400)
    assert body["code"] == "invalid"
    assert body["fields"][field][0].startswith(message)
    assert len(json.dumps(body)) < 1000


@pytest.mark.parametrize(
    ("address", "status", "headers"),
    [
        ("publications/nobody2020/", 404, {}),
        ("claims/frantar2023sparsegpt-99/", 404, {}),
        ("claims/nobody/", 404, {}),
        ("publications/?page=99", 404, {}),
        ("publications/?page=" + "9" * 5000, 404, {}),
        ("runs/99999999999999999999999/", 404, {}),
        ("studies/nope/", 404, {}),
        ("nope/", 404, {}),
        ("publications/a/b%0Ac/", 404, {}),
        ("publications/?format=xml", 406, {}),
        ("publications/", 406, {"Accept": "application/xml"}),
        ("studies/?format=csv", 406, {}),
        ("publications/", 401, {"Authorization": "Token nonsense"}),
        ("publications/", 401, {"Authorization": "Token caf\u00e9"}),
        ("publications/?" + "&".join(["q=x"] * 500), 400, {}),
        ("runs/?format=csv&state=x", 400, {"Accept": "text/csv"}),
    ],
)
def test_every_error_has_the_same_shape(
    client: Client, address: str, status: int, headers: dict[str, str]
) -> None:
    error(client, address, status, **headers)


@pytest.mark.parametrize("address", ["runs/", "measurements/", "studies/sparsegpt/"])
def test_the_number_of_queries_does_not_depend_on_the_runs(
    client: Client, review: Review, address: str
) -> None:
    a_finished_run(owner=a_person("ada"))
    before = count_queries(client, f"{V1}{address}")
    for n in range(5):
        a_finished_run(owner=a_person(f"ada{n}"))
    assert count_queries(client, f"{V1}{address}") == before <= 6


def test_nothing_breaks_before_a_review_is_loaded(client: Client) -> None:
    for address in (
        "publications/",
        "strategies/",
        "claims/",
        "quantities/",
        "runs/",
        "measurements/",
    ):
        assert read(client, address)["results"] == []
    error(client, "prisma/", 404)
    assert client.get(V1).status_code == 200


RUN = {"$ref": "#/components/schemas/Run"}
LETTERS = {"type": "string", "enum": ["a", "b"]}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 100}, "integer, 1 to 100"),
        ({"type": "integer", "minimum": 0}, "integer, at least 0"),
        ({"type": "number", "maximum": 1}, "number, at most 1"),
        (
            {"type": "integer", "multipleOf": 16, "default": 0},
            "integer, a multiple of 16, default 0",
        ),
        ({"type": ["string", "null"], "maxLength": 5}, "string or null, at most 5 characters"),
        ({"type": "string", "format": "date-time"}, "string, date-time"),
        ({"type": "string", "format": "decimal"}, "string"),
        ({}, "any value"),
        (LETTERS, "one of a, b"),
        ({"type": "array", "items": LETTERS}, "any of a, b"),
        ({"type": "array", "items": {"type": "integer"}}, "list of integer"),
        ({"type": ["array", "null"], "items": RUN}, "list of Run"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "object of number"),
        ({"type": "object", "additionalProperties": RUN}, "object of Run"),
        ({"type": "object", "additionalProperties": True}, "object"),
        (RUN, "Run"),
        ({"$ref": "#/components/schemas/PaginatedRunList"}, "page of Run"),
        ({"allOf": [RUN]}, "Run"),
        ({"oneOf": [RUN, {"type": "null"}]}, "Run or null"),
    ],
)
def test_the_page_of_the_api_says_in_words_what_may_stand_where(
    schema: dict[str, Any], words: str
) -> None:
    described = {**schema, "description": "What it is.\n\n* `a` - first"}
    [thing] = components({"components": {"schemas": {"Thing": {"properties": {"it": described}}}}})
    [value] = thing.values
    kind = value.kind
    assert " ".join(filter(None, [kind.before, kind.component, kind.after])) == words
    assert (value.name, value.text) == ("it", "What it is")


def test_the_description_is_complete_and_a_page_shows_all_of_it(
    client: Client, review: Review
) -> None:
    GENERATOR_STATS.reset()
    described = read(client, "schema/")
    assert not GENERATOR_STATS
    assert described["openapi"] == "3.1.0"
    page = client.get(V1)
    assert page.status_code == 200
    assert "unsafe" not in page["Content-Security-Policy"]
    html = page.content.decode()
    assert " style=" not in html
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert f'<h3 id="{operation["operationId"]}"' in html
            assert operation["summary"]
            for parameter in operation.get("parameters", []):
                assert f"<code>{parameter['name']}</code>" in html, path
    for name in described["components"]["schemas"]:
        assert f'id="thing-{name}"' in html or name.startswith("Paginated")
    for name in ("Claim", "Measurement", "Publication", "Run", "RunDetail", "Sweep"):
        fields = described["components"]["schemas"][name]["properties"].items()
        assert [key for key, field in fields if not field.get("readOnly")] == [], name
    assert "curl -X POST http://testserver/api/v1/runs/1/cancel/" in html
    assert "curl &#x27;http://testserver/api/v1/claims/?strategy=pruning" in html
    assert client.get(f"{V1}schema/?format=yaml")["Content-Type"].startswith("application/yaml")
