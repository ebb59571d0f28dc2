from django.apps import AppConfig
from django.core import checks


class CaseStudiesConfig(AppConfig):
    name = "casestudies"
    verbose_name = "What this machine measures"

    def ready(self) -> None:
        from casestudies.lab.catalogue import STUDIES
        from casestudies.studies.measured import measured_studies
        from taxonomy import measured

        titles = {slug: study.title for slug, study in STUDIES.items()}
        measured.register(measured_studies, titles)
        checks.register(_models_that_cannot_be_offered)


def _models_that_cannot_be_offered(**options: object) -> list[checks.CheckMessage]:
    from casestudies.lab.models.offered import offered

    return [checks.Warning(problem, id="casestudies.W001") for problem in offered().problems]
