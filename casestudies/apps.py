from django.apps import AppConfig


class CaseStudiesConfig(AppConfig):
    name = "casestudies"
    verbose_name = "What this machine measures"

    def ready(self) -> None:
        # Importing the tasks is what makes them known to the queue.
        from casestudies.studies.comparison_rows import CaseStudies
        from casestudies.worker import jobs  # noqa: F401
        from taxonomy import measured

        measured.register(CaseStudies())
