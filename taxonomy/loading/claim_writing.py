"""Write claims with all that is known of them, over those of the same place."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from django.db import models

from taxonomy.choices import DeviceRole, Status
from taxonomy.loading.axes import AxisKey, axis_of, on_axis
from taxonomy.loading.claim_facts import ClaimFacts, HardwareFacts
from taxonomy.loading.problems import FixtureError, Problems
from taxonomy.loading.quantity_facts import QuantitiesFile, QuantityRow
from taxonomy.loading.reading import Fixtures
from taxonomy.loading.schema import ClaimRow
from taxonomy.models import (
    Attribution,
    Axis,
    Claim,
    ClaimDevice,
    ClaimModel,
    FormerRule,
    Outcome,
    Quantity,
    Remark,
    SecondReading,
    Strategy,
)

Place = tuple[str, int]  # a publication's key, and the position of one of its claims


def columns(model: type[models.Model], *identity: str) -> list[str]:
    """Return the fields that a record is written with, but for those that say which it is."""
    return [
        field.name
        for field in model._meta.concrete_fields
        if field.editable and not field.primary_key and field.name not in identity
    ]


def load_claims(fixtures: Fixtures, ids: Mapping[str, int]) -> None:
    """Write the claims of the publications, which have these ids, and what is said of them.

    What refers to a claim stays. Raises FixtureError if a rule was changed and its file does not
    keep the one before.
    """
    _refuse_silent_changes(fixtures)
    axes = _load_axes(fixtures)
    claims = _write_claims(fixtures, ids, axes)
    _link_ends(fixtures, claims)
    strategies = dict(Strategy.objects.values_list("slug", "id"))
    for model in (Attribution, SecondReading, ClaimDevice, ClaimModel, FormerRule):
        model._default_manager.filter(claim__in=claims.values()).delete()
    _write_attributions(fixtures, claims, strategies)
    _write_subjects(fixtures, claims)
    _write_remarks(fixtures, ids, claims)
    _remove_unnamed(fixtures)


def _load_axes(fixtures: Fixtures) -> dict[AxisKey, int]:
    """Write the quantities and the axes that claims stand on; return the axes' ids."""
    Quantity.objects.bulk_create(
        [
            Quantity(
                slug=row.slug,
                position=position,
                axis_kind=row.axis,
                related=[{"quantity": slug, "how": how} for slug, how in row.related.items()],
                **row.model_dump(exclude={"slug", "axis", "related", "show"}),
            )
            for position, row in enumerate(fixtures.quantities.quantities)
        ],
        update_conflicts=True,
        unique_fields=["slug"],
        update_fields=columns(Quantity, "slug"),
    )
    quantities = dict(Quantity.objects.values_list("slug", "id"))
    names = [name for name in asdict(AxisKey("")) if name != "quantity"]
    wanted = {axis_of(_quantity(fixtures, facts), facts) for facts in fixtures.claims.values()}
    Axis.objects.bulk_create(
        [
            Axis(quantity_id=quantities[key.quantity], **{n: getattr(key, n) for n in names})
            for key in sorted(wanted, key=lambda key: tuple(asdict(key).values()))
        ],
        ignore_conflicts=True,
    )
    rows = Axis.objects.values_list("quantity__slug", *names, "id")
    return {AxisKey(*row[:-1]): row[-1] for row in rows}


def _quantity(fixtures: Fixtures, facts: ClaimFacts) -> QuantityRow:
    return fixtures.quantities.by_slug[facts.quantity]


def _write_claims(
    fixtures: Fixtures, ids: Mapping[str, int], axes: Mapping[AxisKey, int]
) -> dict[Place, int]:
    """Write the claims over those of the same place, and return their ids."""
    places, claims = [], []
    for row in fixtures.publications:
        for position, claim in enumerate(row.claims):
            facts = fixtures.claims[row.key, position]
            axis = axes[axis_of(_quantity(fixtures, facts), facts)]
            places.append((row.key, position))
            claims.append(
                Claim(
                    publication_id=ids[row.key],
                    axis_id=axis,
                    **_stated(claim, facts),
                    **_read(facts),
                    **_measured_on(fixtures.quantities, facts),
                    **_placed(fixtures.quantities, claim, facts),
                    **_rule(facts),
                )
            )
    kept = Claim.objects.bulk_create(
        claims,
        update_conflicts=True,
        unique_fields=["publication", "position"],
        update_fields=columns(Claim, "publication", "position"),
    )
    named = Claim.objects.filter(publication__in=ids.values())
    named.exclude(pk__in=[claim.pk for claim in kept]).delete()
    return {place: claim.pk for place, claim in zip(places, kept, strict=True)}


def _stated(claim: ClaimRow, facts: ClaimFacts) -> dict[str, Any]:
    """Return the columns of what the publication says."""
    said = {name: value or "" for name, value in claim.model_dump(exclude={"value"}).items()}
    return said | {
        "position": facts.position,
        "value": claim.value,
        "unit": facts.unit,
        "qualifier": facts.qualifier,
        "hardware": _in_words(facts),
        "model": ", ".join(model.name for model in facts.model),
    }


def _in_words(facts: ClaimFacts) -> str:
    """Return the devices that the claim names: "4 × NVIDIA RTX A6000 (48 GB)"."""
    words = " or " if facts.hardware_alternatives else ", "
    return words.join(str(_device(0, DeviceRole.STATED, 0, row, ())) for row in facts.hardware)


def _read(facts: ClaimFacts) -> dict[str, Any]:
    """Return the columns of what this project's reading adds."""
    texts = ("baseline_kind", "part", "pattern", "percentile", "job", "task", "benchmark")
    fewest, most = facts.hardware_count_range or (None, None)
    return {
        **{name: getattr(facts, name) or "" for name in (*texts, "note", "hardware_note")},
        "phase": facts.phase,
        "ratio": facts.ratio,
        "ratio_rule": facts.ratio_rule,
        "ratio_how": facts.ratio_how,
        "ratio_readings": facts.ratio_readings or [],
        "derivable_ratio": facts.derivable_ratio or "",
        "scope": facts.attribution.scope,
        "why": facts.attribution.why,
        "confidence": facts.attribution.confidence,
        "hardware_alternatives": facts.hardware_alternatives,
        "hardware_fewest": fewest,
        "hardware_most": most,
    }


def _measured_on(file: QuantitiesFile, facts: ClaimFacts) -> dict[str, Any]:
    """Return the columns that repeat, for lists to filter by, what its devices and models say."""
    return {
        "device_gb": facts.device_gb,
        "device_named": facts.device_named(file.device_kinds),
        "parameters_billion": facts.parameters_billion,
    }


def _placed(file: QuantitiesFile, claim: ClaimRow, facts: ClaimFacts) -> dict[str, float | None]:
    """Return the columns of where the claim, and the other end of its range, stand on its axis."""
    quantity, other = file.by_slug[facts.quantity], facts.range_other_end
    return {
        "plotted": on_axis(file, quantity, facts, claim.value),
        "other_plotted": None if other is None else on_axis(file, quantity, facts, other),
    }


def _rule(facts: ClaimFacts) -> dict[str, Any]:
    plan = facts.replication
    return {
        "testable": plan.testable,
        "study": plan.study or "",
        "measure": plan.measure or "",
        "rule": plan.rule or "",
        "rule_written": plan.written,
        "rule_blind": plan.blind,
    }


def _link_ends(fixtures: Fixtures, claims: Mapping[Place, int]) -> None:
    """Link the two ends of each published range that are claims both."""
    ends = [
        Claim(pk=claims[place], other_end_id=claims[place[0], facts.range_with])
        for place, facts in fixtures.claims.items()
        if facts.range_with is not None
    ]
    Claim.objects.bulk_update(ends, ["other_end"])


def _write_attributions(
    fixtures: Fixtures, claims: Mapping[Place, int], strategies: Mapping[str, int]
) -> None:
    """Write which strategies each claim is an effect of, in both readings."""
    links, readings = [], []
    for place, facts in fixtures.claims.items():
        first, second = facts.attribution, facts.attribution.second_reading
        named = [(slug, True) for slug in first.strategies]
        named += [(slug, False) for slug in first.missing_strategy]
        links += [
            Attribution(
                claim_id=claims[place],
                strategy_id=strategies[slug],
                position=position,
                counted=counted,
            )
            for position, (slug, counted) in enumerate(named)
        ]
        testable = facts.replication.second_reading
        if second or testable:
            reading = SecondReading(claim_id=claims[place], testable=testable or "")
            if second:
                reading.scope, reading.agrees = second.scope, second.agrees
                reading.doubt = second.doubt or ""
            readings.append((reading, second.strategies if second else []))
    Attribution.objects.bulk_create(links)
    SecondReading.objects.bulk_create(reading for reading, _ in readings)
    through = SecondReading.strategies.through
    through._default_manager.bulk_create(
        through(secondreading_id=reading.pk, strategy_id=strategies[slug])
        for reading, slugs in readings
        for slug in slugs
    )


def _device(
    claim: int, role: DeviceRole, position: int, row: HardwareFacts, kinds: Iterable[str]
) -> ClaimDevice:
    return ClaimDevice(
        claim_id=claim,
        role=role,
        position=position,
        is_product=row.name not in kinds,
        **row.model_dump(),
    )


def _write_subjects(fixtures: Fixtures, claims: Mapping[Place, int]) -> None:
    """Write on what each claim was measured, and the rules that its present one replaced."""
    devices, named, rules = [], [], []
    kinds = fixtures.quantities.device_kinds
    for place, facts in fixtures.claims.items():
        claim = claims[place]
        of_role = {
            DeviceRole.STATED: facts.hardware,
            DeviceRole.IMPLIED: facts.hardware_implied,
            DeviceRole.BASELINE: facts.baseline_hardware,
        }
        devices += [
            _device(claim, role, position, row, kinds)
            for role, rows in of_role.items()
            for position, row in enumerate(rows)
        ]
        for position, model in enumerate(facts.model):
            least, most = model.parameters_billion_range or (None, None)
            named.append(
                ClaimModel(
                    claim_id=claim,
                    position=position,
                    name=model.name,
                    parameters_billion=model.parameters_billion,
                    at_least_billion=least,
                    at_most_billion=most,
                )
            )
        rules += [
            FormerRule(claim_id=claim, text=row.rule, **row.model_dump(exclude={"rule"}))
            for row in facts.replication.former
        ]
    ClaimDevice.objects.bulk_create(devices)
    ClaimModel.objects.bulk_create(named)
    FormerRule.objects.bulk_create(rules)


def _write_remarks(fixtures: Fixtures, ids: Mapping[str, int], claims: Mapping[Place, int]) -> None:
    Remark.objects.filter(publication__in=ids.values()).delete()
    Remark.objects.bulk_create(
        Remark(
            publication_id=ids[row.publication],
            claim_id=None if row.position is None else claims[row.publication, row.position],
            kind=row.kind,
            field=row.field,
            before=row.before,
            text=row.text,
            source=row.source,
            settled=row.settled,
        )
        for row in fixtures.remarks
    )


def _remove_unnamed(fixtures: Fixtures) -> None:
    """Remove axes on which nothing stands, and quantities that the fixtures do not name."""
    Axis.objects.filter(claims=None).delete()
    Quantity.objects.filter(axes=None).exclude(slug__in=fixtures.quantities.by_slug).delete()


def _refuse_silent_changes(fixtures: Fixtures) -> None:
    """Raise FixtureError for each rule that is not the one before, which its file does not keep."""
    kept = (
        Claim.objects.exclude(rule="")
        .select_related("publication")
        .only("publication__key", "position", "rule", "rule_written")
    )
    judged = Outcome.objects.exclude(status=Status.NOT_RUN).values_list("claim", "rule_written")
    judged_by = set(judged)
    problems = Problems()
    for claim in kept:
        place = claim.publication.key, claim.position
        facts = fixtures.claims.get(place)
        if facts is None or facts.replication.rule == claim.rule:
            continue
        former = [row for row in facts.replication.former if row.rule == claim.rule]
        what = ""
        if not former:
            what = (
                f"the rule of {claim.rule_written} was another, which replication.former must "
                "keep, with when and why it was replaced"
            )
        elif (claim.pk, claim.rule_written) in judged_by and not former[-1].after_result:
            what = (
                f"a run on this site was judged by the rule of {claim.rule_written}, so it was "
                "replaced after_result"
            )
        if what:
            problems.add("claims.yaml", fixtures.claim_lines[place], f"{claim.code}: {what}")
    if problems.found:
        raise FixtureError(problems.found)
