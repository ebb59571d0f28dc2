"""A corpus of any size with the shape of the real one, for benchmarks and query-count tests."""

import random

from django.db import connection, transaction

from reviewapp.corpus.choices import ArtifactKind, Confidence, Membership, VenueKind
from reviewapp.corpus.models import Publication, Review
from taxonomy.choices import ClaimSource, Qualifier, RatioRule
from taxonomy.models import Attribution, Claim, ClaimDevice, ClaimModel, Evidence, Strategy
from taxonomy.models import TaxonomyClass as Class

# fmt: off
WORDS = [
    "attention", "cache", "kernel", "memory", "pipeline", "quantization", "pruning",
    "throughput", "latency", "expert", "offload", "gradient", "schedule", "batch",
    "token", "decoder", "tensor", "shard", "checkpoint", "sparse", "adapter",
]
# fmt: on
BATCH = 5_000
# What a synthetic claim has of the real one that it is made like.
KEPT = (
    "objective",
    "unit",
    "direction",
    "axis_id",
    "phase",
    "part",
    "job",
    "benchmark",
    "baseline_kind",
    "ratio_rule",
    "ratio_how",
    "scope",
    "confidence",
    "hardware",
    "model",
    "device_gb",
    "device_named",
    "parameters_billion",
)


@transaction.atomic
def add_publications(count: int, *, seed: int = 1) -> None:
    """Add `count` synthetic publications to the first review, with links and claims.

    As in the real corpus, a publication has about 4 strategies and 2.4 claims, and most are
    counted as the review's own. The same seed and count give the same corpus.
    """
    generate = random.Random(seed)
    review = Review.objects.earliest("id")
    strategies = list(Strategy.objects.values_list("id", flat=True))
    classes = list(Class.objects.values_list("id", flat=True))
    # What is claimed is as varied, and as unevenly spread, as in the real corpus.
    models = list(
        Claim.objects.prefetch_related("attributions", "devices", "models").order_by("id")
    )
    for start in range(0, count, BATCH):
        batch = Publication.objects.bulk_create(
            _publication(generate, review, seed, n) for n in range(start, min(start + BATCH, count))
        )
        filed = [generate.sample(strategies, generate.randint(2, 6)) for _ in batch]
        Evidence.objects.bulk_create(
            Evidence(publication=publication, strategy_id=strategy)
            for publication, under in zip(batch, filed, strict=True)
            for strategy in under
        )
        through = Class.publications.through
        through.objects.bulk_create(
            through(publication=publication, taxonomyclass_id=class_)
            for publication in batch
            for class_ in generate.sample(classes, generate.randint(1, 2))
        )
        _add_claims(generate, models, dict(zip(batch, filed, strict=True)))


def _add_claims(
    generate: random.Random, models: list[Claim], filed: dict[Publication, list[int]]
) -> None:
    """Add claims like the models, each an effect of as many of its publication's strategies."""
    made = [
        (_claim(generate, publication, position, model), model)
        for publication in filed
        for position in range(generate.randint(1, 4))
        for model in [generate.choice(models)]
    ]
    Claim.objects.bulk_create(claim for claim, _ in made)
    Attribution.objects.bulk_create(
        Attribution(claim=claim, strategy_id=strategy, position=position)
        for claim, model in made
        for position, strategy in enumerate(
            filed[claim.publication][: len(model.attributions.all())]
        )
    )
    ClaimDevice.objects.bulk_create(
        ClaimDevice(
            claim=claim,
            role=device.role,
            position=device.position,
            name=device.name,
            is_product=device.is_product,
            count=device.count,
            memory_gb=device.memory_gb,
        )
        for claim, model in made
        for device in model.devices.all()
    )
    ClaimModel.objects.bulk_create(
        ClaimModel(
            claim=claim,
            position=named.position,
            name=named.name,
            parameters_billion=named.parameters_billion,
            at_least_billion=named.at_least_billion,
            at_most_billion=named.at_most_billion,
        )
        for claim, model in made
        for named in model.models.all()
    )


def refresh_statistics() -> None:
    """Vacuum and analyse, as autovacuum does some minutes after a large import."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def _text(generate: random.Random, words: int) -> str:
    """Return words of which a tenth are the field's, so that each stands in some 15% of records."""
    return " ".join(
        generate.choice(WORDS) if generate.random() < 0.1 else f"word{generate.randint(1, 5000)}"
        for _ in range(words)
    )


def _publication(generate: random.Random, review: Review, seed: int, n: int) -> Publication:
    year, venue = generate.randint(2017, 2023), f"Synthetic Conference {generate.randint(1, 40)}"
    return Publication(
        review=review,
        key=f"synthetic{seed}n{n}",
        title=_text(generate, 8).capitalize(),
        authors=[f"Family{generate.randint(1, 5000)}, Given" for _ in range(4)],
        year=year,
        month=generate.randint(1, 12),
        venue=venue,
        venue_kind=generate.choices(VenueKind.values, [63, 3, 1, 6])[0],
        venue_name=venue,
        published_year=year,
        venue_confidence=Confidence.HIGH,
        url=f"https://example.org/{seed}/{n}",
        code_url="https://example.org/code" if generate.random() < 0.6 else "",
        artifact_name=f"Synthetic-{seed}-{n}",
        artifact_kind=generate.choice(ArtifactKind.values),
        hardware=[generate.choice(["NVIDIA A100", "NVIDIA V100", "CPU"])],
        models_used=["GPT-style"],
        max_params_billion=generate.choice([None, 6.7, 13, 175]),
        summary=_text(generate, 30).capitalize() + ".",
        limitation=_text(generate, 15).capitalize() + ".",
        limitation_basis="curator",
        membership=generate.choices(Membership.values, [12, 53, 8])[0],
        membership_grade="C",
        confidence=generate.choices(Confidence.values, [68, 5])[0],
        sources=["synthetic"],
    )


def _claim(generate: random.Random, publication: Publication, position: int, model: Claim) -> Claim:
    """Return a claim of the same quantity as the model, with another number and other words."""
    value = round(generate.uniform(1, 20), 1)
    is_factor = model.ratio_rule == RatioRule.FACTOR
    return Claim(
        publication=publication,
        position=position,
        metric=_text(generate, 2),
        value=value,
        # No claim is one end of a range, since that needs the other.
        qualifier=Qualifier.UP_TO if model.is_range_end else model.qualifier,
        baseline=_text(generate, 2),
        conditions=_text(generate, 6),
        source=ClaimSource.ABSTRACT,
        ratio=value if is_factor else model.ratio,
        plotted=value if is_factor else model.plotted,
        why="synthetic",
        **{name: getattr(model, name) for name in KEPT},
    )
