"""What the shop may tell the vendor about an order: the allow-list, and the one place that sends."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.apps import apps
from django.forms.models import model_to_dict

from consentpanel import FieldPolicy, MixpanelException, keep

if TYPE_CHECKING:
    from shop.apps import ShopConfig
    from shop.models import Order

logger = logging.getLogger(__name__)

# A field that the model gets later, or has today without a rule here, such as `email`, is not sent.
POLICY = FieldPolicy(events={"product": keep(), "quantity": keep(), "total": keep(), "currency": keep()})


def shop_config() -> ShopConfig:
    """The running app, which holds the registry and the client."""
    config: ShopConfig = apps.get_app_config("shop")  # type: ignore[assignment]
    return config


def order_placed(visitor_id: str, order: Order) -> None:
    """Tell the vendor of an order. An unreachable vendor must not break the shop."""
    try:
        shop_config().mp.track(
            visitor_id,
            "Order placed",
            {**model_to_dict(order, exclude=["id"]), "total": float(order.total), "currency": "EUR"},
        )
    except MixpanelException:
        # The exception's text may quote the message, so it stays out of the log.
        logger.warning("an order could not be reported to analytics")
