"""While a message is handed over, no body follows a redirect and no request takes credentials from a ``.netrc``.

Whatever session of `requests` a consumer sends by, and wherever it keeps it. What the application asks by the same session goes on
as it did.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

from requests import sessions

from consentpanel.transport._http import DeliveryError


class _Sending(threading.local):
    """Whether this thread hands a message over."""

    depth = 0


_SENDING = _Sending()


class _KeptToItsHost:
    """Has what this thread sends meanwhile stay where it was sent to. A class, because each message passes it."""

    __slots__ = ()

    def __enter__(self) -> None:
        _SENDING.depth += 1

    def __exit__(self, *_: object) -> None:
        _SENDING.depth -= 1


KEPT_TO_ITS_HOST = _KeptToItsHost()


def _watch(find_target: Any, find_credentials: Any) -> None:
    """Puts the two looks of `requests` behind ours, which answer as they do unless a message is handed over."""

    @functools.wraps(find_target)
    def get_redirect_target(self: Any, response: Any) -> Any:
        target = find_target(self, response)
        if target and _SENDING.depth and response.request.body:
            response.close()
            status = response.status_code
            raise DeliveryError(f"HTTP {status}: a redirect, which is not followed", status)
        return target

    @functools.wraps(find_credentials)
    def get_netrc_auth(*arguments: Any, **keywords: Any) -> Any:
        return None if _SENDING.depth else find_credentials(*arguments, **keywords)

    _SESSIONS.SessionRedirectMixin.get_redirect_target = get_redirect_target
    _SESSIONS.get_netrc_auth = get_netrc_auth


#: Of no type, because it says of neither that it may be replaced.
_SESSIONS: Any = sessions
_watch(_SESSIONS.SessionRedirectMixin.get_redirect_target, _SESSIONS.get_netrc_auth)
