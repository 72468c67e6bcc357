"""The vendor's HTTP consumer, which also tells with which status a request failed."""

from __future__ import annotations

import gzip
import threading
from typing import Any

import mixpanel


class DeliveryError(mixpanel.MixpanelException):  # type: ignore[misc]
    """A request that failed, and what the vendor answered. Its text quotes nothing of either.

    Attributes:
        status: The HTTP status; None when there was no answer.
        retry_after: Seconds that the vendor asks to wait; None when it does not say.
        refused: The positions in the batch that the vendor refused, when it took the others; None otherwise.
    """

    def __init__(
        self, status: int | None, retry_after: float | None = None, refused: frozenset[int] | None = None
    ) -> None:
        super().__init__("no answer" if status is None else f"HTTP {status}")
        self.status = status
        self.retry_after = retry_after
        self.refused = refused


class HttpConsumer(mixpanel.Consumer):  # type: ignore[misc]
    """Sends in the vendor's own form; what fails raises a `DeliveryError`.

    Args:
        gzip_imports: Whether imports are sent as compressed JSON with ``strict=1``, to which the vendor answers for
            each record. Needs a service account or an API secret; without either they go in the vendor's form.
        arguments: Those of `mixpanel.Consumer`.
    """

    def __init__(self, *, gzip_imports: bool = False, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._gzip_imports = gzip_imports
        self._last = threading.local()
        self._session.hooks["response"].append(self._note)

    def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None:
        self._last.answer = None
        failure: DeliveryError | None = None
        try:
            if not (self._gzip_imports and endpoint == "imports" and self._send_compressed(json_message, api_key)):
                super().send(endpoint, json_message, api_key, api_secret)
        except DeliveryError:
            raise
        except Exception as error:  # noqa: BLE001 - its text and its cause may quote the batch
            answer = self._last.answer
            if isinstance(error, mixpanel.MixpanelException) and answer is not None:
                failure = _failure_of(answer)
            else:
                failure = DeliveryError(None)
            if failure.status in {None, 200}:
                failure.args = (cause_in(error),)
        if failure is not None:
            raise failure

    def _note(self, response: Any, *_: object, **__: object) -> None:
        self._last.answer = response

    def _send_compressed(self, json_message: str, api_key: Any) -> bool:
        parameters: dict[str, Any] = {"strict": 1}
        credentials = getattr(self, "_credentials", None)
        secret = api_key[1] if isinstance(api_key, tuple) and len(api_key) == 2 else None
        if credentials:
            auth = credentials.to_http_basic_auth()
            parameters["project_id"] = credentials.project_id
        elif secret:
            auth = (secret, "")
        else:
            return False
        response = self._session.post(
            self._endpoints["imports"],
            params=parameters,
            data=gzip.compress(json_message.encode("utf-8", "surrogatepass"), compresslevel=6),
            headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
            auth=auth,
            timeout=self._request_timeout,
            verify=self._verify_cert,
        )
        if response.status_code != 200:
            raise _failure_of(response)
        return True


def _failure_of(response: Any) -> DeliveryError:
    return DeliveryError(response.status_code, _seconds(response.headers.get("Retry-After")), _refused(response))


def _refused(response: Any) -> frozenset[int] | None:
    """The positions that a strict import refused; it took the others."""
    if response.status_code != 400:
        return None
    try:
        records = response.json()["failed_records"]
        return frozenset(int(record["index"]) for record in records)
    except (ValueError, KeyError, TypeError):
        return None


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds <= 3600 else None


def cause_in(error: BaseException) -> str:
    """What failed, in names of types only: a text or an object inside an error may quote the batch."""
    names = [type(error).__name__]
    inner: object = error.args[0] if error.args else None
    while isinstance(inner, BaseException) and len(names) < 4:
        names.append(type(inner).__name__)
        inner = inner.args[0] if inner.args else None
    if names == ["MixpanelException"] and isinstance(inner, str) and inner.startswith("Mixpanel error:"):
        return "the vendor refused the batch"
    return ": ".join(names)
