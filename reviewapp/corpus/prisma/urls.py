"""The addresses of the corpus's pages."""

from django.urls import path

from reviewapp.corpus.prisma import views

urlpatterns = [
    path("prisma/", views.prisma, name="prisma"),
    path("prisma/import/", views.prisma_import, name="prisma-import"),
    path("prisma/edit/", views.prisma_edit, name="prisma-edit"),
    path("prisma/template.csv", views.prisma_template, name="prisma-template"),
    path("prisma/export.<slug:extension>", views.prisma_export, name="prisma-export"),
]
