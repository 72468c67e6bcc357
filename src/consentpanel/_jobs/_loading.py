"""What the command line imports by name: a policy, a client, promises."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar

from consentpanel._jobs._usage import UsageError, usable
from consentpanel.client import AsyncMixpanel, Mixpanel

#: Names the settings of a Django project, as everywhere.
DJANGO_SETTINGS = "DJANGO_SETTINGS_MODULE"
_T = TypeVar("_T")
_MISSING = object()


def add_client(parser: argparse.ArgumentParser, client: object, text: str) -> None:
    """Declares the option ``--client``, or sets the client where it is given; whether one is named is seen at `load`."""
    if client is None:
        parser.add_argument("--client", metavar="MODULE:ATTRIBUTE", help=text)
    else:
        parser.set_defaults(client=client)


def for_client(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Gives a job the client that is named, for an `AsyncMixpanel` the one inside of it, while a loop answers for its registry.

    Args:
        run: The job; where no client is named it is left to it to say so.
    """

    @wraps(run)
    def run_for(arguments: argparse.Namespace) -> int:
        if arguments.client is None:
            return run(arguments)
        found: Any = load("--client", arguments.client, Mixpanel, AsyncMixpanel)
        if isinstance(found, Mixpanel):
            arguments.client = found
            return run(arguments)
        arguments.client = found._client  # noqa: SLF001 - shared inside the package
        code: int = asyncio.run(found._run_beside(partial(run, arguments)))  # noqa: SLF001 - the same
        return code

    return run_for


def load(option: str, reference: object, *kinds: type[_T]) -> _T:
    """Imports an object by its name.

    Args:
        option: The option that names it, for errors.
        reference: ``"module:attribute"``; modules of the current directory are found. A framework, which knows the client,
            gives the object itself.
        kinds: What it must be, one of them.

    Raises:
        UsageError: There is no such module or attribute, or it is something else.
    """
    if not isinstance(reference, str):
        return _checked(option, reference, type(reference).__name__, *kinds)
    module_name, colon, attribute = reference.partition(":")
    if not (colon and module_name and attribute):
        example = "shop:create_app" if option == "--app" else "shop.analytics:POLICY"
        raise UsageError(f"{option} must be MODULE:ATTRIBUTE, such as {example}, not {reference!r}")
    set_up_django(is_needed=False)
    found: object = _imported(option, module_name)
    for name in attribute.split("."):
        with usable(f"{option}: {reference}", Exception, SystemExit):
            found = getattr(found, name, _MISSING)
        if found is _MISSING:
            raise UsageError(f"{option}: module {module_name!r} has no {attribute!r}")
    return _checked(option, found, reference, *kinds)


def set_up_django(*, is_needed: bool) -> None:
    """Sets up the Django project that the environment names.

    Args:
        is_needed: Whether it is an error that there is no such project: the variable may be left from another one.

    Raises:
        UsageError: It cannot be set up.
    """
    name = os.environ.get(DJANGO_SETTINGS, "")
    _look_here()
    if not is_needed and not (_is_there(name.partition(".")[0]) and _is_there("django")):
        return
    with usable(f"{DJANGO_SETTINGS}={name}: the project cannot be set up", Exception, SystemExit):
        import django
        from django.apps import apps

        if not apps.ready:
            django.setup()


def _is_there(module: str) -> bool:
    return bool(module) and importlib.util.find_spec(module) is not None


def _look_here() -> None:
    if "" not in sys.path and os.getcwd() not in sys.path:  # noqa: PTH109 (sys.path holds text)
        sys.path.insert(0, os.getcwd())  # noqa: PTH109


def _checked(option: str, found: object, name: str, *kinds: type[_T]) -> _T:
    if not isinstance(found, kinds):
        if type(found).__name__ == "LocalProxy":  # Werkzeug's, which is nothing outside of an application's context
            raise UsageError(f"{option}: {name} belongs to an application: name that with --app MODULE:APPLICATION")
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise UsageError(f"{option}: {name} must be a {wanted}, not {type(found).__name__}")
    return found


def _imported(option: str, name: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(f"{option}: there is no module {error.name!r}") from None
        raise UsageError(f"{option}: module {name!r} needs {error.name!r}, which is not installed") from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"{option}: module {name!r} cannot be imported: {type(error).__name__}: {error}") from error
