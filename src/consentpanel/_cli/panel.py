"""`panel`: the panel on this machine, as four people see it, for whoever has to approve it."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from html import escape
from ipaddress import ip_address
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.util import shift_path_info

from consentpanel._jobs._job import Job
from consentpanel._jobs._loading import load
from consentpanel._jobs._saying import say, say_json
from consentpanel._jobs._usage import UsageError, usable
from consentpanel._visits import Visit, VisitOptions, VisitorCookie
from consentpanel.client import Mixpanel
from consentpanel.errors import ConfigurationError
from consentpanel.panel import Panel, Request
from consentpanel.policy import FieldPolicy
from consentpanel.privacy_requests import PrivacyRequests
from consentpanel.registry import MemoryRegistry
from consentpanel.testing._privacy_api import FakePrivacyAPI
from consentpanel.wsgi import PanelApp

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

DESCRIPTION = """Serve the panel on this machine alone, as people see it who have said nothing, yes, or no, or whose browser says no.

What is answered there is forgotten at the end, and the vendor that is asked to delete or copy is one on this machine. Stop it with Ctrl-C."""
EPILOG = "exit codes: 0 stopped by Ctrl-C; 2 wrong usage."
_TOKEN = "panel-project-token"  # noqa: S105 (no project has it)
#: The people, and what they have said; None for nothing.
_PEOPLE: Mapping[str, tuple[str, bool | None]] = {
    "nobody": ("Somebody who has not answered yet", None),
    "yes": ("Somebody who has said yes to everything", True),
    "no": ("Somebody who has said no to everything", False),
    "gpc": ("Somebody whose browser says no by Global Privacy Control", None),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `panel`."""
    parser.add_argument("--policy", required=True, metavar="MODULE:ATTRIBUTE", help="the FieldPolicy")
    parser.add_argument(
        "--notice", metavar="MODULE:FUNCTION", help="makes the notice in a language; a minimal one when left out"
    )
    parser.add_argument("--json", action="store_true", help="tell the address as JSON, for other programs")
    parser.add_argument("--port", type=int, default=8000, help="where to listen (8000 when left out)")


def run(arguments: argparse.Namespace) -> int:
    """Serves the panel until it is stopped.

    Returns:
        0.

    Raises:
        UsageError: Something named cannot be used.
    """
    policy = load("--policy", arguments.policy, FieldPolicy)
    notice: Any = None if arguments.notice is None else load("--notice", arguments.notice, object)
    if not 0 <= arguments.port <= 65535:
        raise UsageError("--port must be a number from 0 to 65535")
    with ExitStack() as stack:
        vendor = stack.enter_context(FakePrivacyAPI(_TOKEN))
        try:
            app = application(policy, notice, vendor.url)
        except ConfigurationError as error:
            raise UsageError(str(error)) from None
        with usable(f"--port {arguments.port}", OSError, OverflowError):
            server = make_server("127.0.0.1", arguments.port, app, _Server, _Handler)
        stack.enter_context(server)
        url = f"http://127.0.0.1:{server.server_port}/"
        if arguments.json:
            say_json({"url": url}, indent=None)
        else:
            say(f"The panel is at {url} until you press Ctrl-C.")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0


def application(policy: FieldPolicy, notice: Any, privacy_host: str) -> WSGIApplication:
    """The panel as each of the people sees it, below a page with links.

    Args:
        policy: The policy.
        notice: The notice, or a function that makes one; None for a minimal one.
        privacy_host: Where the vendor is asked to delete and to copy.

    Raises:
        ConfigurationError: An argument cannot work.
    """
    privacy = PrivacyRequests(_TOKEN, "OAUTH", host=privacy_host, policy=policy)
    client = Mixpanel(_TOKEN, _Nowhere(), registry=MemoryRegistry(), policy=policy, privacy=privacy)
    panel = Panel(notice) if notice is not None else Panel(contact="privacy@example.com")
    apps = {
        name: PanelApp(client, panel, secret_key=secrets.token_bytes(32), subject=_called(name)) for name in _PEOPLE
    }
    for name, (_, answer) in _PEOPLE.items():
        if answer is not None:
            _answer(client, panel, name, answer=answer)

    def answered(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not _is_this_machine(environ.get("HTTP_HOST", "")):
            start_response("400 Bad Request", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"This page is shown on this machine alone, by the address that was told at the start.\n"]
        name = environ.get("PATH_INFO", "").strip("/").partition("/")[0]
        if name not in apps:
            start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
            return [_index().encode()]
        shift_path_info(environ)
        if name == "gpc":
            environ["HTTP_SEC_GPC"] = "1"
        return apps[name](environ, start_response)

    return answered


def _is_this_machine(host: str) -> bool:
    """Whether a ``Host`` names this machine: another name that leads here would let a page of that name read and answer."""
    with suppress(ValueError):
        name = "" if "@" in host else urlsplit(f"//{host.strip()}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    return False


def _called(name: str) -> Any:
    return lambda _: name


def _answer(client: Mixpanel, panel: Panel, name: str, *, answer: bool) -> None:
    options = VisitOptions(cookie=VisitorCookie(keys=(b"none is ever set",)))
    visit = Visit(client, options, cookies="", account=lambda: name, has_gpc=False, language=lambda: None)
    view = panel.view(Request(), visit)
    visit.answer(
        {each.purpose: answer for each in view.purposes},
        source="panel",
        language=view.language,
        policy_version=view.notice_version,
        evidence={"shown": view.shown, "notice": view.notice_version},
    )


def _index() -> str:
    links = "".join(f'<li><a href="{name}/">{escape(text)}</a>' for name, (text, _) in _PEOPLE.items())
    return f'<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>The panel</title><ul>{links}</ul>'


class _Nowhere:
    def send(self, endpoint: str, json_message: str) -> None:
        """Sends nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Logs nothing: an address may say who somebody is."""


JOB = Job(
    name="panel",
    summary="show the panel on this machine, as people with different answers see it",
    description=DESCRIPTION,
    exit_codes=EPILOG,
    add_arguments=add_arguments,
    run=run,
)
