"""The addresses of the shop."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from shop import views

urlpatterns = [
    path("", views.order, name="order"),
    path("thanks/", views.thanks, name="thanks"),
    path("sign-up/", views.sign_up, name="sign_up"),
    path("log-in/", LoginView.as_view(template_name="shop/log_in.html"), name="log_in"),
    path("log-out/", LogoutView.as_view(), name="log_out"),
]
