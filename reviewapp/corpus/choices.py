"""What a field of the review's records may hold, with the words that readers see."""

from django.db.models import TextChoices


class Grade(TextChoices):
    """How a statement about the review is supported; an empty grade means it is not graded."""

    A = "A", "the review's own abstract or bibliographic record"
    B = "B", "a news article about the review"
    C = "C", "a machine-written summary of the review"
    C_PLUS = "C+", "several summaries of the review that agree"
    B_AND_C = "B+C", "a news article and a summary of the review"
    CURATED = "curated", "added by this project so that every publication has a home"


class CriterionKind(TextChoices):
    INCLUSION = "inclusion"
    EXCLUSION = "exclusion"


class VenueKind(TextChoices):
    CONFERENCE = "conference", "Conference"
    JOURNAL = "journal", "Journal"
    WORKSHOP = "workshop", "Workshop"
    PREPRINT = "preprint", "Preprint"


class ArtifactKind(TextChoices):
    SYSTEM = "system", "System"
    ALGORITHM = "algorithm", "Algorithm"
    FRAMEWORK = "framework", "Framework"
    LIBRARY = "library", "Library"
    MODEL = "model", "Model"


class Membership(TextChoices):
    """How a publication relates to the review's own set; only extensions are not counted in it."""

    NAMED = "named", "Named"
    RECONSTRUCTED = "reconstructed", "Reconstructed"
    EXTENSION = "extension", "Extension"


# The publications that count as the review's own.
COUNTED = (Membership.NAMED, Membership.RECONSTRUCTED)


class Confidence(TextChoices):
    HIGH = "high", "High"
    MEDIUM = "medium", "Medium"


class LimitationBasis(TextChoices):
    CURATOR = "curator", "this project's reading"
    SOURCE = "source", "the publication itself"
