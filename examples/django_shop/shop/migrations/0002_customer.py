"""Whose an order is."""

from typing import ClassVar

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds the customer."""

    dependencies: ClassVar = [("shop", "0001_initial"), migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
    operations: ClassVar = [
        migrations.AddField(
            "order",
            "customer",
            models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, editable=False),
        ),
    ]
