"""No test reaches the vendor: requests to its hosts are stopped below every client library.

The guard stands at two places of the standard library: where a host name is looked up, and where bytes are written
to a TLS connection (which may go through a proxy, or have been open before). Every HTTP library passes there, and no
mock does: a request that `responses`, `respx` or the like answers is not a real one, and is none of the guard's business.
"""

from __future__ import annotations

import functools
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from consentpanel._mixpanel.hosts import DOMAIN


class VendorRequestError(AssertionError):
    """A test made a real request to the vendor. The text names the host and nothing else of the request."""

    def __init__(self, host: str) -> None:
        super().__init__(f"a test must not send a real request to {host}")
        self.host = host

    def __reduce__(self) -> tuple[type[VendorRequestError], tuple[str]]:
        return (type(self), (self.host,))


class Watch:
    """What one running test tried to reach.

    Args:
        thread: The thread that the test runs in.
        is_allowed: Whether the test may reach the vendor.
    """

    def __init__(self, thread: int, *, is_allowed: bool) -> None:
        self.thread = thread
        self.is_allowed = is_allowed
        self.hosts: list[str] = []

    def take(self) -> list[str]:
        """The hosts since the last question, each once."""
        hosts, self.hosts = self.hosts, []
        return sorted(set(hosts))

    def refusal(self) -> str | None:
        """What a developer reads when the test reached for the vendor since the last question; None when it did not."""
        hosts = self.take()
        if not hosts:
            return None
        return (
            f"this test sent a real request to {', '.join(hosts)}, which was stopped. "
            "Use the outbox, a FakeTransport or a mock; or let the test reach the vendor: "
            "@pytest.mark.consentpanel_network, or consentpanel_network = True on a TestCase."
        )


class _Guard:
    """Who watches, in one process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._watches: list[Watch] = []
        self._is_installed = False
        self._is_permanent = False
        #: What was asked for while no test ran.
        self.between_tests = Watch(0, is_allowed=False)

    def install(self) -> None:
        with self._lock:
            if self._is_installed:
                return
            _wrap(socket, "getaddrinfo", lambda arguments: arguments[0] if arguments else None)
            # By a proxy, which looks the name up itself: told here, and stopped before anything is sent.
            _wrap(
                http.client.HTTPConnection,
                "set_tunnel",
                lambda arguments: arguments[1] if arguments[1:] else None,
                stops=False,
            )
            _wrap(ssl.SSLSocket, "send", lambda arguments: arguments[0].server_hostname)
            _wrap(ssl.SSLObject, "write", lambda arguments: arguments[0].server_hostname)
            self._is_installed = True

    def stay(self) -> None:
        """Stop requests to the vendor from now to the end of this process, between tests and at exit as well."""
        self.install()
        self._is_permanent = True

    def open(self, *, is_allowed: bool) -> Watch:
        """Begin to watch the test that runs in this thread.

        Args:
            is_allowed: Whether it may reach the vendor; so may a watch inside one that may.
        """
        self.install()
        thread = threading.get_ident()
        with self._lock:
            is_inside_allowed = any(watch.is_allowed for watch in self._watches if watch.thread == thread)
            watch = Watch(thread, is_allowed=is_allowed or is_inside_allowed)
            self._watches.append(watch)
        return watch

    def close(self, watch: Watch) -> None:
        """End a watch."""
        with self._lock:
            self._watches.remove(watch)

    def check(self, host: object, *, stops: bool) -> None:
        """Note a request to the vendor that no test may make.

        Raises:
            VendorRequestError: There is one, and it is to be stopped.
        """
        name = vendor_host(host)
        if name is not None and not self._allows(name) and stops:
            raise VendorRequestError(name)

    def _allows(self, name: str) -> bool:
        thread = threading.get_ident()
        with self._lock:
            innermost = {watch.thread: watch for watch in self._watches}
            # A thread that no test runs in was started by some test; which one, nobody can tell.
            watches = [innermost[thread]] if thread in innermost else list(innermost.values())
            if not watches:
                if self._is_permanent:
                    self.between_tests.hosts.append(name)
                return not self._is_permanent
            refusing = [watch for watch in watches if not watch.is_allowed]
            for watch in refusing:
                watch.hosts.append(name)
            return not refusing


def vendor_host(host: object) -> str | None:
    """The vendor's host that a name means, in its plain spelling; None for any other.

    Example:
        >>> vendor_host("API-EU.Mixpanel.com."), vendor_host("notmixpanel.com")
        ('api-eu.mixpanel.com', None)
    """
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("ascii", "replace")
    if not isinstance(host, str):
        return None
    name = host.rstrip(".").lower()
    return name if name == DOMAIN or name.endswith("." + DOMAIN) else None


def _wrap(owner: Any, name: str, host_of: Callable[[tuple[Any, ...]], object], *, stops: bool = True) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(original)
    def guarded(*arguments: Any, **keywords: Any) -> Any:
        GUARD.check(keywords["host"] if "host" in keywords else host_of(arguments), stops=stops)
        return original(*arguments, **keywords)

    setattr(owner, name, guarded)


GUARD = _Guard()


@contextmanager
def watching(*, is_allowed: bool = False) -> Generator[Watch]:
    """Watch for the length of a block."""
    watch = GUARD.open(is_allowed=is_allowed)
    try:
        yield watch
    finally:
        GUARD.close(watch)
