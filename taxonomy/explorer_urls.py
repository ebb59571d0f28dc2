from django.http import HttpResponse
from django.urls import path


def empty(request, **kwargs):
    return HttpResponse("")


urlpatterns = [path("taxonomy/", empty, name="taxonomy"), path("taxonomy/<slug:slug>/", empty, name="strategy")]
