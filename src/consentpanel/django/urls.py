"""``path("privacy/", include("consentpanel.django.urls"))``."""

from __future__ import annotations

from django.urls import path

from consentpanel.django import views

app_name = "consentpanel"
urlpatterns = [
    path("", views.panel, name="panel"),
    path("withdraw", views.panel, {"below": "withdraw"}, name="withdraw"),
    path("<path:below>", views.panel, name="below"),
]
