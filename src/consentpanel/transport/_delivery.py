"""What the buffers share: how a message is taken in, a batch handed over, and a failure understood."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import mixpanel
from typing_extensions import Self

from consentpanel._messages.decision import Reason
from consentpanel._mixpanel.hosts import API_HOSTS
from consentpanel.errors import ConfigurationError
from consentpanel.transport._http import DeliveryError, HttpConsumer, cause_in
from consentpanel.transport._ticket import ticket_of
from consentpanel.transport._waiting import Credentials, Waiting

ENDPOINTS = ("events", "people", "groups", "imports")
MAX_BATCH_MESSAGES = 2_000
VENDOR_HOST = API_HOSTS["US"]


def waiting_message(endpoint: object, json_message: object, api_key: Any, api_secret: Any) -> Waiting:
    """One message, as a buffer keeps it.

    Raises:
        MixpanelException: The endpoint is unknown, or the message is no text.
    """
    if not isinstance(endpoint, str) or endpoint not in ENDPOINTS:
        raise not_accepted(None, f"No such endpoint. Valid endpoints are {', '.join(ENDPOINTS)}")
    if not isinstance(json_message, str):
        raise not_accepted(endpoint, f"json_message must be a str, not {type(json_message).__name__}")
    credentials: Credentials = api_key if isinstance(api_key, tuple) else (api_key, api_secret)
    size = len(json_message) if json_message.isascii() else len(json_message.encode(errors="surrogatepass"))
    return Waiting(str.__str__(json_message), credentials, ticket_of(json_message), size)


class Sent(NamedTuple):
    """What came of a batch that was handed to a consumer."""

    #: What the consumer raised.
    failure: Exception | None = None
    #: Whether the vendor wants fewer messages a request (HTTP 413).
    must_split: bool = False
    #: Whether it need not be tried again: delivered, or refused for good.
    is_settled: bool = True
    #: The messages that the vendor refused: those that it named, or all.
    refused: Sequence[Waiting] = ()


def hand_over(consumer: Any, endpoint: str, batch: Sequence[Waiting]) -> Sent:
    """Sends a batch of equal credentials. It raises nothing itself, because its frames hold the batch."""
    body = f"[{','.join(message.json_message for message in batch)}]"
    credentials = batch[0].credentials
    try:
        if credentials == (None, None):
            consumer.send(endpoint, body)
        else:
            consumer.send(endpoint, body, credentials)
    except Exception as error:  # noqa: BLE001 - any consumer may stand here
        return _understood(error, batch)
    return Sent()


def _understood(failure: Exception, batch: Sequence[Waiting]) -> Sent:
    status = failure.status if isinstance(failure, DeliveryError) else None
    if status == 413 and len(batch) > 1:
        return Sent(failure, must_split=True, is_settled=False)
    if not isinstance(failure, DeliveryError) or status not in {400, 413}:
        return Sent(failure, is_settled=False)
    named = failure.refused
    return Sent(failure, refused=[each for at, each in enumerate(batch) if named is None or at in named])


def tell(batch: Sequence[Waiting], sent: Sent) -> None:
    """Tells the ticket of each message of a settled batch what became of it."""
    refused = set(map(id, sent.refused))
    for message in batch:
        if id(message) in refused:
            message.lose(Reason.REJECTED_BY_VENDOR)
        else:
            message.deliver()


def cause_of(failure: BaseException) -> str:
    """What failed, in names of types only: a text or an object inside an error may quote the batch."""
    return str(failure) if isinstance(failure, DeliveryError) else cause_in(failure)


def not_delivered(endpoint: str, cause: str, *, is_kept: bool = True) -> Exception:
    """A batch was not delivered."""
    fate = "is kept" if is_kept else "is not sent again"
    return not_accepted(endpoint, f"{endpoint}: a batch was not delivered and {fate} ({cause})")


def not_accepted(endpoint: str | None, text: str) -> Exception:
    """The vendor's exception, with the endpoint and without the batch."""
    error: Exception = mixpanel.MixpanelException(text)
    error.endpoint = endpoint  # type: ignore[attr-defined]
    return error


def lose(messages: Sequence[Waiting], reason: Reason) -> None:
    """Tells the ticket of each message that it will never be sent, and why."""
    for message in messages:
        message.lose(reason)


class Buffer:
    """What the buffers share: a consumer that sends the batches, and leaving by ``with``."""

    #: Tells a client that consent is asked for again at the flush.
    judges_again = True
    _consumer: Any

    def _open(self, buffer: type, given: Mapping[str, Any]) -> None:
        """Takes the consumer that was given, or makes one of the vendor's arguments.

        Args:
            buffer: The class that takes the arguments, and knows their defaults.
            given: The arguments by name.

        Raises:
            ConfigurationError: It cannot send, or an argument would have no effect.
        """
        arguments = {name: given[name] for name in _VENDOR_ARGUMENTS}
        consumer = given["consumer"]
        self._new_consumer = _http_consumer(arguments) if consumer is None else None
        if self._new_consumer is not None:
            self._consumer = self._own_consumer = self._new_consumer()
        else:
            self._consumer = _accepted_consumer(consumer, arguments, buffer)

    def _reopen(self) -> None:
        """Makes a consumer of its own anew: nobody may share the parent's open connections."""
        if self._new_consumer is not None and self._consumer is self._own_consumer:
            self._consumer = self._own_consumer = self._new_consumer()

    def close(self) -> None:
        """Flushes, and accepts no more."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_VENDOR_ARGUMENTS = (
    "events_url people_url import_url request_timeout groups_url api_host retry_limit retry_backoff_factor verify_cert "
    "credentials gzip_imports".split()
)


def _http_consumer(arguments: Mapping[str, Any]) -> Callable[[], HttpConsumer]:
    """Makes the consumer that sends, as often as it is called: after a fork nobody may share a connection.

    Raises:
        ConfigurationError: An argument needs a newer version of the vendor's client.
    """
    given = {name: value for name, value in arguments.items() if name != "credentials" or value is not None}
    if "credentials" in given and "credentials" not in inspect.signature(mixpanel.Consumer).parameters:
        raise ConfigurationError(f"credentials needs mixpanel 5.2 or newer, not {mixpanel.__version__}")
    return lambda: HttpConsumer(**given)


def _accepted_consumer(consumer: Any, arguments: Mapping[str, Any], buffer: type) -> Any:
    """The consumer that the user gave, when it can send and nothing beside it says how.

    Args:
        consumer: What was given.
        arguments: What was given beside it, by name.
        buffer: The class that takes these arguments, and knows their defaults.

    Raises:
        ConfigurationError: It cannot, or an argument would have no effect.
    """
    if not callable(getattr(consumer, "send", None)):
        raise ConfigurationError(f"consumer must have a method send(), which {type(consumer).__name__} has not")
    defaults = inspect.signature(buffer).parameters
    given = [name for name, value in arguments.items() if value != defaults[name].default]
    if given:
        raise ConfigurationError(f"{', '.join(given)}: set on the consumer that is given, not beside it")
    return consumer
