from django.apps import AppConfig


class CaseStudiesConfig(AppConfig):
    name = "casestudies"
    verbose_name = "What this machine measures"

    def ready(self) -> None:
        from casestudies.studies.comparison_rows import CaseStudies
        from taxonomy import measured

        measured.register(CaseStudies())
