"""The client of an application, for the commands that work for one: `--app`, or the Django project of the environment."""

from __future__ import annotations

import argparse
import functools
import inspect
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeAlias, cast

from consentpanel._jobs._loading import DJANGO_SETTINGS, load, set_up_django
from consentpanel._jobs._usage import UsageError, usable
from consentpanel.client import AsyncMixpanel, Mixpanel
from consentpanel.errors import ConsentPanelError

Client: TypeAlias = "Mixpanel | AsyncMixpanel"

_HELP = (
    "a Flask, Django or ASGI application that has a client, or a function without arguments that makes one, such as"
    " shop:create_app"
)


def add_app(parser: argparse.ArgumentParser) -> None:
    """Declares the option ``--app``."""
    parser.add_argument("--app", metavar="MODULE:APPLICATION", help=_HELP)


@contextmanager
def client_given(arguments: argparse.Namespace) -> Generator[None]:
    """Gives a command the client of an application, and that application's context, unless it is named otherwise.

    Args:
        arguments: The parsed options; those of a command that works for no client are left as they are.

    Raises:
        UsageError: Nobody says which client, or two say it, or the application has none.
    """
    said: dict[str, Any] = vars(arguments)
    named = [f"--{name}" for name in ("client", "policy", "app") if said.get(name) is not None]
    if "app" not in said or (named and said["app"] is None):
        yield
        return
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)}: name one of them")
    if not named and not os.environ.get(DJANGO_SETTINGS):
        raise UsageError(
            "which client? Name it with --client MODULE:ATTRIBUTE, or its application with --app MODULE:APPLICATION, or"
            f" set {DJANGO_SETTINGS}"
        )
    app = _application(arguments.app) if named else None
    with _context_of(app):
        arguments.client = _client_of(app, arguments.app) if named else _of_project()
        yield


def _application(reference: str) -> object:
    found = load("--app", reference, object)
    if not (inspect.isroutine(found) or isinstance(found, functools.partial)):
        return found
    try:
        inspect.signature(found).bind()
    except TypeError:
        raise UsageError(
            f"--app: {reference} needs arguments; name an application, or a function without any that makes one"
        ) from None
    with usable(f"--app: {reference} made no application", Exception):
        return found()


def _client_of(app: object, reference: str) -> Client:
    for finder in FINDERS:
        client = finder(app)
        if client is not None:
            return client
    raise UsageError(
        f"--app: {reference} is a {type(app).__name__} without a client: give it one with ConsentPanel(app) of"
        " consentpanel.flask, the setting CONSENTPANEL of Django or ConsentMiddleware(app, client=...) of consentpanel.asgi; or name"
        " the client itself with --client MODULE:ATTRIBUTE"
    )


def _of_flask(app: Any) -> Client | None:
    if not _is_made_by("flask", "Flask", app):
        return None
    state = app.extensions.get("consentpanel")
    return None if state is None else state.client


def _of_django(app: object) -> Client | None:
    # What `get_wsgi_application` and `get_asgi_application` give; with them the project was set up.
    return _of_project() if _is_made_by("django.core.handlers.base", "BaseHandler", app) else None


def _of_asgi(app: Any) -> Client | None:
    # The middleware itself; Quart and others that wrap `asgi_app`; Starlette and FastAPI, which build it later.
    several: list[Any] = [app, getattr(app, "asgi_app", None)]
    found = [each.client for each in several if _is_made_by("consentpanel.asgi", "ConsentMiddleware", each)]
    middleware = getattr(sys.modules.get("consentpanel.asgi"), "ConsentMiddleware", None)
    added = [
        each
        for each in getattr(app, "user_middleware", ())
        if middleware is not None and _is_kind(each.cls, middleware)
    ]
    found += [next(iter(each.args), each.kwargs.get("client")) for each in added]
    return cast("Client | None", next((each for each in found if each is not None), None))


#: Each takes an application, and gives its client; None for what is none of its kind, or has no client.
FINDERS: tuple[Callable[[object], Client | None], ...] = (_of_flask, _of_django, _of_asgi)


def _is_kind(found: object, kind: type) -> bool:
    return isinstance(found, type) and issubclass(found, kind)


def _of_project() -> Client:
    set_up_django(is_needed=True)
    with usable("CONSENTPANEL", ConsentPanelError):
        from consentpanel.django import conf

        return conf.current()


def _context_of(app: Any) -> Any:
    return app.app_context() if _is_made_by("flask", "Flask", app) else nullcontext()


def _is_made_by(module: str, name: str, app: object) -> bool:
    # Whatever made it is imported by now: no framework is imported to ask.
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(app, kind)
