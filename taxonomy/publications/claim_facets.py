"""The facets that speak of claims: what is chosen of them is asked of one and the same claim."""

from collections.abc import Sequence
from itertools import pairwise

from django.db.models import Case, Q, TextField, Value, When

from taxonomy.choices import DeviceNamed, Objective, Phase, QuantityGroup, Scope
from taxonomy.models import Claim, Quantity
from taxonomy.publications.kinds import NOT_STATED, Choice, ListFacet, listed

MORE = "more"
DEVICE_GB = (16, 24, 32, 40, 48, 80)
PARAMETERS_BILLION = (1, 7, 13, 70, 200)


def _band(column: str, limits: Sequence[int]) -> Case:
    """Return the expression of the band that a number falls into: by its limit, "16" up to 16."""
    bands = [When(Q(**{f"{column}__lte": limit}), then=Value(str(limit))) for limit in limits]
    more = When(Q(**{f"{column}__gt": limits[-1]}), then=Value(MORE))
    return Case(*bands, more, default=Value(NOT_STATED), output_field=TextField())


def _bands(limits: Sequence[int], unit: str, phrase: str) -> tuple[Choice, ...]:
    """Return the choice of each band, the smallest first, and that of claims without a number."""
    words = {str(limits[0]): f"up to {limits[0]} {unit}"}
    words |= {str(most): f"over {above} to {most} {unit}" for above, most in pairwise(limits)}
    words[MORE] = f"over {limits[-1]} {unit}"
    bands = [
        Choice(value, label[0].upper() + label[1:], phrase.format(label), value)
        for value, label in words.items()
    ]
    unknown = Choice(NOT_STATED, "Not stated", phrase.format("a size not stated"), NOT_STATED)
    return *bands, unknown


def _quantities() -> tuple[Choice, ...]:
    rows = Quantity.objects.values_list("slug", "name", "pk", "group")
    found = sorted(rows, key=lambda row: QuantityGroup.values.index(row[3]))
    return tuple(
        Choice(slug, name[0].upper() + name[1:], name, pk, str(QuantityGroup(group).label))
        for slug, name, pk, group in found
    )


def _phases() -> tuple[Choice, ...]:
    bound = [phase for phase in Phase if phase != Phase.NONE]
    return (
        *(Choice(p.value, p.label.capitalize(), f"in {p.label}", p.value) for p in bound),
        Choice("none", "Not tied to a phase", "not tied to a phase", Phase.NONE.value),
    )


SCOPES: dict[str, tuple[str, str]] = {
    Scope.ISOLATED: ("One strategy, shown alone", "shown for one strategy alone"),
    Scope.COMBINED: ("Several strategies together", "shown for several strategies together"),
    Scope.AGAINST_ANOTHER: ("Against another system", "against another system"),
    Scope.SYSTEM: ("A whole system", "of a whole system"),
    Scope.DESCRIPTIVE: ("Descriptive, no effect", "descriptive"),
}
TRIED = (
    Choice("yes", "Tried here", "tried here", stored=True),
    Choice("no", "Not tried here", "not tried here", stored=False),
)
HARDWARE: dict[str, tuple[str, str]] = {
    DeviceNamed.PRODUCT: ("A product", "naming a product as its device"),
    DeviceNamed.KIND: ("Only a kind of device", "naming only a kind of device"),
    DeviceNamed.NONE: ("No device", "naming no device"),
}


def _worded(words: dict[str, tuple[str, str]]) -> tuple[Choice, ...]:
    return tuple(
        Choice(str(value), label, phrase, str(value)) for value, (label, phrase) in words.items()
    )


# In the order of the page.
CLAIM_FACETS = (
    ListFacet(
        "objective", "Claims about", Claim, "objective", lambda: listed(Objective, "{} claims")
    ),
    ListFacet("quantity", "Quantity", Claim, "axis__quantity", _quantities, folded=True),
    ListFacet("phase", "Phase", Claim, "phase", _phases),
    ListFacet(
        "scope",
        "Effect of",
        Claim,
        "scope",
        lambda: _worded(SCOPES),
        folded=True,
        help_text="What the number was shown for, by this project's reading",
    ),
    ListFacet(
        "device_memory",
        "Device memory",
        Claim,
        _band("device_gb", DEVICE_GB),
        lambda: _bands(DEVICE_GB, "GB", "on a device of {}"),
        help_text="The largest device that the claim's own words state or imply, or the least of "
        "alternatives",
    ),
    ListFacet(
        "device_named",
        "Device named",
        Claim,
        "device_named",
        lambda: _worded(HARDWARE),
        folded=True,
        help_text="What the claim's own words name, whatever else its publication used",
    ),
    ListFacet(
        "model_size",
        "Model size",
        Claim,
        _band("parameters_billion", PARAMETERS_BILLION),
        lambda: _bands(PARAMETERS_BILLION, "billion parameters", "on a model of {}"),
        folded=True,
        help_text="The largest model that the claim names, by its upper bound where only that is "
        "known",
    ),
    ListFacet(
        "tried",
        "Tried here",
        Claim,
        "tried",
        lambda: TRIED,
        help_text="Whether a run on this site judged the claim by the rule written for it",
    ),
)
