from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class TaxonomyConfig(AppConfig):
    name = "taxonomy"
    verbose_name = "What the publications say"

    def ready(self) -> None:
        """Let the database keep the facets of the publications, however it was migrated."""
        from taxonomy.publications.facet_values import keep_up, let_go

        pre_migrate.connect(let_go, sender=self)
        post_migrate.connect(keep_up, sender=self)
