"""What the shop keeps of an order."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

PRICES = {"tea": Decimal("4.50"), "coffee": Decimal("7.20")}


class Order(models.Model):
    """An order, with the address to which the receipt goes."""

    product = models.CharField(max_length=20, choices=[(name, name) for name in PRICES])
    quantity = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(20)])
    email = models.EmailField()
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, editable=False)

    objects: ClassVar[models.Manager[Order]]

    def __str__(self) -> str:
        return f"order {self.pk}"

    @property
    def total(self) -> Decimal:
        """The price of the whole order, in euros."""
        return PRICES[self.product] * self.quantity
