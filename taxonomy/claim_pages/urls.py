"""The addresses of claims."""

from django.urls import path

from taxonomy.claim_pages import views

urlpatterns = [path("claims/<slug:code>/", views.claim, name="claim")]
