from django.apps import AppConfig


class CaseStudiesConfig(AppConfig):
    name = "casestudies"
    verbose_name = "What this machine measures"

    def ready(self) -> None:
        from casestudies.studies.measured import measured_studies
        from taxonomy import measured

        measured.register(measured_studies)
