"""What both buffers share: how a message is taken in, judged again, handed over and settled, and a person purged."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from typing_extensions import Self

from consentpanel._checks import whole_number
from consentpanel._consent.ids import subject_key
from consentpanel._forks import Survivors
from consentpanel._messages.decision import Reason
from consentpanel._mixpanel import vendor
from consentpanel._mixpanel.hosts import API_HOSTS
from consentpanel.transport._http import DeliveryError, HttpConsumer, consumer_of, keep_to_its_host, understood
from consentpanel.transport._ticket import ticket_of
from consentpanel.transport._waiting import ENDPOINTS, MAX_BATCH_MESSAGES, Credentials, Waiting, settle

VENDOR_HOST = API_HOSTS["US"]


def waiting_message(endpoint: object, json_message: object, api_key: Any, api_secret: Any) -> Waiting:
    """One message, as a buffer keeps it.

    Raises:
        MixpanelException: The endpoint is unknown, or the message is no text.
    """
    if not isinstance(endpoint, str) or endpoint not in ENDPOINTS:
        raise vendor_error(None, f"No such endpoint. Valid endpoints are {', '.join(ENDPOINTS)}")
    if not isinstance(json_message, str):
        raise vendor_error(endpoint, f"json_message must be a str, not {type(json_message).__name__}")
    credentials: Credentials = api_key if isinstance(api_key, tuple) else (api_key, api_secret)
    size = len(json_message) if json_message.isascii() else len(json_message.encode(errors="surrogatepass"))
    return Waiting(str.__str__(json_message), credentials, ticket_of(json_message), size)


def vendor_error(endpoint: str | None, text: str) -> Exception:
    """The vendor's exception, with the endpoint and, unlike the vendor's, without the batch."""
    error: Exception = vendor.MixpanelException(text)
    error.endpoint = endpoint  # type: ignore[attr-defined]
    return error


def hand_over(consumer: Any, endpoint: str, batch: Sequence[Waiting]) -> DeliveryError | None:
    """Sends a batch of equal credentials; what failed. It raises nothing itself, because its frames hold the batch."""
    body = f"[{','.join(message.json_message for message in batch)}]"
    credentials = batch[0].credentials
    try:
        keep_to_its_host(consumer)
        if credentials == (None, None):
            consumer.send(endpoint, body)
        else:
            consumer.send(endpoint, body, credentials)
    except Exception as error:  # noqa: BLE001 - any consumer may stand here
        return understood(error)
    return None


class _Queue(list[Waiting]):
    """The messages of one endpoint that wait; a subclass of somebody's may append texts, as to the vendor's buffers."""

    def __init__(self, endpoint: str, lock: threading.RLock) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._lock = lock

    def append(self, message: Waiting | str) -> None:
        if isinstance(message, str):
            message = waiting_message(self._endpoint, message, None, None)
        with self._lock:
            super().append(message)


class Buffer:
    """Messages that wait by endpoint, and a consumer that sends them in batches."""

    #: Tells a client that consent is asked for again at the flush.
    judges_again = True
    _consumer: Any

    def _open(self, buffer: type, given: Mapping[str, Any]) -> None:
        """Takes the arguments that both buffers have: `max_size`, `consumer` and those of the vendor's consumer.

        Args:
            buffer: The class that takes the arguments, and knows their defaults.
            given: The arguments by name.

        Raises:
            ConfigurationError: An argument cannot work.
        """
        self._consumer = consumer_of(buffer, given)
        self._max_size = whole_number("max_size", given["max_size"], 1, MAX_BATCH_MESSAGES)

    def _reset(self) -> None:
        """Begins with nothing that waits."""
        # Re-entrant, because a signal handler may track or flush in the middle of anything.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._buffers: dict[str, list[Waiting]] = {endpoint: _Queue(endpoint, self._lock) for endpoint in ENDPOINTS}
        #: Where the messages of a batch stand until they are settled: in their buffer, so that nothing can interrupt
        #: them out of existence.
        self._on_its_way = self._buffers
        #: The most messages of a batch; fewer than `max_size` when the vendor has asked for fewer.
        self._sizes = dict.fromkeys(ENDPOINTS, self._max_size)

    def _restart_in_child(self) -> None:
        # What waits is sent by the parent, and nobody may share the parent's locks and open connections.
        self._reset()
        if isinstance(self._consumer, HttpConsumer):
            self._consumer = self._consumer.anew()

    def purge(self, subject_id: object, purposes: Collection[str] | None = None) -> int:
        """Discard what waits for a person.

        A batch that is on its way at this moment cannot be called back; when its sending fails, what it holds for
        this person is discarded instead of kept.

        Args:
            subject_id: The person: a `str`, an `int` or a `UUID`.
            purposes: Only what stands on one of these; None for all that waits.

        Returns:
            How many messages were discarded.

        Raises:
            InvalidRecordError: `subject_id` is not an id.

        Example:
            >>> from consentpanel import BufferedConsumer
            >>> BufferedConsumer().purge("user-1")
            0
        """
        key = subject_key(subject_id)
        discarded: list[Waiting] = []
        with self._lock:
            for endpoint, buffer in self._buffers.items():
                for message in self._on_its_way[endpoint]:
                    if message.is_on_its_way and message.names(key, purposes):
                        message.is_unwanted = True
                discarded += settle(
                    buffer, [each for each in buffer if not each.is_on_its_way and each.names(key, purposes)]
                )
            self._changed.notify_all()
        for message in discarded:
            message.discard()
        return len(discarded)

    def _deliver(self, endpoint: str, batch: Sequence[Waiting]) -> DeliveryError | None:
        """Hands a batch over, in parts as small as the vendor wants them, and tells the tickets what became of it.

        What failed is returned and not raised, because the frames hold the batch.

        Returns:
            A failure that is worth another try: the messages that are not settled are then to be kept.
        """
        while batch:
            part = batch[: self._sizes[endpoint]]
            sending = self._judge_again(endpoint, part)
            if sending:
                failure = hand_over(self._consumer, endpoint, sending)
                status = None if failure is None else failure.status
                if status == 413 and len(sending) > 1:
                    self._sizes[endpoint] = min(self._sizes[endpoint], len(sending) // 2)
                    continue
                # The vendor asks that neither is tried again; a 413 of one message cannot be split.
                if failure is not None and status not in {400, 413}:
                    return failure
                self._settle_sent(endpoint, sending, failure)
            batch = batch[len(part) :]
        return None

    def _judge_again(self, endpoint: str, part: Sequence[Waiting]) -> list[Waiting]:
        """Discards what may no longer be sent; the others are now on their way."""
        for message in part:
            if not (message.is_settled or message.is_unwanted or message.is_allowed()):
                message.is_unwanted = True
        with self._lock:
            discarded = self._settle(endpoint, [message for message in part if message.is_unwanted])
            sending = [message for message in part if not message.is_settled]
            for message in sending:
                message.is_on_its_way = True
        for message in discarded:
            message.discard()
        return sending

    def _settle_sent(self, endpoint: str, batch: Sequence[Waiting], failure: DeliveryError | None) -> None:
        """Tells each message of a batch that needs no other try what became of it."""
        named = [each for at, each in enumerate(batch) if failure is not None and failure.refuses(at)]
        with self._lock:
            self._note_sent(endpoint, failure, len(named))
            refused = self._settle(endpoint, named)
            arrived = self._settle(endpoint, batch)
        for message in refused:
            message.lose(Reason.REJECTED_BY_VENDOR)
        for message in arrived:
            message.deliver()

    def _settle(self, endpoint: str, messages: Sequence[Waiting]) -> list[Waiting]:
        """As `settle`, of messages that are being delivered."""
        with self._lock:
            settled = settle(self._on_its_way[endpoint], messages)
            self._changed.notify_all()
        return settled

    def _note_sent(self, endpoint: str, failure: DeliveryError | None, refused: int) -> None:
        """Under the lock: a batch needs no other try, and the vendor refused so many of it."""
        raise NotImplementedError

    def close(self) -> None:
        """Flushes, and accepts no more."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


ALIVE: Survivors[Buffer] = Survivors(Buffer._restart_in_child)  # noqa: SLF001 - the same file
