"""The desk: where the vendor's code writes a record, and ours picks it up before it is text."""

from __future__ import annotations

from typing import Any

from consentpanel._messages.message import NO_PRESENT


class _AsIs:
    """The serializer of a desk: leaves a record as it is, since it is judged before it is written."""

    def __init__(self, **_: object) -> None:
        """Takes and ignores what `json` hands to an encoder."""

    def encode(self, record: object) -> object:
        return record


class Desk:
    """Stands in for the client while the vendor's code builds a record, and takes the record from it."""

    __slots__ = ("_client", "_token", "credentials", "endpoint", "present", "record")

    _serializer = _AsIs

    def __init__(self, client: Any) -> None:
        self._client = client
        self._token = client._token
        self.present: object = NO_PRESENT
        self.endpoint = ""
        self.record: object = None
        self.credentials: object = None

    @property
    def _consumer(self) -> Desk:
        return self

    def _now(self) -> object:
        self.present = self._client._now()
        return self.present

    def send(self, endpoint: str, record: object, credentials: object = None) -> None:
        """Takes what the vendor's client would hand to its consumer."""
        self.endpoint, self.record, self.credentials = endpoint, record, credentials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)
