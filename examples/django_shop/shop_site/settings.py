"""Settings of the example shop; each secret and each path comes from the environment."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from consentpanel import PrivacyRequests

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = os.environ.get("SHOP_DEBUG") == "1"
# A random key signs every visitor out at a restart, which is better than a key that everybody knows.
SECRET_KEY = os.environ.get("SHOP_SECRET_KEY") or secrets.token_urlsafe(50)
ALLOWED_HOSTS = os.environ.get("SHOP_HOSTS", "localhost 127.0.0.1").split()

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "consentpanel.django",
    "shop",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "consentpanel.django.ConsentMiddleware",
]
ROOT_URLCONF = "shop_site.urls"
WSGI_APPLICATION = "shop_site.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def database(address: str) -> dict[str, Any]:
    """A database by its address: ``postgresql://user:password@host:port/name``, or the path of a SQLite file."""
    if not address.startswith("postgresql://"):
        options = {"transaction_mode": "IMMEDIATE", "timeout": 20}
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": address, "OPTIONS": options}
    parts = urlsplit(address)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.strip("/"),
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


DATABASES = {"default": database(os.environ.get("SHOP_DATABASE", str(BASE_DIR / "shop.db")))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
LOGIN_URL, LOGIN_REDIRECT_URL, LOGOUT_REDIRECT_URL = "log_in", "order", "order"
EMAIL_BACKEND = (
    "django.core.mail.backends.console.EmailBackend" if DEBUG else "django.core.mail.backends.smtp.EmailBackend"
)

# Without a broker a task is done at once, in the request.
CELERY_BROKER_URL = os.environ.get("SHOP_BROKER")
CELERY_TASK_ALWAYS_EAGER = not CELERY_BROKER_URL

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"

TOKEN = os.environ.get("MIXPANEL_TOKEN", "your-project-token")
OAUTH_TOKEN = os.environ.get("MIXPANEL_OAUTH_TOKEN")
CONSENTPANEL = {
    "TOKEN": TOKEN,
    "POLICY": "shop.privacy.POLICY",
    "NOTICE": "shop.privacy.privacy_notice",
    # Whoever agreed to another notice is asked again.
    "POLICY_VERSION": "notice",
    "CONSUMER": "consentpanel.django.DjangoOutbox",
    "API_HOST": os.environ.get("MIXPANEL_API_HOST", "api-eu.mixpanel.com"),
    "PRIVACY": PrivacyRequests(TOKEN, OAUTH_TOKEN, region="EU") if OAUTH_TOKEN else None,
}
