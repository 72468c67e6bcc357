"""At home in Flask: an extension, the consent of a request, and commands (extra ``flask``)."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from consentpanel._consent.gpc import is_said
from consentpanel._jobs import audit, notice, privacy, prune, scan, spool
from consentpanel._jobs._job import Job, started
from consentpanel._log import note_failure
from consentpanel._visits import Visit, VisitOptions
from consentpanel._visits.setting import (
    Options,
    check_keys,
    client_of,
    consumer_of,
    language_of,
    options_of,
    visit_options_of,
)
from consentpanel.client import Mixpanel
from consentpanel.client._consent_calls import registry_of
from consentpanel.errors import ConfigurationError

try:
    from flask import Flask, current_app, has_request_context, request
    from flask.cli import AppGroup
    from werkzeug.local import LocalProxy
except ImportError as error:
    raise ConfigurationError(
        f"consentpanel.flask needs Flask: pip install 'consentpanel[flask]' ({error.name} cannot be imported)"
    ) from None

if TYPE_CHECKING:
    from flask import Response

_PREFIX = "CONSENTPANEL_"
_NAME = "consentpanel"


def _named(key: str) -> str:
    return f"{_PREFIX}{key}"


class RequestConsent(Visit):
    """The consent of whoever has sent a request."""


class _State:
    """What one application has: its client, and what holds for all requests."""

    def __init__(self, app: Flask, said: Options) -> None:
        self.said = said
        if app.secret_key is None:
            raise ConfigurationError("SECRET_KEY is missing: it signs the visitors' cookie")
        keys = (app.secret_key, *(app.config.get("SECRET_KEY_FALLBACKS") or ()))
        is_secure = bool(app.config["SESSION_COOKIE_SECURE"])
        self.visits: VisitOptions = visit_options_of(said, _named, keys=keys, is_secure=is_secure)
        self.client: Mixpanel = client_of(
            said, _named, _registry_of(app, said), consumer_of(said), context=app.app_context
        )

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


class ConsentPanel:
    """Gives an application its guarded client, and each request its consent.

    The configuration ``CONSENTPANEL_*`` says what the client is; what the constructor is given goes before it. A value that is a text is
    a dotted path, but for those that are texts by nature. A wrong configuration raises here, never in a request.

    The id of a visitor who has answered stands in a signed cookie, which is set with an answer and not before, and ends at log-in and
    log-out. ``Sec-GPC: 1`` is recorded as the denial of the purposes in ``CONSENTPANEL_GPC``, once, and not over a grant
    that was given later.

    Args:
        app: The application; None for a factory, which calls `init_app`.
        options: Values of the configuration, by their keys in lower case and without the prefix.

    Raises:
        ConfigurationError: The configuration cannot work.

    Example:
        >>> from flask import Flask
        >>> from consentpanel.flask import ConsentPanel, current_consent, mixpanel
        >>> from consentpanel.registry import MemoryRegistry
        >>> from consentpanel.testing import FakeTransport
        >>> vendor = FakeTransport()
        >>> app = Flask("shop")
        >>> app.secret_key = "not a secret"
        >>> panel = ConsentPanel(app, token="TOKEN", registry=MemoryRegistry(), consumer=vendor)
        >>> @app.post("/yes")
        ... def yes():
        ...     current_consent.answer(analytics=True)
        ...     return str(current_consent.track("Agreed").outcome)
        >>> app.test_client().post("/yes").text
        'sent'
    """

    def __init__(self, app: Flask | None = None, **options: Any) -> None:
        self._given = {key.upper(): value for key, value in options.items()}
        check_keys(self._given, _named)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set an application up; several may be.

        Args:
            app: The application, with its configuration.

        Raises:
            ConfigurationError: The configuration cannot work, or the application has one of these already.
        """
        if _NAME in app.extensions:
            raise ConfigurationError("the application has a ConsentPanel already")
        configured = app.config.get_namespace(_PREFIX, lowercase=False)
        app.extensions[_NAME] = _State(app, options_of({**configured, **self._given}, _named))
        app.before_request(_begin)
        app.after_request(_finish)
        app.cli.add_command(_commands())
        _hear_of_log_in(app)

    def create_tables(self, app: Flask) -> None:
        """Make the tables of the registry and of an outbox, where they keep theirs in a database and these are not there yet.

        Args:
            app: An application that was set up.

        Raises:
            ConfigurationError: `init_app` was not called for it.
            RegistryError: The database of the registry failed.
            MixpanelException: That of the outbox failed.
        """
        client = _state_of(app).client
        for each in (registry_of(client), *client._sealed.own_spools):  # noqa: SLF001 - shared inside the package
            create = getattr(each, "create_tables", None)
            if callable(create):
                create()


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
            f"{_named('REGISTRY')} is missing: who has consented; or give {_named('DATABASE')}, a URL or an engine of SQLAlchemy's, or"
            " initialise Flask-SQLAlchemy before"
        )
    from consentpanel.registry import SQLAlchemyRegistry

    try:
        return SQLAlchemyRegistry(
            database,
            required_policy_version=said.policy_version,
            max_age=said.max_age,
            strict_records=said.strict_records,
            objection_key=said.objection_key,
        )
    except ConfigurationError as error:
        problem = f"{_named('DATABASE')}: {error}"
    raise ConfigurationError(problem)


def _state() -> _State:
    return _state_of(current_app)


def _state_of(app: Flask) -> _State:
    found: _State | None = app.extensions.get(_NAME)
    if found is None:
        raise ConfigurationError("the application has no ConsentPanel: ConsentPanel(app), or init_app(app)")
    return found


def _consent() -> RequestConsent:
    if not has_request_context():
        raise RuntimeError(
            "current_consent is that of a request, and there is none: name the data subject to mixpanel.track"
        )
    state = _state()
    # Not in `g`: that is the application context's, which several requests have where one was pushed before them.
    found: RequestConsent | None = request.environ.get(_key(state))
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
        request.environ[_key(state)] = found
    return found


def _key(state: _State) -> str:
    # One request may go through several applications.
    return f"{_NAME}.{id(state)}"


#: The consent of the request that is answered: a `RequestConsent`.
current_consent = cast("RequestConsent", LocalProxy(_consent))
#: The client of the application.
mixpanel = cast("Mixpanel", LocalProxy(lambda: _state().client))


def _begin() -> None:
    _consent().heed()


def _finish(response: Response) -> Response:
    consent: RequestConsent | None = request.environ.get(_key(_state()))
    if consent is None:
        return response
    consent.has_begun = True
    cookie = consent.cookie
    place: dict[str, Any] = {"path": cookie.path, "domain": cookie.domain, "samesite": cookie.same_site}
    if (value := consent.cookie_to_set) is not None:
        response.set_cookie(cookie.name, value, max_age=cookie.max_age, secure=cookie.is_secure, httponly=True, **place)
    elif consent.is_cookie_over:
        response.delete_cookie(cookie.name, secure=cookie.is_secure, httponly=True, **place)
    if consent.was_asked:
        response.vary.update(("Cookie", "Sec-GPC"))
    client = _state().client
    if not client._sealed.sends_by_itself:  # noqa: SLF001 - shared inside the package
        response.call_on_close(lambda: _flush(client))
    return response


def _flush(client: Mixpanel) -> None:
    try:
        client.flush()
    except Exception as error:  # noqa: BLE001 - the response is on its way
        note_failure("the flush after a response", error)


def _hear_of_log_in(app: Flask) -> None:
    try:
        from flask_login import user_logged_in, user_logged_out
    except ImportError:
        return

    def logged_in(_: object, **__: object) -> None:
        _consent().log_in()

    def logged_out(_: object, **__: object) -> None:
        _consent().log_out()

    # Signals hold what hears of them weakly: the application keeps it.
    app.extensions[f"{_NAME}_receivers"] = (logged_in, logged_out)
    user_logged_in.connect(logged_in, app)
    user_logged_out.connect(logged_out, app)


_JOBS = (privacy.ERASE, privacy.EXPORT, prune.JOB, spool.DELIVER, audit.JOB, notice.JOB, scan.JOB)


def _commands() -> AppGroup:
    group = AppGroup("consent", help="Consent, what is sent with it, and what waits.")
    for job in _JOBS:
        group.command(
            job.name, help=job.summary, context_settings={"ignore_unknown_options": True}, add_help_option=False
        )(_taking_arguments(job))
    return group


def _taking_arguments(job: Job) -> Callable[..., None]:
    import click

    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        client = _state().client if job.is_for_client else None
        code = started(job, f"flask consent {job.name}", arguments, client)
        if code:
            sys.exit(code)

    return command


__all__ = ["ConsentPanel", "RequestConsent", "current_consent", "mixpanel"]
