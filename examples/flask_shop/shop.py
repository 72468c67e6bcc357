"""A tiny shop: a consent form, and an order that is reported only for a visitor who said yes."""

from __future__ import annotations

import hmac
import os
import secrets
import uuid
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, abort, current_app, redirect, render_template, request, session, url_for
from mixpanel import MixpanelException

from consentpanel import BackgroundConsumer, FieldPolicy, Mixpanel, PrivacyRequestError, PrivacyRequests, keep
from consentpanel.registry import SQLiteRegistry
from consentpanel.transparency import Notice, Vendor, notice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from werkzeug.wrappers import Response

PRICES = {"tea": 4.5, "coffee": 7.2}
MAX_QUANTITY = 20

# A field of the form without a rule here, such as `email`, is not sent.
POLICY = FieldPolicy(
    events={
        "product": keep(one_of=list(PRICES), reason="to see which products are bought"),
        "quantity": keep(type=int, reason="to know how much to order"),
        "total": keep(type=float, reason="to add up the day's sales"),
        "currency": keep(one_of=["EUR"], reason="to add up the day's sales"),
    },
    unplanned_events="drop",
    planned_events=["Order placed"],
)
VENDOR = Vendor(region="EU", retention_days=365)


def privacy_notice(language: str = "en") -> Notice:
    """What visitors are told, from the policy that is in force.

    Args:
        language: ``"en"``, ``"de"`` or ``"fr"``.
    """
    return notice(
        POLICY,
        contact="privacy@shop.example",
        purposes={"analytics": "to see what is bought, and to order enough of it"},
        vendor=VENDOR,
        language=language,
    )


# Whoever agreed to another notice is asked again.
PRIVACY_POLICY_VERSION = privacy_notice().version

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
        MIXPANEL_TOKEN=os.environ.get("MIXPANEL_TOKEN", "your-project-token"),
        MIXPANEL_API_HOST=os.environ.get("MIXPANEL_API_HOST", "api-eu.mixpanel.com"),
        MIXPANEL_OAUTH_TOKEN=os.environ.get("MIXPANEL_OAUTH_TOKEN", ""),
        MIXPANEL_PRIVACY_HOST=os.environ.get("MIXPANEL_PRIVACY_HOST") or None,
        CONSENT_REGISTRY=os.environ.get("SHOP_CONSENT_REGISTRY", "consent.db"),
    )
    app.config.update(config or {})
    registry = SQLiteRegistry(app.config["CONSENT_REGISTRY"], required_policy_version=PRIVACY_POLICY_VERSION)
    app.extensions["consent_registry"] = registry
    app.extensions["mixpanel"] = Mixpanel(
        app.config["MIXPANEL_TOKEN"],
        BackgroundConsumer(api_host=app.config["MIXPANEL_API_HOST"]),
        registry=registry,
        policy=POLICY,
        privacy=_privacy_requests(app.config),
    )
    app.register_blueprint(pages)
    app.jinja_env.globals["form_token"] = _form_token
    return app


def _privacy_requests(config: Mapping[str, Any]) -> PrivacyRequests | None:
    if not config["MIXPANEL_OAUTH_TOKEN"]:
        return None
    host = config["MIXPANEL_PRIVACY_HOST"]
    return PrivacyRequests(config["MIXPANEL_TOKEN"], config["MIXPANEL_OAUTH_TOKEN"], region="EU", host=host)


@pages.before_request
def _refuse_a_form_from_elsewhere() -> None:
    if request.method == "POST":
        sent = request.form.get("form_token", "").encode()
        if not hmac.compare_digest(sent, _form_token().encode()):
            abort(403)


@pages.get("/privacy")
def privacy() -> str:
    """Say what is shared, in the visitor's language."""
    language = request.accept_languages.best_match(["en", "de", "fr"]) or "en"
    return privacy_notice(language).to_html()


@pages.get("/consent")
def consent() -> str:
    """Ask for consent; neither answer is ticked in advance."""
    return render_template("consent.html")


@pages.post("/consent")
def record_consent() -> Response:
    """Record the answer, whichever it is."""
    registry: SQLiteRegistry = current_app.extensions["consent_registry"]
    mp: Mixpanel = current_app.extensions["mixpanel"]
    answer = request.form.get("analytics", "")
    said = {"source": "consent-form", "policy_version": PRIVACY_POLICY_VERSION}
    if answer == "grant":
        registry.grant(_visitor_id(), "analytics", **said)
    elif answer == "deny":
        had_agreed = any(record.status == "granted" for record in registry.history(_visitor_id()))
        can_erase = bool(current_app.config["MIXPANEL_OAUTH_TOKEN"])
        try:
            mp.withdraw(_visitor_id(), ["analytics"], erase=had_agreed and can_erase, **said)
        except PrivacyRequestError:
            # The denial is recorded; somebody at the support desk asks the vendor again.
            current_app.logger.warning("the vendor did not take a request to erase")
    else:
        abort(400)
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
