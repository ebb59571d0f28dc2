from django.apps import AppConfig


class CorpusConfig(AppConfig):
    name = "reviewapp.corpus"
    label = "corpus"
    verbose_name = "The review's records"
