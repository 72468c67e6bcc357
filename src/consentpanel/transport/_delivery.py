"""What the buffers share: how a message is taken in, a batch handed over, and a failure understood."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mixpanel

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


def hand_over(consumer: Any, endpoint: str, batch: Sequence[Waiting]) -> Exception | None:
    """Sends a batch of equal credentials; what the consumer raised, or None.

    It raises nothing itself, because its frames hold the batch.
    """
    body = f"[{','.join(message.json_message for message in batch)}]"
    credentials = batch[0].credentials
    try:
        if credentials == (None, None):
            consumer.send(endpoint, body)
        else:
            consumer.send(endpoint, body, credentials)
    except Exception as error:  # noqa: BLE001 - any consumer may stand here
        return error
    return None


def is_too_large(failure: Exception) -> bool:
    """Whether the vendor wants fewer messages a request."""
    return isinstance(failure, DeliveryError) and failure.status == 413


def is_refused(failure: Exception) -> bool:
    """Whether the vendor will never take the batch as it is, so that sending it again is useless."""
    return isinstance(failure, DeliveryError) and failure.status == 400


def refused_of(failure: Exception, batch: Sequence[Waiting]) -> list[Waiting]:
    """The messages that the vendor refused: those that it named, or all."""
    refused = failure.refused if isinstance(failure, DeliveryError) else None
    if refused is None:
        return list(batch)
    return [message for position, message in enumerate(batch) if position in refused]


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


def whole_number(name: str, value: object, least: int, most: int | None) -> int:
    """The value when it is an int within its limits.

    Raises:
        ConfigurationError: It is not; the text names the argument.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigurationError(f"{name} must be an int, not {type(value).__name__}")
    if value < least or (most is not None and value > most):
        limits = f"at least {least}" if most is None else f"{least} to {most}"
        raise ConfigurationError(f"{name} must be {limits}, not {value}")
    return value


def seconds(name: str, value: object) -> float:
    """The value when it is a number of seconds above 0.

    Raises:
        ConfigurationError: It is not; the text names the argument.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 86_400:
        raise ConfigurationError(f"{name} must be a number of seconds above 0")
    return float(value)


def http_consumer(arguments: Mapping[str, Any]) -> Callable[[], HttpConsumer]:
    """Makes the consumer that sends, as often as it is called: after a fork nobody may share a connection.

    Raises:
        ConfigurationError: An argument needs a newer version of the vendor's client.
    """
    given = {name: value for name, value in arguments.items() if name != "credentials" or value is not None}
    if "credentials" in given and "credentials" not in inspect.signature(mixpanel.Consumer).parameters:
        raise ConfigurationError(f"credentials needs mixpanel 5.2 or newer, not {mixpanel.__version__}")
    return lambda: HttpConsumer(**given)


def accepted_consumer(consumer: Any, arguments: Mapping[str, Any], buffer: type) -> Any:
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
