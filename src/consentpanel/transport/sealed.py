"""The sealed transport: the only way from a client to a consumer leads through the gate (contract rule 1.4)."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import mixpanel

from consentpanel._config import process
from consentpanel._decision import Decision, Reason
from consentpanel._guard import Guard, Pass
from consentpanel._message import ENDPOINTS, take_apart
from consentpanel._wire import Wire
from consentpanel.errors import ConfigurationError

_VENDOR_BUFFER = (
    "mixpanel.BufferedConsumer cannot ask for consent again when it is flushed: "
    "use consentpanel.BufferedConsumer, or what was buffered is sent even after a withdrawal"
)
_CONTROLS = frozenset({"flush", "close", "purge", "shutdown"})
_MOST_ARGUMENTS = 4


class SealedTransport:
    """Wraps a consumer. What the gate judged goes through; anything else is parsed and judged here, or refused.

    A vendor method that consentpanel does not know, or code that calls ``client._consumer.send(...)`` by hand, ends in
    `send` here. Attributes of the consumer that hold data can be read, and ``flush``, ``close``, ``purge`` and
    ``shutdown`` called; nothing that could send can be reached.

    Args:
        consumer: Any object with a vendor-like ``send``.
        guard: The guard of the client.

    Raises:
        ConfigurationError: The consumer has no ``send`` that takes an endpoint and a message.
    """

    def __init__(self, consumer: Any, guard: Guard) -> None:
        if not callable(getattr(consumer, "send", None)):
            raise ConfigurationError(
                f"consumer must have a method send(endpoint, json_message); {type(consumer).__name__} has none"
            )
        self.__consumer = consumer
        self.__guard = guard
        self.__wire = Wire()
        self.__arguments = _arguments_of(consumer)
        self.__is_guarded = hasattr(type(consumer), "send_guarded")
        self.__observes = hasattr(type(consumer), "observe")
        if isinstance(consumer, mixpanel.BufferedConsumer) and not hasattr(type(consumer), "send_guarded"):
            process.warn_once(_VENDOR_BUFFER)

    @property
    def wants_tickets(self) -> bool:
        """Whether the consumer is a buffer of ours, which asks for consent again at flush (contract rule 2.11)."""
        return self.__is_guarded

    def deliver(self, endpoint: str, text: str, credentials: object, ticket: Pass | None) -> None:
        """Hands a message that the gate let through to the consumer; raises what the consumer raises."""
        consumer = self.__consumer
        outbox = process.outbox
        if outbox is not None:
            outbox.send(endpoint, text)
        elif self.__is_guarded:
            consumer.send_guarded(endpoint, text, credentials, ticket)
        elif credentials is None or self.__arguments < 3:
            consumer.send(endpoint, text)
        else:
            consumer.send(endpoint, text, credentials)

    def observe(self, decision: Decision) -> None:
        """Tells a consumer that wants to know (a fake transport) of a decision."""
        outbox = process.outbox
        if outbox is not None:
            outbox.observe(decision)
        elif self.__observes:
            self.__consumer.observe(decision)

    def flush_now(self) -> None:
        """Empties the consumer's buffer, if it has one (contract rule 1.6)."""
        if process.outbox is None and hasattr(type(self.__consumer), "flush"):
            self.__consumer.flush()

    def send(
        self, endpoint: str, json_message: str | bytes, api_key: object = None, api_secret: object = None
    ) -> Decision | list[Decision]:
        """Judges what came by a way that the gate did not see, and sends what may be sent.

        Args:
            endpoint: ``"events"``, ``"people"``, ``"groups"`` or ``"imports"``.
            json_message: One record, or a list of records, as JSON.
            api_key: As the vendor's consumers take it; may be a tuple of key and secret.
            api_secret: As the vendor's consumers take it.

        Returns:
            The decision; for a list of records, a list of them.

        Raises:
            mixpanel.MixpanelException: As the consumer raises it.
            MessageError: Something failed and the client was built with ``on_error="raise"``.
        """
        if not isinstance(endpoint, str) or endpoint not in ENDPOINTS:
            return self.__guard.refuse(endpoint, Reason.UNKNOWN_ENDPOINT, self)
        records = _parsed(json_message)
        if records is None:
            return self.__guard.refuse(endpoint, Reason.INVALID_MESSAGE, self)
        credentials = api_key
        if api_secret is not None and not isinstance(api_key, tuple):
            credentials = (api_key, api_secret)
        if isinstance(records, list):
            return [self.__judged(endpoint, record, credentials) for record in records]
        return self.__judged(endpoint, records, credentials)

    def __judged(self, endpoint: str, record: object, credentials: object) -> Decision:
        return self.__guard.submit(take_apart(endpoint, record, self.__wire), credentials, self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "__consumer" in name:
            raise AttributeError(name)
        value = getattr(self.__consumer, name)
        if name in _CONTROLS or not (callable(value) or hasattr(value, "send")):
            return value
        raise AttributeError(f"{name} is sealed: what is sent goes through the consent gate")

    def __repr__(self) -> str:
        return f"<SealedTransport to {type(self.__consumer).__name__}>"


def _parsed(message: object) -> Any:
    if not isinstance(message, (str, bytes, bytearray)):
        return None
    try:
        records = json.loads(message)
    except (ValueError, RecursionError):
        return None
    return records if isinstance(records, (dict, list)) else None


def _arguments_of(consumer: Any) -> int:
    """How many positional arguments the consumer's ``send`` takes; consumers in the wild take two, three or four."""
    send: Callable[..., object] = consumer.send
    try:
        parameters = inspect.signature(send).parameters.values()
    except (TypeError, ValueError):
        return _MOST_ARGUMENTS
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return _MOST_ARGUMENTS
    positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    count = sum(parameter.kind in positional for parameter in parameters)
    if count < 2:
        raise ConfigurationError("consumer.send must take an endpoint and a message")
    return count
