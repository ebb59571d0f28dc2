from django.apps import AppConfig


class CaseStudiesConfig(AppConfig):
    name = "casestudies"
    verbose_name = "What this machine measures"

    def ready(self) -> None:
        # Importing the tasks is what makes them known to the queue.
        from casestudies import jobs  # noqa: F401
