"""The consumer that sends the batches: the user's, or the vendor's over HTTP, which also tells how a request failed."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from concurrent.futures import Future
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from requests import Session
from typing_extensions import Self

from consentpanel._checks import host, seconds, whole_number
from consentpanel._log import cause_of
from consentpanel._mixpanel import vendor
from consentpanel.errors import ConfigurationError
from consentpanel.registry._protocol import is_coroutine_function, is_late
from consentpanel.transport._session import BatchSession

_T = TypeVar("_T")

#: How many consumers may stand one inside the other: a buffer, and what it sends with.
DEEPEST = 3
#: Seconds that a request may take at the end of the process, where the user has set no limit.
_LAST_TIMEOUT = 10


class DeliveryError(vendor.MixpanelException):  # type: ignore[misc]
    """A batch that was not delivered, and what the vendor answered. Its text quotes nothing of either.

    Attributes:
        status: The HTTP status; None when there was no answer.
        retry_after: Seconds that the vendor asks to wait; None when it does not say.
        refused: The positions in the batch that the vendor refused, when it took the others; None otherwise.
    """

    def __init__(
        self,
        text: str,
        status: int | None = None,
        retry_after: float | None = None,
        refused: frozenset[int] | None = None,
        taken: int | None = None,
    ) -> None:
        super().__init__(text)
        self._taken = taken
        self.status = status
        self.retry_after = retry_after
        self.refused = refused

    def names_some_of(self, count: int) -> bool:
        """Whether what it names as refused is a part of a batch of so many, and fits the number that was taken."""
        if not self.refused or max(self.refused) >= count or min(self.refused) < 0:
            return False
        return self._taken is None or self._taken == count - len(self.refused)

    def refuses(self, position: int) -> bool:
        """Whether it concerns the message at this position of the batch."""
        return self.refused is None or position in self.refused


class HttpConsumer(vendor.Consumer):  # type: ignore[misc]
    """Sends in the vendor's own form; what fails raises a `DeliveryError`.

    Args:
        gzip_imports: Whether imports are sent as compressed JSON with ``strict=1``, to which the vendor answers for
            each record. Needs a service account or a secret; without either they go in the vendor's form.
        project_secret: The project's secret, for imports that come without one; None for none.
        arguments: Those of `mixpanel.Consumer`.
    """

    def __init__(self, *, gzip_imports: bool = False, project_secret: str | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._arguments = arguments
        self._gzip_imports = gzip_imports
        self._secret = project_secret
        # The vendor's `send` raises without the status. Several threads may send at a time.
        self._last = threading.local()
        vendors: Session = vars(self)["_session"]
        self._session = BatchSession(vendors)
        self._session.hooks["response"].append(self._note)

    def hurry(self) -> None:
        """Waits for no answer longer than a while from now on, and tries nothing again, because the process ends."""
        # Existing code puts another session on it.
        if isinstance(self._session, BatchSession):
            self._session.hurry()
        if self._arguments.get("request_timeout") is None:
            self._request_timeout = _LAST_TIMEOUT

    def anew(self) -> Self:
        """Another one of the same arguments: after a fork nobody may share a connection."""
        return type(self)(gzip_imports=self._gzip_imports, project_secret=self._secret, **self._arguments)

    @property
    def needs_token(self) -> bool:
        """Whether an event can be imported with the token of its project alone."""
        return self._secret is None and not getattr(self, "_credentials", None)

    def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None:
        self._last.answer = None
        if endpoint == "imports" and api_secret is None and (api_key is None or api_key == (None, None)):
            api_secret = self._secret
        failure: DeliveryError | None = None
        try:
            if not (
                self._gzip_imports
                and endpoint == "imports"
                and self._send_compressed(json_message, api_key, api_secret)
            ):
                super().send(endpoint, json_message, api_key, api_secret)
        except DeliveryError:
            raise
        except Exception as error:  # noqa: BLE001 - its text and its cause may quote the batch
            answer = self._last.answer
            failure = understood(error) if answer is None else _failure_of(answer, error)
        # Outside of the handler, so that the vendor's error is not the context of this one.
        if failure is not None:
            raise failure

    def _note(self, response: Any, *_: object, **__: object) -> None:
        self._last.answer = response

    def _send_compressed(self, json_message: str, api_key: Any, api_secret: Any) -> bool:
        # https://developer.mixpanel.com/reference/import-events
        parameters: dict[str, Any] = {"strict": 1}
        credentials = getattr(self, "_credentials", None)
        secret = api_key[1] if isinstance(api_key, tuple) and len(api_key) == 2 else api_secret
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
            # 6 is what zlib takes by itself; the 9 of `gzip` costs time for little.
            data=gzip.compress(json_message.encode("utf-8", "surrogatepass"), compresslevel=6),
            headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
            auth=auth,
            timeout=self._request_timeout,
            verify=self._verify_cert,
        )
        if response.status_code != 200:
            raise _failure_of(response)
        with suppress(ValueError, AttributeError):
            if response.json().get("status") in (0, "0"):
                raise DeliveryError("the vendor refused the batch", _BAD_REQUEST)
        return True


def senders_in(consumer: object) -> list[object]:
    """A consumer and those inside, under whatever name it holds them."""
    found = [consumer]
    level = [consumer]
    for _ in range(DEEPEST - 1):
        held = [
            value
            for each in level
            for value in (*getattr(each, "__dict__", {}).values(), getattr(each, "_consumer", None))
            # A mock has one only when it is asked.
            if hasattr(type(value), "send")
        ]
        level = [each for each in held if not any(each is known for known in found)]
        found += level
    return found


_BAD_REQUEST = 400
#: What a wrong token or account is answered with.
UNAUTHORIZED = frozenset({401, 403})
_LONGEST_ASKED = 3600


def _failure_of(response: Any, error: Exception | None = None) -> DeliveryError:
    status = response.status_code
    # A refusal in the body of an answer with status 200 has no text but the vendor's, which may quote the batch.
    text = f"HTTP {status}" if error is None or status != 200 else _cause_in(error)
    if error is not None and status == 200 and _is_refusal(error):
        status = _BAD_REQUEST
    refused, taken = _refused(response)
    return DeliveryError(text, status, _seconds(response.headers.get("Retry-After")), refused, taken)


def _refused(response: Any) -> tuple[frozenset[int] | None, int | None]:
    """The positions that a strict import refused, and how many others it took; None for what it does not say."""
    if response.status_code != 400:
        return None, None
    try:
        said = response.json()
        taken = said.get("num_records_imported")
        refused = frozenset(int(record["index"]) for record in said["failed_records"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, None
    return refused, taken if isinstance(taken, int) else None


def _seconds(text: str | None) -> float | None:
    # Retry-After may be a date as well (RFC 9110, 10.2.3). More than an hour is left to our own pauses.
    found = None
    with suppress(ValueError, TypeError):
        found = parsedate_to_datetime(text or "").timestamp() - time.time()
    with suppress(ValueError):
        found = float(text or "")
    return found if found is not None and 0 <= found <= _LONGEST_ASKED else None


def understood(error: Exception) -> DeliveryError:
    """What any consumer raised, without the frames, texts and objects in which it may hold the batch."""
    # The vendor's consumer wraps what its session raises.
    for each in (error, *error.args[:1]):
        if isinstance(each, DeliveryError):
            each.__traceback__ = None
            return each
    return DeliveryError(_cause_in(error))


def _cause_in(error: Exception) -> str:
    """What failed, without a text or an object inside the error: either may quote the batch."""
    return "the vendor refused the batch" if _is_refusal(error) else cause_of(error)


def _is_refusal(error: Exception) -> bool:
    """Whether the vendor has refused a batch in the body of its answer, whatever the status."""
    text = error.args[0] if error.args else None
    return type(error) is vendor.MixpanelException and isinstance(text, str) and text.startswith("Mixpanel error:")


ARGUMENTS = (
    "events_url people_url import_url request_timeout groups_url api_host retry_limit retry_backoff_factor verify_cert "
    "credentials gzip_imports project_secret".split()
)


_MOST_ARGUMENTS = 4


def arguments_of(send: Any) -> int:
    """How many positional arguments a consumer's ``send`` takes; consumers in the wild take two, three or four."""
    if hasattr(type(send), "assert_called") and not hasattr(type(send), "__signature__"):
        # A mock without a spec would note that it was asked.
        return _MOST_ARGUMENTS
    try:
        parameters = inspect.signature(send).parameters.values()
    except (TypeError, ValueError):
        return _MOST_ARGUMENTS
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return _MOST_ARGUMENTS
    positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    return sum(parameter.kind in positional for parameter in parameters)


def refuse_coroutine(consumer: object, send: object) -> None:
    """Refuses a consumer that would send later.

    Raises:
        ConfigurationError: Its ``send`` is a coroutine function.
    """
    # A mock with a specification looks like anything.
    if not hasattr(type(send), "assert_called") and is_coroutine_function(send):
        raise ConfigurationError(
            f"{type(consumer).__name__}.send is a coroutine function, which nobody would await: nothing would be sent"
        )


def refuse_later(answer: object) -> None:
    """Raises for what a consumer answered when that is a coroutine, which sends nothing by itself.

    Raises:
        DeliveryError: It is; nobody will await it.
    """
    # A future is that of work that has begun, as of a thread pool; a coroutine nobody runs.
    if answer is not None and not isinstance(answer, Future) and not asyncio.isfuture(answer) and is_late(answer):
        raise DeliveryError(f"send answered with {type(answer).__name__}, which nobody awaits: nothing was sent")


def _refuse_odd(arguments: Mapping[str, Any]) -> None:
    """Refuses arguments with which no request could be made.

    Raises:
        ConfigurationError: One is such.
    """
    host(arguments["api_host"])
    for name in ("events_url", "people_url", "import_url", "groups_url"):
        url = arguments[name]
        if url is not None and not (isinstance(url, str) and url.lower().startswith(("https://", "http://"))):
            raise ConfigurationError(f"{name} must be an address that begins with https://, or None")
    limit = arguments["request_timeout"]
    if limit is not None and not isinstance(limit, tuple):
        seconds("request_timeout", limit)
    secret = arguments["project_secret"]
    if secret is not None and not (isinstance(secret, str) and secret):
        raise ConfigurationError(f"project_secret must be a non-empty str, not {type(secret).__name__}")
    if arguments["retry_limit"] is not None:
        whole_number("retry_limit", arguments["retry_limit"], 0)
    seconds("retry_backoff_factor", arguments["retry_backoff_factor"], may_be_zero=True)


def shared(
    known: MutableMapping[tuple[object, ...], _T], given: Mapping[str, Any], make: Callable[[], _T], **settings: object
) -> _T:
    """What sends for all consumers of equal arguments; one of its own for each that was given a consumer.

    Args:
        known: What there is, by what is compared; weakly, so that nobody keeps it alive.
        given: The arguments that all buffers have, by name.
        make: Makes one.
        settings: What else is compared.

    Raises:
        ConfigurationError: An argument cannot work.
    """
    if given["consumer"] is not None or vendor.consumer_put_over() is not None:
        return make()
    credentials = given["credentials"]
    told = None if credentials is None else (type(credentials), *sorted(getattr(credentials, "__dict__", {}).items()))
    named = {**{name: given[name] for name in ("max_size", "endpoint", *ARGUMENTS)}, "credentials": told, **settings}
    key = tuple(sorted(named.items()))
    try:
        found = known.get(key)
    except TypeError:  # an argument that has no hash
        return make()
    # Two threads may both build one; each works.
    return found or known.setdefault(key, make())


def consumer_of(buffer: type, given: Mapping[str, Any]) -> Any:
    """The consumer that was given to a buffer, or a new one of the vendor's arguments.

    Args:
        buffer: The class that takes the arguments, and knows their defaults.
        given: The arguments by name.

    Raises:
        ConfigurationError: It cannot send, or an argument would have no effect.
    """
    arguments = {name: given[name] for name in ARGUMENTS}
    consumer = given["consumer"]
    if consumer is None:
        _refuse_odd(arguments)
        if given["endpoint"] == "import" and given["events_url"] is not None and given["import_url"] is None:
            raise ConfigurationError(
                "endpoint='import' beside events_url needs import_url: else events would go to api_host"
            )
        # What is checked record by record is sent so.
        arguments["gzip_imports"] = arguments["gzip_imports"] or given["endpoint"] == "import"
        default = vendor.consumer_put_over()
        kind = default if isinstance(default, type) else vendor.Consumer
        if arguments["credentials"] is None:
            del arguments["credentials"]
        elif "credentials" not in inspect.signature(kind).parameters:
            raise ConfigurationError(f"credentials needs mixpanel 5.2 or newer, not {vendor.NAMES['__version__']}")
        elif not callable(getattr(arguments["credentials"], "to_http_basic_auth", None)):
            given_kind = type(arguments["credentials"]).__name__
            raise ConfigurationError(f"credentials must be ServiceAccountCredentials, not {given_kind}")
        if default is not None:
            del arguments["gzip_imports"], arguments["project_secret"]
        return (HttpConsumer if default is None else default)(**arguments)
    if not callable(getattr(consumer, "send", None)):
        raise ConfigurationError(f"consumer must have a method send(), which {type(consumer).__name__} has not")
    refuse_coroutine(consumer, consumer.send)
    for each in senders_in(consumer):
        if getattr(each, "judges_again", False) is True or issubclass(type(each), vendor.BufferedConsumer):
            raise ConfigurationError(
                f"consumer holds another buffer ({type(each).__name__}), which would keep whole batches and ask nobody "
                "again: give the consumer that it sends with"
            )
    defaults = inspect.signature(buffer).parameters
    beside = [name for name, value in arguments.items() if value != defaults[name].default]
    if beside:
        raise ConfigurationError(f"{', '.join(beside)}: set on the consumer that is given, not beside it")
    return consumer
