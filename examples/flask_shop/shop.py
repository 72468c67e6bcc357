"""A tiny shop: a consent form, and an order that is reported only for a visitor who said yes."""

from __future__ import annotations

import hmac
import os
import secrets
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, abort, current_app, redirect, render_template, request, session, url_for
from mixpanel import MixpanelException
from privacy import POLICY, PRODUCTS, privacy_notice

from consentpanel import ConsentStatus, PrivacyRequestError, PrivacyRequests
from consentpanel.flask import ConsentPanel, current_consent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from werkzeug.wrappers import Response

PRICES = dict(zip(PRODUCTS, (4.5, 7.2), strict=True))
MAX_QUANTITY = 20

# Whoever agreed to another notice is asked again.
PRIVACY_POLICY_VERSION = privacy_notice().version

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
        CONSENTPANEL_TOKEN=os.environ.get("MIXPANEL_TOKEN", "your-project-token"),
        CONSENTPANEL_POLICY=POLICY,
        CONSENTPANEL_POLICY_VERSION=PRIVACY_POLICY_VERSION,
        CONSENTPANEL_DATABASE=os.environ.get("SHOP_DATABASE", "sqlite:///shop.db"),
        CONSENTPANEL_API_HOST=os.environ.get("MIXPANEL_API_HOST", "api-eu.mixpanel.com"),
        MIXPANEL_OAUTH_TOKEN=os.environ.get("MIXPANEL_OAUTH_TOKEN", ""),
        MIXPANEL_PRIVACY_HOST=os.environ.get("MIXPANEL_PRIVACY_HOST") or None,
    )
    app.config.update(config or {})
    panel = ConsentPanel(app, privacy=_privacy_requests(app.config))
    panel.create_tables(app)
    app.register_blueprint(pages)
    app.jinja_env.globals["form_token"] = _form_token
    return app


def _privacy_requests(config: Mapping[str, Any]) -> PrivacyRequests | None:
    if not config["MIXPANEL_OAUTH_TOKEN"]:
        return None
    host = config["MIXPANEL_PRIVACY_HOST"]
    return PrivacyRequests(config["CONSENTPANEL_TOKEN"], config["MIXPANEL_OAUTH_TOKEN"], region="EU", host=host)


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
    answer = request.form.get("analytics", "")
    if answer not in {"grant", "deny"}:
        abort(400)
    had_agreed = current_consent.status("analytics") is ConsentStatus.GRANTED
    current_consent.answer(analytics=answer == "grant", source="consent-form")
    if answer == "deny" and had_agreed and current_app.config["MIXPANEL_OAUTH_TOKEN"]:
        try:
            current_consent.withdraw(source="consent-form", erase=True)
        except PrivacyRequestError:
            # The denial is recorded; somebody at the support desk asks the vendor again.
            current_app.logger.warning("the vendor did not take a request to erase")
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
    reported = {
        **{name: value for name, value in form.items() if name != "form_token"},
        "quantity": quantity,
        "total": PRICES[product] * quantity,
        "currency": "EUR",
    }
    try:
        current_consent.track("Order placed", reported)
    except MixpanelException:
        # The exception's text may quote the message, so it stays out of the log.
        current_app.logger.warning("an order could not be reported to analytics")
    return redirect(url_for("pages.thanks"))


@pages.get("/thanks")
def thanks() -> str:
    """Say thank you; the order itself is not shown."""
    return render_template("thanks.html")


def _form_token() -> str:
    token: str = session.setdefault("form_token", secrets.token_urlsafe())
    return token


def _quantity(text: str) -> int:
    quantity = int(text)
    return quantity if 1 <= quantity <= MAX_QUANTITY else 0
