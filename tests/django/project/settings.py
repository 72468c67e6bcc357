"""A project with nothing but what the tests need."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_FOLDER = Path(tempfile.mkdtemp(prefix="consentpanel-django-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)

SECRET_KEY = "not a secret, for tests alone"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("TEST_DATABASE", str(_FOLDER / "shop.db")),
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "consentpanel.django",
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
