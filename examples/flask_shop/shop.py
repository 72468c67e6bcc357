"""A tiny shop: a consent form, and an order that is reported only for a visitor who said yes."""

from __future__ import annotations

import hmac
import os
import secrets
import uuid
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, abort, current_app, redirect, render_template, request, session, url_for
from mixpanel import MixpanelException

from consentpanel import Consumer, FieldPolicy, Mixpanel, Purpose, keep
from consentpanel.registry import SQLiteRegistry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from werkzeug.wrappers import Response

PRICES = {"tea": 4.5, "coffee": 7.2}
PRIVACY_POLICY_VERSION = "2026-05-01"
MAX_QUANTITY = 20

# A field of the form without a rule here, such as `email`, is not sent.
POLICY = FieldPolicy(events={"product": keep(), "quantity": keep(), "total": keep(), "currency": keep()})

pages = Blueprint("pages", __name__)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Build the shop; its registry and its client live as long as it does.

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
        MIXPANEL_TOKEN=os.environ.get("MIXPANEL_TOKEN", ""),
        MIXPANEL_API_HOST=os.environ.get("MIXPANEL_API_HOST", "api-eu.mixpanel.com"),
        CONSENT_REGISTRY=os.environ.get("SHOP_CONSENT_REGISTRY", "consent.db"),
    )
    app.config.update(config or {})
    registry = SQLiteRegistry(app.config["CONSENT_REGISTRY"], required_policy_version=PRIVACY_POLICY_VERSION)
    app.extensions["consent_registry"] = registry
    app.extensions["mixpanel"] = Mixpanel(
        app.config["MIXPANEL_TOKEN"],
        Consumer(api_host=app.config["MIXPANEL_API_HOST"], request_timeout=2, retry_limit=0),
        registry=registry,
        policy=POLICY,
    )
    app.register_blueprint(pages)
    app.jinja_env.globals["form_token"] = _form_token
    return app


@pages.before_request
def _refuse_a_form_from_elsewhere() -> None:
    if request.method == "POST":
        sent = request.form.get("form_token", "").encode()
        if not hmac.compare_digest(sent, _form_token().encode()):
            abort(403)


@pages.get("/consent")
def consent() -> str:
    """Ask for consent; neither answer is ticked in advance."""
    return render_template("consent.html")


@pages.post("/consent")
def record_consent() -> Response:
    """Record the answer, whichever it is."""
    registry: SQLiteRegistry = current_app.extensions["consent_registry"]
    answers = {"grant": registry.grant, "deny": registry.deny}
    answer = answers.get(request.form.get("analytics", ""))
    if answer is None:
        abort(400)
    answer(_visitor_id(), Purpose.ANALYTICS, source="consent-form", policy_version=PRIVACY_POLICY_VERSION)
    return redirect(url_for("pages.order"))


@pages.get("/")
def order() -> str:
    """Show the order form."""
    return render_template("order.html", products=list(PRICES), max_quantity=MAX_QUANTITY)


@pages.post("/")
def place_order() -> Response:
    """Take an order and report it; an unreachable vendor must not break the shop."""
    form = request.form
    product, quantity = form.get("product", ""), form.get("quantity", "", type=_quantity)
    if product not in PRICES or not quantity or "@" not in form.get("email", ""):
        abort(400)
    # A real shop stores the order here, and reports it only when it is stored.
    mp: Mixpanel = current_app.extensions["mixpanel"]
    reported = {
        **{name: value for name, value in form.items() if name != "form_token"},
        "quantity": quantity,
        "total": PRICES[product] * quantity,
        "currency": "EUR",
    }
    try:
        mp.track(_visitor_id(), "Order placed", reported)
    except MixpanelException:
        # The exception's text may quote the message, so it stays out of the log.
        current_app.logger.warning("an order could not be reported to analytics")
    return redirect(url_for("pages.thanks"))


@pages.get("/thanks")
def thanks() -> str:
    """Say thank you; the order itself is not shown."""
    return render_template("thanks.html")


def _visitor_id() -> str:
    visitor_id: str = session.setdefault("visitor_id", str(uuid.uuid4()))
    return visitor_id


def _form_token() -> str:
    token: str = session.setdefault("form_token", secrets.token_urlsafe())
    return token


def _quantity(text: str) -> int:
    quantity = int(text)
    return quantity if 1 <= quantity <= MAX_QUANTITY else 0
