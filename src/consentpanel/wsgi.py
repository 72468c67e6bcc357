"""The panel for WSGI, by itself or mounted beside any application (Bottle, Pyramid, CherryPy; gunicorn, mod_wsgi)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from consentpanel._consent.gpc import is_said
from consentpanel._exports import name_all
from consentpanel._log import note_failure
from consentpanel._visits import Visit
from consentpanel._visits.cookie import key_of
from consentpanel._visits.for_all import may_be_for_all
from consentpanel._visits.set_cookie import with_cookie
from consentpanel._visits.setting import Options, secrets_of, visit_options_of
from consentpanel.client import Mixpanel
from consentpanel.cmp import Answers
from consentpanel.errors import ConfigurationError
from consentpanel.panel import MAX_BODY, Panel, Request, Response
from consentpanel.panel._http import headers_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class PanelApp:
    """The panel, as an application of WSGI.

    The id of a visitor who has answered stands in a signed cookie, as everywhere in this library; give it the same `secret_key`,
    `subject` and `cookie` as the application uses that sends the messages.

    Args:
        client: The client.
        panel: The panel; one with a minimal notice of the client when left out.
        secret_key: The secret that signs the visitors' cookie, or several of which the first signs and each is good for reading. When left
            out it is made of the project's token, which is no secret: whoever knows that, and the id of a visitor, can sign that visitor's
            cookie, and reads and answers on a panel as that visitor. Where there is a panel, give one; a warning is logged without it.
        policy_version: The version of the published policy, which answers are to; when left out, the one that the registry asks for.
        subject: A function that is given the ``environ`` and returns the id of the account that is logged in, or None.
        cookie: ``NAME``, ``MAX_AGE`` (seconds), ``PATH``, ``DOMAIN``, ``SECURE`` and ``SAMESITE`` of the visitors' cookie.
        gpc: The purposes that ``Sec-GPC: 1`` denies; the three built-in ones when None, and none for ``()``.
        language: The language of the site around the panel, or a function that is given the ``environ`` and returns it; when left out, what
            the visitor's browser asks for.
        answers: Readers of the cookies of consent tools; None for none.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        >>> from werkzeug.middleware.dispatcher import DispatcherMiddleware
        >>> from consentpanel import Mixpanel
        >>> from consentpanel.panel import Panel
        >>> from consentpanel.registry import MemoryRegistry
        >>> from consentpanel.wsgi import PanelApp
        >>> def shop(environ, start_response):
        ...     start_response("200 OK", [])
        ...     return [b"tea"]
        >>> privacy = PanelApp(Mixpanel("TOKEN", registry=MemoryRegistry()), Panel(contact="privacy@shop.example"))
        >>> app = DispatcherMiddleware(shop, {"/privacy": privacy})
    """

    def __init__(
        self,
        client: Mixpanel,
        panel: Panel | None = None,
        *,
        secret_key: str | bytes | Iterable[str | bytes] | None = None,
        policy_version: str | None = None,
        subject: Callable[[WSGIEnvironment], Any] | None = None,
        cookie: Mapping[str, Any] | None = None,
        gpc: Iterable[str] | None = None,
        language: str | Callable[[WSGIEnvironment], str | None] | None = None,
        answers: Iterable[Callable[[str | bytes | None], Answers]] | None = None,
    ) -> None:
        if not isinstance(client, Mixpanel):
            raise ConfigurationError(f"client must be a Mixpanel, not {type(client).__name__}")
        if panel is not None and not isinstance(panel, Panel):
            raise ConfigurationError(f"panel must be a Panel, not {type(panel).__name__}")
        #: The panel.
        self.panel = panel or Panel()
        self._client = client
        said = Options(policy_version=policy_version, subject=subject, cookie=cookie, gpc=gpc, answers=answers)
        keys = secrets_of(secret_key) or (key_of(client._token),)  # noqa: SLF001 - shared inside the package
        self._visits = visit_options_of(said, str.lower, keys=keys, is_secure=False, is_of_token=secret_key is None)
        self._subject = subject or (lambda _: None)
        self._language: Callable[[WSGIEnvironment], str | None] = language if callable(language) else lambda _: language

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answers a request."""
        visit = self._visit(environ)
        if not (is_open := may_be_for_all(environ.get("PATH_INFO", ""))):
            visit.heed()
        found = self.panel.respond(self._request(environ, visit), visit)
        if is_open:
            visit.heed()
        visit.has_begun = True
        is_secure = environ.get("wsgi.url_scheme") == "https"
        start_response(_line(found), with_cookie(found.headers, visit, is_secure=is_secure))
        self._flush()
        return [found.body]

    def _visit(self, environ: WSGIEnvironment) -> Visit:
        return Visit(
            self._client,
            self._visits,
            cookies=environ.get("HTTP_COOKIE", ""),
            account=lambda: self._subject(environ),
            has_gpc=is_said([environ.get("HTTP_SEC_GPC", "")]),
            language=lambda: self._language(environ),
            may_begin=environ.get("HTTP_SEC_FETCH_SITE") != "cross-site",
        )

    def _request(self, environ: WSGIEnvironment, visit: Visit) -> Request:
        pairs = [
            (name.removeprefix("HTTP_").replace("_", "-"), value)
            for name, value in environ.items()
            if name.startswith("HTTP_") or name == "CONTENT_TYPE"
        ]
        length = _length(environ)
        return Request(
            method=environ.get("REQUEST_METHOD", "GET"),
            path=environ.get("PATH_INFO", ""),
            mount=quote(environ.get("SCRIPT_NAME", "").rstrip("/"), encoding="latin-1"),
            query=environ.get("QUERY_STRING", ""),
            headers=headers_of(pairs),
            body=environ["wsgi.input"].read(length) if 0 < length <= MAX_BODY else b"",
            length=length,
            address=environ.get("REMOTE_ADDR") or None,
            host=environ.get("HTTP_HOST") or f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}",
            scheme=environ.get("wsgi.url_scheme", ""),
            language=visit.language,
        )

    def _flush(self) -> None:
        if self._client._sealed.sends_by_itself:  # noqa: SLF001 - shared inside the package
            return
        try:
            self._client.flush()
        except Exception as error:  # noqa: BLE001 - the response is on its way
            note_failure("the flush after a response", error)


def _length(environ: WSGIEnvironment) -> int:
    # A body whose length is not told cannot be read by every server (PEP 3333).
    text = environ.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else MAX_BODY + 1


def _line(found: Response) -> str:
    return f"{found.status} {HTTPStatus(found.status).phrase}"


__all__ = ["PanelApp"]
name_all(globals())
