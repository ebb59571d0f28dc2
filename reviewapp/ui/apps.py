from django.apps import AppConfig


class UiConfig(AppConfig):
    name = "reviewapp.ui"
    label = "ui"
