"""What one application of Flask's has, and the consent of the request that is answered."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any, cast

import attrs
from flask import Flask, current_app, has_request_context, request
from werkzeug.local import LocalProxy

from consentpanel._consent.gpc import is_said
from consentpanel._visits import Visit, VisitOptions
from consentpanel._visits.setting import Options, client_of, consumer_of, language_of, visit_options_of
from consentpanel.client import Mixpanel
from consentpanel.errors import ConfigurationError
from consentpanel.panel import Panel
from consentpanel.panel._configured import mount_of, panel_of

PREFIX = "CONSENTPANEL_"
NAME = "consentpanel"


def named(key: str) -> str:
    return f"{PREFIX}{key}"


class RequestConsent(Visit):
    """The consent of whoever has sent a request."""


class State:
    """What one application has: its client, and what holds for all requests."""

    def __init__(self, app: Flask, said: Options) -> None:
        self.said = said
        if app.secret_key is None:
            raise ConfigurationError("SECRET_KEY is missing: it signs the visitors' cookie")
        keys = (app.secret_key, *(app.config.get("SECRET_KEY_FALLBACKS") or ()))
        is_secure = bool(app.config["SESSION_COOKIE_SECURE"])
        self.visits: VisitOptions = visit_options_of(said, named, keys=keys, is_secure=is_secure)
        self.client: Mixpanel = client_of(
            said, named, _registry_of(app, said), consumer_of(said), context=app.app_context
        )
        is_mounted = any(each is not None for each in (said.notice, said.panel, said.panel_url))
        #: The panel; None where the configuration says nothing of one.
        self.panel: Panel | None = panel_of(said, named) if is_mounted else None
        self.mount = mount_of(said, named)
        if (panel := self.panel) is not None:
            shown = partial(panel.version, self.client, self.mount)
            self.visits = attrs.evolve(self.visits, shown_version=shown)

    def language(self) -> str | None:
        """The language of the texts that people see; None where nobody says."""
        return language_of(self.said)

    def account(self) -> Any:
        """The data subject of the account that is logged in; None for nobody."""
        if self.said.subject is not None:
            return self.said.subject()
        if not hasattr(current_app, "login_manager"):
            return None
        from flask_login import current_user

        return current_user.get_id() if current_user.is_authenticated else None


def _registry_of(app: Flask, said: Options) -> Any:
    found = said.registry
    if found is not None:
        return found() if inspect.isclass(found) else found
    database: Any = said.database
    if database is None and "sqlalchemy" in app.extensions:
        # Flask-SQLAlchemy's.
        with app.app_context():
            database = app.extensions["sqlalchemy"].engine
    if database is None:
        raise ConfigurationError(
            f"{named('REGISTRY')} is missing: who has consented; or give {named('DATABASE')}, a URL or an engine of SQLAlchemy's, or"
            " initialise Flask-SQLAlchemy before"
        )
    from consentpanel.registry import SQLAlchemyRegistry

    try:
        return SQLAlchemyRegistry(
            database,
            required_policy_version=said.policy_version,
            max_age=said.max_age,
            strict_records=said.is_strict,
            objection_key=said.objection_key,
        )
    except ConfigurationError as error:
        problem = f"{named('DATABASE')}: {error}"
    raise ConfigurationError(problem)


def state_now() -> State:
    return state_of(current_app)


def state_of(app: Flask) -> State:
    found: State | None = app.extensions.get(NAME)
    if found is None:
        raise ConfigurationError("the application has no ConsentPanel: ConsentPanel(app), or init_app(app)")
    return found


def consent_now() -> RequestConsent:
    if not has_request_context():
        raise RuntimeError(
            "current_consent is that of a request, and there is none: name the data subject to mixpanel.track"
        )
    state = state_now()
    # Not in `g`: that is the application context's, which several requests have where one was pushed before them.
    found: RequestConsent | None = request.environ.get(key_in_environ(state))
    if found is None:
        found = RequestConsent(
            state.client,
            state.visits,
            cookies=request.environ.get("HTTP_COOKIE", ""),
            account=state.account,
            has_gpc=is_said(request.headers.getlist("Sec-GPC")),
            language=state.language,
            may_begin=request.headers.get("Sec-Fetch-Site") != "cross-site",
        )
        request.environ[key_in_environ(state)] = found
    return found


def key_in_environ(state: State) -> str:
    # One request may go through several applications.
    return f"{NAME}.{id(state)}"


#: The consent of the request that is answered: a `RequestConsent`.
current_consent = cast("RequestConsent", LocalProxy(consent_now))
#: The client of the application.
mixpanel = cast("Mixpanel", LocalProxy(lambda: state_now().client))
