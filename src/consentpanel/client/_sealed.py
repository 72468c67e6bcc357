"""The sealed transport: the only way from a client to a consumer leads through the gate."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from consentpanel._log import note_failure, warn_once
from consentpanel._messages.decision import Decision, Reason
from consentpanel._messages.message import ENDPOINTS, Captured, take_apart
from consentpanel._messages.shapes import DefaultOf
from consentpanel._messages.wire import Wire, parsed
from consentpanel.client._guard import Guard
from consentpanel.client._process import process
from consentpanel.errors import ConfigurationError
from consentpanel.transport._failures import stripped
from consentpanel.transport._http import DEEPEST, keep_to_its_host
from consentpanel.transport._ticket import JudgedText, Ticket

_OTHER_BUFFER = (
    "%s cannot ask for consent again when it is flushed: "
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
        default_of: Gives what the vendor's client writes for a structural name.

    Raises:
        ConfigurationError: The consumer has no ``send`` that takes an endpoint and a message.
    """

    def __init__(self, consumer: Any, guard: Guard, default_of: DefaultOf) -> None:
        if not callable(getattr(consumer, "send", None)):
            raise ConfigurationError(
                f"consumer must have a method send(endpoint, json_message); {type(consumer).__name__} has none"
            )
        self.__consumer = consumer
        self.__guard = guard
        self.__default_of = default_of
        self.__wire = Wire()
        self.__arguments = _arguments_of(consumer)
        self.sends_by_itself = bool(getattr(consumer, "sends_by_itself", False))
        """Whether nobody has to wait for a flush."""
        self.observes = hasattr(type(consumer), "observe")
        """Whether the consumer wants to know of decisions."""
        self.__keeps = bool(getattr(consumer, "judges_again", False))
        self.__is_other_buffer = hasattr(type(consumer), "flush") and not self.__keeps
        if self.__is_other_buffer:
            warn_once(_OTHER_BUFFER % _name_of(type(consumer)))
        keep_to_its_host(consumer)

    @property
    def keeps(self) -> bool:
        """Whether the consumer may keep a message for later, and tells its ticket what becomes of it."""
        return self.__keeps and process.outbox is None

    def deliver(self, endpoint: str, text: str, credentials: object, ticket: Ticket) -> None:
        """Hands a message that the gate let through to the consumer; raises what it raises, as `stripped` leaves it."""
        judged = JudgedText(text)
        judged.ticket = ticket
        outbox = process.outbox
        failure: Exception | None = None
        try:
            if outbox is not None:
                outbox.send(endpoint, judged)
            elif credentials is None or self.__arguments < 3:
                self.__consumer.send(endpoint, judged)
            else:
                self.__consumer.send(endpoint, judged, credentials)
        except Exception as error:  # noqa: BLE001 - any consumer may stand here
            # A buffer sends other messages with this one.
            failure = self.__stripped(error, None if outbox is None and self.__is_other_buffer else text)
        # Outside of the handler, so that the consumer's error is not the context of this one.
        if failure is not None:
            raise failure

    def __stripped(self, error: Exception, said: str | None) -> Exception:
        if self.keeps:
            # Our buffers' own, which hold nothing.
            return error
        note_failure("consumer", error)
        return stripped(error, said)

    def __call(self, method: Callable[..., object], *arguments: object, **keywords: object) -> object:
        try:
            return method(*arguments, **keywords)
        except Exception as error:  # noqa: BLE001 - any consumer may stand here
            failure = self.__stripped(error, None)
        raise failure

    def observe(self, decision: Decision) -> None:
        """Tells a consumer that wants to know (a fake transport) of a decision."""
        outbox = process.outbox
        if outbox is not None:
            outbox.observe(decision)
        elif self.observes:
            self.__consumer.observe(decision)

    def control(self, *names: str) -> None:
        """Calls the first of the methods that the consumer has, such as ``flush``; none when it has none of them."""
        if process.outbox is not None:
            return
        for name in names:
            method = getattr(self.__consumer, name, None)
            if callable(method):
                self.__call(method)
                return

    def purge(self, subject_id: object) -> int:
        """Discards what waits for a person; how many messages. 0 for a consumer that cannot."""
        method = getattr(self.__consumer, "purge", None)
        found = self.__call(method, subject_id) if callable(method) else 0
        return found if isinstance(found, int) else 0

    def send(
        self, endpoint: str, json_message: str | bytes, api_key: object = None, api_secret: object = None
    ) -> Decision:
        """Judges what came by a way that the gate did not see, and sends what may be sent.

        Args:
            endpoint: ``"events"``, ``"people"``, ``"groups"`` or ``"imports"``.
            json_message: One record, as JSON. Anything else than an object is refused, and a key that stands twice.
            api_key: As the vendor's consumers take it; may be a tuple of key and secret.
            api_secret: As the vendor's consumers take it.

        Returns:
            The decision.

        Raises:
            mixpanel.MixpanelException: As the consumer raises it.
            MessageError: Something failed and the client was built with ``on_error="raise"``.
        """
        if not isinstance(endpoint, str) or endpoint not in ENDPOINTS:
            return self.__guard.refuse(endpoint, Reason.UNKNOWN_ENDPOINT, self)
        record = parsed(json_message) if isinstance(json_message, (str, bytes, bytearray)) else None
        if record is None:
            return self.__guard.refuse(endpoint, Reason.INVALID_MESSAGE, self)
        credentials = api_key
        if api_secret is not None and not isinstance(api_key, tuple):
            credentials = (api_key, api_secret)
        captured = Captured(endpoint, record, self.__wire, default_of=self.__default_of)
        return self.__guard.submit(take_apart(captured), credentials, self)

    @property
    def addresses(self) -> frozenset[str]:
        """Where the consumer sends to, or the one that a buffer sends with; empty when that is not known."""
        consumer = self.__consumer
        for _ in range(DEEPEST):
            endpoints = getattr(consumer, "_endpoints", None)
            if isinstance(endpoints, Mapping):
                return frozenset(map(str, endpoints.values()))
            consumer = getattr(consumer, "_consumer", None)
        return frozenset()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "__consumer" in name:
            raise AttributeError(name)
        value = getattr(self.__consumer, name)
        if name in _CONTROLS and callable(value):
            return _Control(value, self.__call)
        if not (callable(value) or hasattr(value, "send")):
            return value
        raise AttributeError(f"{name} is sealed: what is sent goes through the consent gate")

    def __repr__(self) -> str:
        return f"<SealedTransport to {type(self.__consumer).__name__}>"


class _Control:
    """A method of the consumer that may be called, and fails as the seal has it; a mock can be asked what it got."""

    def __init__(self, method: Any, call: Callable[..., object]) -> None:
        self.__method = method
        self.__call = call

    def __call__(self, *arguments: Any, **keywords: Any) -> object:
        return self.__call(self.__method, *arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__method, name)


def _name_of(kind: type) -> str:
    module = kind.__module__.partition(".")[0]
    return kind.__name__ if module in {"builtins", "__main__"} else f"{module}.{kind.__name__}"


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
