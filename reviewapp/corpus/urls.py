"""The addresses of the corpus's pages."""

from django.urls import path

from reviewapp.corpus import prisma_views

urlpatterns = [
    path("prisma/", prisma_views.prisma, name="prisma"),
    path("prisma/import/", prisma_views.prisma_import, name="prisma-import"),
    path("prisma/template.csv", prisma_views.prisma_template, name="prisma-template"),
    path("prisma/export.<slug:extension>", prisma_views.prisma_export, name="prisma-export"),
]
