"""Which artifacts the address of the page asks for, and in which order."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.http import QueryDict

from reviewapp.corpus.choices import ArtifactKind
from reviewapp.corpus.models import Publication
from reviewapp.corpus.querysets import NEWEST, PublicationQuerySet
from reviewapp.ui.errors import cleaned_or_400
from taxonomy.models import Evidence, Strategy, TaxonomyClass

SOFTWARE = (ArtifactKind.FRAMEWORK, ArtifactKind.LIBRARY, ArtifactKind.SYSTEM)
SORTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "newest": ("Newest first", NEWEST),
    "name": ("Name", (Lower("artifact_name"), "key")),
    "size": ("Largest model", (F("max_params_billion").desc(nulls_last=True), *NEWEST)),
    "claims": ("Most claims", ("-facets__claim_count", *NEWEST)),
}


class ArtifactsForm(forms.Form):
    """What the address may ask for; without a kind: frameworks, libraries and systems."""

    q = forms.CharField(required=False, max_length=200, label="Name or title")
    kind = forms.ChoiceField(required=False, label="Kind")
    klass = forms.ChoiceField(required=False, label="Class")
    strategy = forms.ChoiceField(required=False, label="Strategy")
    code = forms.ChoiceField(
        required=False,
        label="Code",
        choices=[("", "Any"), ("yes", "With code"), ("no", "No code known")],
    )
    sort = forms.ChoiceField(required=False, label="Sort by")

    def __init__(self, data: QueryDict) -> None:
        super().__init__(data)
        # "class" is no name in Python, but it is the key of the other pages' addresses.
        self.fields["class"] = self.fields.pop("klass")
        self.order_fields(["q", "kind", "class", "strategy", "code", "sort"])
        fields: dict[str, Any] = self.fields
        kinds = [(kind.value, kind.label) for kind in ArtifactKind]
        fields["kind"].choices = [("", "Frameworks, libraries, systems"), ("all", "All"), *kinds]
        classes = TaxonomyClass.objects.values_list("slug", "name")
        fields["class"].choices = [("", "Any"), *classes]
        strategies = Strategy.objects.values_list("slug", "name")
        fields["strategy"].choices = [("", "Any"), *strategies]
        orders = [(key if key != "newest" else "", label) for key, (label, _) in SORTS.items()]
        fields["sort"].choices = orders


@dataclass(frozen=True)
class Asked:
    """What was chosen; empty where nothing was."""

    text: str
    kind: str
    of_class: str
    strategy: str
    code: str
    sort: str

    def publications(self) -> PublicationQuerySet:
        """Return the publications of the artifacts that pass, in the order asked for."""
        found = Publication.objects.filter(**self._kinds)
        if self.text:
            found = found.filter(self._named)
        if self.of_class:
            links = TaxonomyClass.publications.through.objects
            filed = links.filter(taxonomyclass__slug=self.of_class)
            found = found.filter(pk__in=filed.values("publication"))
        if self.strategy:
            evidence = Evidence.objects.filter(strategy__slug=self.strategy)
            found = found.filter(pk__in=evidence.values("publication"))
        if self.code:
            found = found.exclude(code_url="") if self.code == "yes" else found.filter(code_url="")
        return found.order_by(*SORTS[self.sort or "newest"][1])

    @property
    def _kinds(self) -> dict[str, Any]:
        if self.kind == "all":
            return {}
        return {"artifact_kind__in": [self.kind] if self.kind else SOFTWARE}

    @property
    def _named(self) -> Q:
        return Q(artifact_name__icontains=self.text) | Q(title__icontains=self.text)


def read_asked(data: QueryDict) -> tuple[Asked, ArtifactsForm]:
    """Return what the address asks for, and its form; raise BadRequest for what cannot be."""
    form = ArtifactsForm(data)
    given = cleaned_or_400(form)
    asked = Asked(
        text=given["q"],
        kind=given["kind"],
        of_class=given["class"],
        strategy=given["strategy"],
        code=given["code"],
        sort=given["sort"],
    )
    return asked, form
