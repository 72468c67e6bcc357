"""What is done after a request, by a worker of Celery's."""

from __future__ import annotations

from celery import shared_task
from django.core.mail import send_mail
from django.db import Error, transaction

from consentpanel.django import mixpanel
from shop.models import Order


@shared_task(autoretry_for=(Error,), retry_backoff=1, retry_backoff_max=5, max_retries=20)  # type: ignore[untyped-decorator]
def send_receipt(order_id: int, subject_id: str | int | None) -> None:
    """Send the receipt of an order, and report it about whoever has placed it."""
    with transaction.atomic():
        order = Order.objects.get(pk=order_id)
        if subject_id is not None:
            mixpanel.track(subject_id, "Receipt sent", {"product": order.product})
    send_mail("Your order", f"{order.quantity} x {order.product}", None, [order.email])
