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

from consentpanel._consent.records import now

_VERSION = "1"
_PURPOSE = b"consentpanel.visitor.1:"
_ID = re.compile(r"visitor-[0-9a-f]{32}", re.ASCII)
_END = re.compile(r"1\.([0-9a-f]{8})\.([A-Za-z0-9_-]{43})", re.ASCII)
_FORM = re.compile(r"1\.([0-9a-f]{32})\.([A-Za-z0-9_-]{43})", re.ASCII)


@attrs.frozen
class VisitorCookie:
    """A signed cookie that holds a random id and nothing else, or the time at which the last one ended; HttpOnly always.

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
    """

    keys: tuple[bytes, ...] = attrs.field(repr=False)
    name: str = "consentpanel"
    max_age: int = 15_552_000
    path: str = "/"
    domain: str | None = None
    is_secure: bool = True
    same_site: str = "Lax"

    def visitor_in(self, value: str | None) -> str | None:
        """Whose cookie it is; None for none, and for one that nobody here has signed."""
        found = None if value is None else _FORM.fullmatch(value)
        if found is None:
            return None
        return f"visitor-{found[1]}" if self._is_signed(*found.groups()) else None

    def _is_signed(self, said: str, signature: str) -> bool:
        return sum(hmac.compare_digest(signature, _signature(key, said)) for key in self.keys) > 0

    def value_in(self, header: str) -> str | None:
        """Its value in a ``Cookie`` header (RFC 6265, 4.2); of several the first that was signed here, or else the first."""
        pairs = (each.partition("=") for each in header.split(";"))
        values = [value.strip() for name, _, value in pairs if name.strip() == self.name]
        signed = (value for value in values if self.visitor_in(value) or self.ended_in(value))
        return next(signed, values[0] if values else None)

    def value_of_end(self) -> str:
        """The value that names nobody, and says that whoever used the browser before now is somebody else."""
        moment = f"{int(now().timestamp()):x}"
        return f"{_VERSION}.{moment}.{_signature(self.keys[0], moment)}"

    def ended_in(self, value: str | None) -> datetime | None:
        """When the browser became somebody else's; None where it does not say, or nobody here has signed it."""
        found = None if value is None else _END.fullmatch(value)
        if found is None or not self._is_signed(*found.groups()):
            return None
        return datetime.fromtimestamp(int(found[1], 16), timezone.utc)

    def value_for(self, visitor_id: str) -> str:
        """The value that names a visitor."""
        visitor = visitor_id.removeprefix("visitor-")
        return f"{_VERSION}.{visitor}.{_signature(self.keys[0], visitor)}"


def cookies_in(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The header ``Cookie`` of a request by ASGI: HTTP/2 may take its pairs apart (RFC 9113, 8.2.3)."""
    return "; ".join(value.decode("latin-1") for name, value in headers if name.lower() == b"cookie" and value)


def key_of(token: str) -> bytes:
    """A key to sign with where an application gives none: made of the project's token, so that all processes have the same.

    Who knows that token can sign ids, and still knows nobody else's, which are random.
    """
    return hmac.new(token.encode(), _PURPOSE, hashlib.sha256).digest()


def is_visitor(subject_id: str) -> bool:
    """Whether this is the id of a visitor without an account."""
    return _ID.fullmatch(subject_id) is not None


def new_visitor() -> str:
    """An id that nobody has: random, and made of nothing about the visitor."""
    return f"visitor-{uuid.uuid4().hex}"


def _signature(key: bytes, visitor: str) -> str:
    made = hmac.new(key, _PURPOSE + visitor.encode("ascii"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode("ascii")
