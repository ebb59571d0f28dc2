from django.apps import AppConfig


class CaseStudiesConfig(AppConfig):
    name = "casestudies"
    verbose_name = "What this machine measures"

    def ready(self) -> None:
        # Importing the tasks is what makes them known to the queue.
        from casestudies.studies.comparison_rows import measured_rows
        from casestudies.worker import jobs  # noqa: F401
        from taxonomy.comparison import measured

        measured.sources.append(measured_rows)
