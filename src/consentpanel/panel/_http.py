"""A request to the panel and the panel's response, whatever framework they come and go by."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import attrs

#: The most bytes of a body that are read: a form of a few radio buttons takes hundreds.
MAX_BODY = 65_536
#: The headers of a request that are looked at; an adapter need give no others.
HEADERS = ("accept-language", "content-type", "if-none-match", "origin", "referer", "sec-fetch-site")
_MAX_FIELDS = 200
#: Nothing but the panel's own files, and no frame around it (https://www.w3.org/TR/CSP3/).
POLICY = (
    "default-src 'none'; style-src 'self'{style}; script-src 'self'; connect-src 'self'; img-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_VARY = ("Vary", "Cookie, Accept-Language, Sec-GPC")
#: What is about a person, and is kept by nobody on the way.
PERSONAL = (("Cache-Control", "no-store"), _VARY)


def _mount(path: str) -> str:
    # Two slashes at the beginning would be the name of another host.
    return f"/{path.strip('/')}" if path.strip("/") else ""


@attrs.frozen(kw_only=True)
class Request:
    """A request, as far as the panel looks at it.

    Attributes:
        method: ``"GET"``, ``"HEAD"``, ``"POST"``, or any other, which is refused.
        path: The path below the mount: ``""`` or ``"/"`` is the page.
        mount: The path under which the panel stands, without a slash at its end: ``"/privacy"``.
        query: The query string, without the question mark.
        headers: Those of `HEADERS`, by their names in lower case.
        body: At most one byte more than `MAX_BODY` of it.
        length: So many bytes were announced; of a body that is too long none need be read.
        address: Of the visitor, as far as the server knows it; it limits the rate of those who have no id, and is kept nowhere.
        host: Host and port by which the site is reached.
        scheme: ``"https"`` or ``"http"``, as the server sees it, which may stand behind a proxy that speaks the other one.
        language: The language of the site around the panel, where it has one; None leaves it to ``Accept-Language``.
        is_checked: Whether the framework has checked a token of its own against forgery.
    """

    method: str = "GET"
    path: str = ""
    mount: str = attrs.field(default="", converter=_mount)
    query: str = attrs.field(default="", repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    length: int = 0
    address: str | None = attrs.field(default=None, repr=False)
    host: str = ""
    scheme: str = ""
    language: str | None = None
    is_checked: bool = False

    @property
    def name(self) -> str:
        """The path without slashes around it."""
        return self.path.strip("/")

    @property
    def is_json(self) -> bool:
        """Whether programs ask, which are answered by JSON."""
        return self.name.partition("/")[0] == "api"

    def header(self, name: str) -> str:
        """A header; empty where there is none."""
        return self.headers.get(name, "")

    @property
    def content_type(self) -> str:
        """The type of the body, without its parameters."""
        return self.header("content-type").partition(";")[0].strip().lower()

    def asked(self, name: str) -> str | None:
        """A field of the query; None where there is none, or where it is malformed."""
        return next((value for key, value in fields_of(self.query) or () if key == name), None)


@attrs.frozen
class Response:
    """What is answered.

    Attributes:
        status: The status code.
        headers: Names and values.
        body: The body.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = attrs.field(default=b"", repr=False)

    def header(self, name: str) -> str | None:
        """A header; None where there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class RefusedError(Exception):
    """A request that is refused, and how: neither text nor code hold anything of it."""

    def __init__(self, status: int, code: str, text: str, *headers: tuple[str, str]) -> None:
        super().__init__(code)
        self.status, self.code, self.text, self.headers = status, code, text, headers

    def response(self, request: Request) -> Response:
        """The same for whoever has asked."""
        if request.is_json:
            return as_json(self.status, {"error": self.code, "text": self.text}, *self.headers)
        return answer(self.status, "text/plain; charset=utf-8", f"{self.text}\n", *PERSONAL, *self.headers)


def fields_of(text: str) -> list[tuple[str, str]] | None:
    """The fields of a query or a form; None where it is none (https://url.spec.whatwg.org/#concept-urlencoded-parser)."""
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:
        return None


def answer(status: int, kind: str, body: str | bytes, *headers: tuple[str, str], style: str = "") -> Response:
    """A response with the headers that each has.

    Args:
        status: The status code.
        kind: The type of the body.
        body: The body.
        headers: More headers.
        style: What else may be a style, as the policy for contents names it.
    """
    encoded = body.encode() if isinstance(body, str) else body
    usual = (
        ("Content-Type", kind),
        ("Content-Security-Policy", POLICY.format(style=f" {style}" if style else "")),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "same-origin"),
    )
    return Response(status, (*usual, *headers), encoded)


def as_html(status: int, page: str, *headers: tuple[str, str]) -> Response:
    """A page about a person."""
    return answer(status, "text/html; charset=utf-8", page, *PERSONAL, *headers)


def as_json(status: int, said: Mapping[str, Any], *headers: tuple[str, str]) -> Response:
    """An object about a person."""
    text = json.dumps(said, ensure_ascii=False, indent=2) + "\n"
    return answer(status, "application/json; charset=utf-8", text, *PERSONAL, *headers)


def see_other(place: str) -> Response:
    """Sends a browser on, so that a reload sends nothing twice (RFC 9110, 15.4.4)."""
    return answer(303, "text/plain; charset=utf-8", "", *PERSONAL, ("Location", place))


def headers_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers that are looked at, of all that there are; several of one name are joined."""
    found: dict[str, str] = {}
    for name, value in pairs:
        lower = name.lower()
        if lower in HEADERS:
            found[lower] = f"{found[lower]}, {value}" if lower in found else value
    return found
