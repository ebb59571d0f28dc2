"""A practitioner's question: what is said first agrees with what the claims' own words name."""

import json
import re
from html import unescape
from itertools import product
from typing import Any

import pytest
from django.test import Client

from reviewapp.corpus.models import Review
from taxonomy.answers.answer import Counts, Effect, Part, answer_to, context_of, verdict
from taxonomy.answers.overview import overview
from taxonomy.answers.question import OWN, Question
from taxonomy.answers.wording import counted
from taxonomy.choices import DeviceRole, Phase, QuantityGroup, Scope
from taxonomy.claims.certainty import Degree, certainty_of
from taxonomy.claims.reading import with_facts
from taxonomy.claims.words import in_words, listed
from taxonomy.loading.claim_facts import ClaimFacts
from taxonomy.models import Attribution, Claim, ClaimDevice
from taxonomy.queries import revision
from tests import factories
from tests.conftest import real_fixtures

pytestmark = pytest.mark.django_db


def text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def fits(claim: ClaimFacts, memory: float, parameters: float | None = None) -> bool:
    """Whether a claim is of such a device, and of such a model, counted without the database."""
    if parameters and (claim.parameters_billion or 0) < parameters:
        return False
    known = [d.memory_gb for d in [*claim.hardware, *claim.hardware_implied] if d.memory_gb]
    small = [one for one in known if one <= memory]
    return bool(small) and (claim.hardware_alternatives or len(small) == len(known))


def test_every_question_is_answered_as_the_fixtures_count(review: Review) -> None:
    claims = list(real_fixtures().claims.values())
    groups = {row.slug: row.group for row in real_fixtures().quantities.quantities}
    state = revision()
    settings = [(1, None), (16, None), (24, None), (48, None), (24, 0.5), (48, 13), (48, 1e6)]
    phases = (None, *Phase)
    for (row, about), (column, phase) in product(enumerate(QuantityGroup), enumerate(phases)):
        # One setting for each pair, another in each row and column.
        memory, parameters = settings[(row + column) % len(settings)]
        found = [c for c in claims if phase is None or c.phase == phase]
        such = [c for c in found if fits(c, memory, parameters)]
        mine = [c for c in found if groups[c.quantity] == about]
        answer = answer_to(Question(about, phase, memory, parameters), state)
        assert answer.counts.reported == len(mine)
        assert answer.counts.fitting.total == sum(groups[c.quantity] == about for c in such)
        assert {group: part.total for group, part in answer.counts.nearby} == {
            group: n
            for group in QuantityGroup
            if group != about and (n := sum(groups[c.quantity] == group for c in such))
        }
        unstated = sum(not (c.hardware or c.hardware_implied) for c in mine)
        assert answer.counts.unstated == unstated
        unsized = sum(c.parameters_billion is None for c in mine)
        assert answer.counts.unsized == unsized
        told = "how large the model is" in context_of(answer.question, answer.counts)
        assert told == bool(parameters and unsized), "asked of a size"
        listed_here = [s.claim.pk for s in [*answer.fitting, *answer.elsewhere]]
        assert len(listed_here) == len(set(listed_here)) <= len(mine)


def test_no_claim_about_memory_for_inference_names_a_device_of_24_gb(
    client: Client, review: Review
) -> None:
    page = text(client.get("/answers/?about=memory&phase=inference&memory=24").content.decode())
    said = "None of the three claims about memory for inference names or implies a device of up to"
    assert f"{said} 24 GB, or any device." in page
    assert "eight claims report speed (4), throughput (2), cost (1) and utilisation (1)" in page
    for address in ("/", "/answers/"):
        assert said in text(client.get(address).content.decode())


def test_the_files_hold_every_claim_behind_the_answer(client: Client, review: Review) -> None:
    asked = "?about=speed&phase=inference&memory=48"
    html = client.get(f"/answers/{asked}").content.decode()
    assert f'href="/answers/export.csv{asked.replace("&", "&amp;")}"' in html
    written = json.loads(client.get(f"/answers/export.json{asked}").getvalue())["claims"]
    groups = {row.slug: row.group for row in real_fixtures().quantities.quantities}
    expected = {
        f"{key}-{position}"
        for (key, position), claim in real_fixtures().claims.items()
        if claim.phase == Phase.INFERENCE
        and (groups[claim.quantity] == QuantityGroup.SPEED or fits(claim, 48))
    }
    assert {row["code"] for row in written} == expected
    assert client.get("/answers/export.csv?about=nope&memory=1").status_code == 400


def test_what_such_devices_report_comes_before_what_all_do(client: Client, review: Review) -> None:
    page = text(client.get("/answers/?about=speed&phase=inference&memory=24").content.decode())
    assert "These report up to 11.69 × (end-to-end speed-up, three claims)." in page
    assert "All 28 together report 1.4 to 29 × (end-to-end speed-up, 21 claims)," in page
    assert "and two more quantities." in page


def test_a_question_can_name_a_model(client: Client, review: Review) -> None:
    asked = "about=speed&phase=inference&memory=24&parameters=6"
    page = text(client.get(f"/answers/?{asked}").content.decode())
    such = "a device of up to 24 GB and a model of 6 billion parameters or more"
    assert f"Speed for inference on {such}" in page
    assert 'name="parameters" value="6"' in client.get(f"/answers/?{asked}").content.decode()
    written = json.loads(client.get(f"/answers/export.json?{asked}").getvalue())["claims"]
    groups = {row.slug: row.group for row in real_fixtures().quantities.quantities}
    assert {row["code"] for row in written} == {
        f"{key}-{position}"
        for (key, position), claim in real_fixtures().claims.items()
        if claim.phase == Phase.INFERENCE
        and (groups[claim.quantity] == QuantityGroup.SPEED or fits(claim, 24, 6))
    }


def test_one_claim_many_and_none_are_said_in_other_words(review: Review) -> None:
    publication = factories.publication(hardware=["NVIDIA RTX 4090 (24 GB)"])
    asked = Question(QuantityGroup.MEMORY, Phase.SERVING, 24)

    def said() -> str:
        answer = answer_to(asked, revision())
        return verdict(asked, answer.counts).replace("\u202f", " ")

    def add(role: DeviceRole | None, memory: float = 24) -> None:
        axis = Claim.objects.filter(axis__quantity__group="memory").earliest("pk").axis
        device_gb = memory if role in OWN else None
        claim = factories.claim(publication, axis=axis, phase=Phase.SERVING, device_gb=device_gb)
        if role:
            ClaimDevice.objects.create(
                claim=claim, role=role, position=0, name="X", is_product=True, memory_gb=memory
            )

    assert said() == "No claim is about memory for serving."
    add(None)  # that its publication has such a device does not count
    assert said() == "The one claim about memory for serving does not name a device of up to 24 GB."
    add(DeviceRole.BASELINE)  # nor that its baseline has
    assert said().startswith("Neither of the two claims about memory for serving names")
    add(DeviceRole.IMPLIED)
    assert said().startswith("One of the three claims about memory for serving names or implies")
    add(DeviceRole.STATED, 80)
    add(DeviceRole.STATED, 16)
    assert said().startswith("Two of the five claims about memory for serving name or imply")


MEMORY = Question(QuantityGroup.MEMORY, Phase.SERVING, 24)


def counts(fitting: int, elsewhere: int, **values: Any) -> Counts:
    """Return these numbers of claims on such devices and on others, and nothing else."""
    nothing: dict[str, Any] = {"unstated": 0, "unsized": 0}
    lists = dict.fromkeys(("nearby", "effects", "effects_of_fitting", "strategies"), ())
    parts = {"fitting": Part(fitting, ()), "elsewhere": Part(elsewhere, ())}
    return Counts(**{**parts, **nothing, **lists, **values})


@pytest.mark.parametrize(
    ("fitting", "elsewhere", "said"),
    [
        (0, 0, "No claim is about it."),
        (1, 0, "The one claim about it names or implies such a device."),
        (0, 1, "The one claim about it does not name such a device."),
        (2, 0, "Both claims about it name or imply such a device."),
        (1, 1, "One of the two claims about it names or implies such a device."),
        (0, 2, "Neither of the two claims about it names or implies such a device."),
        (3, 0, "All three claims about it name or imply such a device."),
        (2, 1, "Two of the three claims about it name or imply such a device."),
        (0, 3, "None of the three claims about it names or implies such a device."),
    ],
)
def test_the_first_sentence_is_said_of_one_two_and_many(
    fitting: int, elsewhere: int, said: str
) -> None:
    first = verdict(MEMORY, counts(fitting, elsewhere))
    first = first.replace(MEMORY.subject, "it").replace(MEMORY.device, "such a device")
    assert first == said


def test_what_else_claims_say_is_said_of_one_two_and_many() -> None:
    once = Effect("Memory reduction", 1, 2.0, 2.0, best_case=False)
    best = Effect("Model-size reduction", 2, 3.0, 4.5, best_case=True)
    one, other = (
        "2 × (memory reduction, one claim)",
        "up to 4.5 × (model-size reduction, two claims)",
    )

    def said(of: Counts, question: Question = MEMORY) -> list[str]:
        """Return all sentences but that of other quantities, which comes last."""
        *sentences, _ = re.split(r"(?<=\.) (?=[A-Z])", context_of(question, of))
        return [sentence.replace("\u202f", " ") for sentence in sentences]

    used = (("Pruning", 2), ("Offloading", 1))
    assert said(counts(1, 0, effects=(once,), effects_of_fitting=(once,), strategies=used[1:])) == [
        f"It reports {one}.",
        "It is attributed to offloading.",
    ]
    assert said(
        counts(2, 0, effects=(once, best), effects_of_fitting=(once,), strategies=used)
    ) == [
        f"They report {one} and {other}.",
        "Each is attributed to pruning.",
    ]
    assert said(counts(1, 1, effects=(once, best), effects_of_fitting=(once,), unstated=1)) == [
        f"That one reports {one}.",
        f"Both together report {one} and {other}.",
        "One claim names no device.",
    ]
    assert said(counts(2, 1, effects=(best,) * 4, effects_of_fitting=(best,) * 5)) == [
        f"These report {', '.join([other] * 3)} and two more quantities.",
        f"All three together report {', '.join([other] * 3)} and one more quantity.",
    ]
    assert said(counts(2, 2, unstated=2)) == ["Two claims name no device."]
    assert said(counts(0, 2, unstated=2)) == []
    sized = Question(QuantityGroup.MEMORY, Phase.SERVING, 24, 13)
    assert said(counts(1, 1, unsized=1), sized) == [
        "One claim does not say how large the model is."
    ]
    assert said(counts(1, 1, unsized=1)) == []


def test_what_such_devices_report_besides_is_counted() -> None:
    def besides(*nearby: tuple[QuantityGroup, int]) -> str:
        found = tuple((group, Part(n, ())) for group, n in nearby)
        return context_of(MEMORY, counts(1, 0, nearby=found)).partition("24\u202fGB, ")[2]

    assert besides() == "no claim reports anything else."
    assert besides((QuantityGroup.COST, 1)) == "one claim reports cost (1)."
    more = besides((QuantityGroup.SPEED, 2), (QuantityGroup.COST, 1))
    assert more == "three claims report speed (2) and cost (1)."


@pytest.mark.parametrize(
    "query",
    [
        "about=memory",
        "about=nope&memory=24",
        "about=memory&memory=0",
        "about=memory&memory=1e9",
        "about=memory&memory=99999999999999999999",
        "about=memory&memory=24&phase=%00",
        "about=memory&memory=24&parameters=nan",
        "about=memory&memory=24&parameters=-13",
        "about=memory&memory=24&parameters=1e300",
    ],
)
def test_what_cannot_be_asked_is_said(client: Client, review: Review, query: str) -> None:
    assert client.get(f"/answers/?{query}").status_code == 400


def test_the_overview_counts_what_each_claim_says(review: Review) -> None:
    known = overview(revision())
    claims = list(with_facts(Claim.objects.all()))
    sure = [certainty_of(claim) for claim in claims]
    for extent, name in zip(known.extents, ("source", "baseline", "device"), strict=True):
        for number, degree in (
            (extent.yes, Degree.YES),
            (extent.partly, Degree.PARTLY),
            (extent.no, Degree.NO),
        ):
            assert number == sum(getattr(one, name).degree == degree for one in sure), name
    assert dict(known.scopes) == {
        scope: sum(claim.scope == scope for claim in claims) for scope in Scope
    }
    for strategy in known.strategies:
        links = Attribution.objects.filter(strategy__slug=strategy.slug, counted=True)
        assert strategy.claims == links.count()
        assert strategy.isolated == links.filter(claim__scope=Scope.ISOLATED).count()


def test_counts_are_said_as_a_sentence_says_them() -> None:
    assert counted(0, "claim", "names", "name") == "no claims name"
    assert counted(1, "claim", "names", "name") == "one claim names"
    assert (in_words(20), in_words(21), in_words(1234)) == ("twenty", "21", "1,234")
    assert [listed([]), listed(["a"]), listed(["a", "b", "c"])] == ["", "a", "a, b and c"]
