from django.apps import AppConfig


class LimitsConfig(AppConfig):
    name = "reviewapp.limits"
    label = "limits"
    verbose_name = "How often each may ask"
