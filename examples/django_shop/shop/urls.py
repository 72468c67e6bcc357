"""The addresses of the shop."""

from django.urls import path

from shop import views

urlpatterns = [
    path("", views.order, name="order"),
    path("consent/", views.consent, name="consent"),
    path("thanks/", views.thanks, name="thanks"),
]
