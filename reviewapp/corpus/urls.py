from django.http import HttpResponse
from django.urls import path


def empty(request, **kwargs):
    return HttpResponse("")


urlpatterns = [path("prisma/", empty, name="prisma")]
