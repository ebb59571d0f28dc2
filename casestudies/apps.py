from django.apps import AppConfig


class CaseStudiesConfig(AppConfig):
    name = "casestudies"
    verbose_name = "What this machine measures"

    def ready(self) -> None:
        from casestudies.lab.catalogue import STUDIES
        from casestudies.studies.measured import measured_studies
        from taxonomy import measured

        titles = {slug: study.title for slug, study in STUDIES.items()}
        measured.register(measured_studies, titles)
