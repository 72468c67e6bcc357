"""The addresses of the site."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("shop.urls")),
    path("privacy/", include("consentpanel.django.urls")),
    path("admin/", admin.site.urls),
]
