"""A tiny shop: its orders are reported only for visitors who have said yes on the panel."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, abort, redirect, render_template, request, url_for
from flask_wtf import CSRFProtect
from privacy import POLICY, privacy_notice

from consentpanel import PrivacyRequests
from consentpanel.flask import ConsentPanel, current_consent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from werkzeug.wrappers import Response

PRICES = {"tea": 4.5, "coffee": 7.2}
MAX_QUANTITY = 20
TOKEN = os.environ.get("MIXPANEL_TOKEN", "your-project-token")
OAUTH_TOKEN = os.environ.get("MIXPANEL_OAUTH_TOKEN")

pages = Blueprint("pages", __name__)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Build the shop.

    Args:
        config: Settings that go before those of the environment.
    """
    app = Flask(__name__)
    app.config.update(
        # A random key signs every visitor out at a restart, which is better than a key that everybody knows.
        SECRET_KEY=os.environ.get("SHOP_SECRET_KEY") or secrets.token_urlsafe(50),
        SESSION_COOKIE_SECURE=os.environ.get("SHOP_DEBUG") != "1",
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=16 * 1024,
        CONSENTPANEL_TOKEN=TOKEN,
        CONSENTPANEL_POLICY=POLICY,
        CONSENTPANEL_NOTICE=privacy_notice,
        # Whoever agreed to another notice is asked again.
        CONSENTPANEL_POLICY_VERSION="notice",
        CONSENTPANEL_DATABASE=os.environ.get("SHOP_DATABASE", "sqlite:///shop.db"),
        CONSENTPANEL_API_HOST=os.environ.get("MIXPANEL_API_HOST", "api-eu.mixpanel.com"),
        CONSENTPANEL_PRIVACY=PrivacyRequests(TOKEN, OAUTH_TOKEN, region="EU") if OAUTH_TOKEN else None,
    )
    app.config.update(config or {})
    CSRFProtect(app)
    panel = ConsentPanel(app)
    panel.create_tables(app)
    app.register_blueprint(pages)
    return app


@pages.get("/")
def order() -> str:
    """Show the order form."""
    return render_template("order.html", products=list(PRICES), max_quantity=MAX_QUANTITY)


@pages.post("/")
def place_order() -> Response:
    """Take an order, and report it."""
    form = request.form
    product, quantity = form.get("product", ""), form.get("quantity", 0, type=int)
    if product not in PRICES or not 1 <= quantity <= MAX_QUANTITY or "@" not in form.get("email", ""):
        abort(400)
    # A real shop stores the order here, and reports it only when it is stored.
    total = PRICES[product] * quantity
    current_consent.track("Order placed", {**form, "quantity": quantity, "total": total, "currency": "EUR"})
    return redirect(url_for("pages.thanks"))


@pages.get("/thanks")
def thanks() -> str:
    """Say thank you; the order itself is not shown."""
    return render_template("thanks.html")
