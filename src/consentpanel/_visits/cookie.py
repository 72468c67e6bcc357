"""The cookie by which a visitor is known again who has answered, and has no account."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import Iterable
from datetime import datetime, timezone

import attrs

_VERSION = "1"
_PURPOSE = b"consentpanel.visitor.1:"
_FORMS = b"consentpanel.form.1:"
_ID = re.compile(r"visitor-[0-9a-f]{32}", re.ASCII)
#: A visitor, a time in seconds, or both, and the signature.
_FORM = re.compile(r"1\.(([0-9a-f]{32})?\.?([0-9a-f]{8})?)\.([A-Za-z0-9_-]{43})", re.ASCII)


@attrs.frozen
class VisitorCookie:
    """A signed cookie that holds a random id, and the time until which somebody else has used the browser, and nothing else; HttpOnly always.

    The signature is an HMAC-SHA-256 (RFC 2104), so that nobody can take the id of another visitor, or give one.

    Attributes:
        keys: The secrets: the first one signs, each of them is good for reading.
        name: Its name.
        max_age: Seconds for which a browser keeps it: half a year, as long as an answer is to be remembered (CNIL, guidelines on
            cookies, 17 September 2020).
        path: The path for which it is sent.
        domain: The domain for which it is sent; None for the host alone.
        is_secure: Whether it is sent by HTTPS alone.
        same_site: ``"Lax"``, ``"Strict"`` or ``"None"``.
        is_of_token: Whether the key is made of the project's token, which is no secret.
    """

    keys: tuple[bytes, ...] = attrs.field(repr=False)
    name: str = "consentpanel"
    max_age: int = 15_552_000
    path: str = "/"
    domain: str | None = None
    is_secure: bool = True
    same_site: str = "Lax"
    is_of_token: bool = False

    def read(self, value: str | None) -> tuple[str | None, datetime | None]:
        """Whose cookie it is, and until when somebody else has used the browser; None for what it does not say.

        One that nobody here has signed says nothing.
        """
        found = None if value is None else _FORM.fullmatch(value)
        if found is None:
            return None, None
        said, visitor, moment, signature = found.groups()
        # Each of them, so that the time tells nothing.
        if not sum(hmac.compare_digest(signature, _signature(key, said)) for key in self.keys):
            return None, None
        since = None if moment is None else datetime.fromtimestamp(int(moment, 16), timezone.utc)
        return None if visitor is None else f"visitor-{visitor}", since

    def value_in(self, header: str) -> str | None:
        """Its value in a ``Cookie`` header (RFC 6265, 4.2); of several the first that was signed here, or else the first."""
        pairs = (each.partition("=") for each in header.split(";"))
        values = [value.strip() for name, _, value in pairs if name.strip() == self.name]
        signed = (value for value in values if self.read(value) != (None, None))
        return next(signed, values[0] if values else None)

    def mark_of(self, subject_id: str | None) -> str:
        """What stands in a form for the person whom its page was made for, None for nobody: it tells no id, and nobody can make one."""
        return _mark(self.keys[0], subject_id)

    def is_mark_of(self, mark: str, subject_id: str | None) -> bool:
        """Whether a form names this person."""
        given = mark.encode("utf-8", "surrogatepass")
        return bool(sum(hmac.compare_digest(given, _mark(key, subject_id).encode()) for key in self.keys))

    def value_for(self, visitor_id: str | None, since: datetime | None = None) -> str:
        """The value that names a visitor, or says until when somebody else has used the browser; one of them, or both."""
        visitor = "" if visitor_id is None else visitor_id.removeprefix("visitor-")
        # Rounded up: what was given in that second is theirs.
        moment = "" if since is None else f"{int(since.timestamp()) + 1:08x}"
        said = ".".join(filter(None, (visitor, moment)))
        return f"{_VERSION}.{said}.{_signature(self.keys[0], said)}"


def cookies_in(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The header ``Cookie`` of a request by ASGI: HTTP/2 may take its pairs apart (RFC 9113, 8.2.3)."""
    return "; ".join(value.decode("latin-1") for name, value in headers if name.lower() == b"cookie" and value)


def key_of(token: str) -> bytes:
    """A key to sign with where an application gives none: made of the project's token, so that all processes have the same.

    Who knows that token can sign ids. Nobody else's are known, which are random, as long as no log and no vendor shows them.
    """
    return hmac.new(token.encode(), _PURPOSE, hashlib.sha256).digest()


def is_visitor(subject_id: str) -> bool:
    """Whether this is the id of a visitor without an account."""
    return _ID.fullmatch(subject_id) is not None


def new_visitor() -> str:
    """An id that nobody has: random, and made of nothing about the visitor."""
    return f"visitor-{uuid.uuid4().hex}"


def _mark(key: bytes, subject_id: str | None) -> str:
    named = b"" if subject_id is None else b":" + subject_id.encode("utf-8", "surrogatepass")
    made = hmac.new(key, _FORMS + named, hashlib.sha256).digest()[:16]
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode("ascii")


def _signature(key: bytes, visitor: str) -> str:
    made = hmac.new(key, _PURPOSE + visitor.encode("ascii"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode("ascii")
