from django.apps import AppConfig


class CaseStudiesConfig(AppConfig):
    name = "casestudies"
    verbose_name = "What this machine measures"

    def ready(self) -> None:
        from casestudies.studies.comparison_rows import measured_rows
        from taxonomy.comparison import measured

        measured.sources.append(measured_rows)
