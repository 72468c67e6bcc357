"""The HTTP session of our consumers: a limit for a whole request, and the vendor's form written fast."""

from __future__ import annotations

import functools
import http.client
import io
import os
import socket
import string
import time
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote_plus

from requests import Session
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_FORM = "application/x-www-form-urlencoded"


#: What `requests` looks for in the environment.
_ENVIRONMENT = tuple(
    name
    for each in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "requests_ca_bundle",
        "curl_ca_bundle",
        "request_method",
    )
    for name in (each, each.upper())
)
#: Seconds.
_REMEMBERED = 10


class BatchSession(Session):
    """As the session of another consumer, with its adapters' retries.

    Args:
        other: The session whose place it takes.
    """

    def __init__(self, other: Session) -> None:
        super().__init__()
        #: For what the environment was asked, and what it said.
        self._environment: tuple[Any, Any] = (None, None)
        for prefix, adapter in other.adapters.items():
            retry = getattr(adapter, "max_retries", None) or Retry(0, read=False)
            # What the vendor asks to wait for is left to whoever sends, and so is what it answered at last.
            self.mount(prefix, _TimedAdapter(retry.new(respect_retry_after_header=False, raise_on_status=False)))

    def hurry(self) -> None:
        """Tries nothing again from now on."""
        for adapter in self.adapters.values():
            if isinstance(adapter, _TimedAdapter):
                adapter.max_retries = Retry(0, read=False)

    def merge_environment_settings(self, url: Any, proxies: Any, *arguments: Any, **keywords: Any) -> Any:
        """As `requests` does, which reads the whole environment for each request, while what it looks for there stays as it is."""
        names = tuple(map(os.environ.get, _ENVIRONMENT))
        # Systems that keep proxies elsewhere too are asked again after a while.
        asked = (url, str(proxies), arguments, sorted(keywords.items()), names, time.monotonic() // _REMEMBERED)
        known, settings = self._environment
        if known != asked:
            settings = super().merge_environment_settings(url, proxies, *arguments, **keywords)
            self._environment = asked, settings
        return {**settings, "proxies": settings["proxies"].copy()}

    def request(self, method: Any, url: Any, *arguments: Any, **keywords: Any) -> Any:
        """Writes a form by itself, in the bytes that `requests` would."""
        data = keywords.get("data")
        if isinstance(data, dict):
            keywords["data"] = form(data)
            keywords["headers"] = {"Content-Type": _FORM, **(keywords.get("headers") or {})}
        return super().request(method, url, *arguments, **keywords)


def form(fields: Mapping[str, object]) -> str:
    """The fields as `urllib.parse.urlencode` writes them, which looks at each byte by itself.

    Example:
        >>> form({"data": '[{"a b":1}]', "ip": 0})
        'data=%5B%7B%22a+b%22%3A1%7D%5D&ip=0'
    """
    return "&".join(f"{_quoted(name)}={_quoted(str(value))}" for name, value in fields.items())


def _quoted(text: str) -> str:
    if not text.isascii():
        return quote_plus(text, errors="surrogatepass")
    for character, written in _ESCAPES:
        if character in text:
            text = text.replace(character, written)
    return text


_UNTOUCHED = frozenset(string.ascii_letters + string.digits + "_.-~%+ ")
# In this order, so that nothing is escaped twice.
_ESCAPES = (
    ("%", "%25"),
    ("+", "%2B"),
    (" ", "+"),
    *((chr(code), f"%{code:02X}") for code in range(128) if chr(code) not in _UNTOUCHED),
)


class _Timed(io.RawIOBase):
    """What comes from a socket until a moment.

    Args:
        connection: The socket.
        until: The moment, of `time.monotonic`.
    """

    def __init__(self, connection: Any, until: float) -> None:
        super().__init__()
        # Keeps the socket open until the answer is read.
        self._raw = connection.makefile("rb", buffering=0)
        self._connection = connection
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Any:
        left = self._until - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")  # noqa: UP041 - another class in Python 3.9's urllib3
        # Of the socket one read alone is limited, however little it brings.
        self._connection.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, until: float, connection: Any, *arguments: Any, **keywords: Any) -> None:
        super().__init__(cast("Any", _Socket(connection, until)), *arguments, **keywords)


class _Socket:
    """A socket as `http.client` asks for it: to read from."""

    def __init__(self, connection: Any, until: float) -> None:
        self._connection, self._until = connection, until

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_Timed(self._connection, self._until))


class _TimedConnection:
    """Limits a request as a whole: a server that answers a byte at a time would hold a thread for good."""

    timeout: Any
    sock: Any
    response_class: Any

    def request(self, *arguments: Any, **keywords: Any) -> Any:
        """As of `http.client`."""
        limit = self.timeout
        self.response_class = http.client.HTTPResponse
        if isinstance(limit, (int, float)):
            self.response_class = functools.partial(_Answer, time.monotonic() + limit)
            if self.sock is not None:
                self.sock.settimeout(limit)
        return super().request(*arguments, **keywords)  # type: ignore[misc]


def _timed(pool: type[Any]) -> type[Any]:
    connection = type("TimedConnection", (_TimedConnection, pool.ConnectionCls), {})
    return type("TimedPool", (pool,), {"ConnectionCls": connection})


_POOLS = {"http": _timed(HTTPConnectionPool), "https": _timed(HTTPSConnectionPool)}


class _TimedAdapter(HTTPAdapter):
    def __init__(self, retry: Retry) -> None:
        super().__init__(max_retries=retry)

    def init_poolmanager(self, *arguments: Any, **keywords: Any) -> None:
        super().init_poolmanager(*arguments, **keywords)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *arguments: Any, **keywords: Any) -> Any:
        manager: Any = super().proxy_manager_for(*arguments, **keywords)
        manager.pool_classes_by_scheme = _POOLS
        return manager
