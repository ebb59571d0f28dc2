from django.http import HttpResponse
from django.urls import path


def empty(request, **kwargs):
    return HttpResponse("")


urlpatterns = [path("publications/", empty, name="publications"), path("publications/<slug:key>/", empty, name="publication")]
