"""What both buffers share: how a message is taken in, judged again, handed over and settled, and a person purged."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from consentpanel._checks import whole_number
from consentpanel._consent.ids import subject_key
from consentpanel._forks import Survivors
from consentpanel._log import pass_deadline
from consentpanel._messages.decision import Reason
from consentpanel._mixpanel.hosts import API_HOSTS
from consentpanel.transport._holding import MOST_HELD, Held, Holding
from consentpanel.transport._http import (
    UNAUTHORIZED,
    DeliveryError,
    HttpConsumer,
    arguments_of,
    consumer_of,
    refuse_later,
    understood,
)
from consentpanel.transport._importing import alike, as_import, belongs_to_track, target, token_of
from consentpanel.transport._line import Line
from consentpanel.transport._redirects import KEPT_TO_ITS_HOST
from consentpanel.transport._waiting import (
    ENDPOINTS,
    MAX_BATCH_MESSAGES,
    Waiting,
    answers_about,
    settle,
    take_back,
)

if TYPE_CHECKING:
    from consentpanel.transport._ticket import Restorer

#: How many refusals of a batch are looked into: enough for several bad messages among 2,000, and an end where all are.
_MOST_REFUSALS = 64
#: After how many batches of a size that the vendor asked for a larger one is tried.
_MANY = 20
VENDOR_HOST = API_HOSTS["US"]
#: Of an update that deletes a profile, as the vendor's client writes it.
DELETES = '"$delete"'


def hand_over(consumer: Any, endpoint: str, batch: Sequence[Waiting]) -> DeliveryError | None:
    """Sends a batch of equal credentials; what failed. It raises nothing itself, because its frames hold the batch."""
    texts = [message.json_message for message in batch]
    if batch[0].is_imported:
        endpoint, texts = "imports", [as_import(text) for text in texts]
    body = f"[{','.join(texts)}]"
    credentials = batch[0].credentials
    try:
        with KEPT_TO_ITS_HOST:
            if credentials == (None, None) or arguments_of(consumer.send) < 3:
                refuse_later(consumer.send(endpoint, body))
            else:
                refuse_later(consumer.send(endpoint, body, credentials))
    except Exception as error:  # noqa: BLE001 - any consumer may stand here
        pass_deadline(error)
        return understood(error)
    return None


class Buffer:
    """Messages that wait by endpoint, and a consumer that sends them in batches."""

    #: The most messages that are held.
    _most_held = MOST_HELD
    #: Whether events go to ``/import``; and whether some may.
    _imports_events = _may_import = False
    #: Tells a client that consent is asked for again at the flush.
    judges_again = True
    #: Whether `measure` asks no file and no database.
    is_in_memory = True
    _consumer: Any

    def _open(self, buffer: type, given: Mapping[str, Any]) -> None:
        """Takes the arguments that both buffers have: `max_size`, `consumer` and those of the vendor's consumer.

        Args:
            buffer: The class that takes the arguments, and knows their defaults.
            given: The arguments by name.

        Raises:
            ConfigurationError: An argument cannot work.
        """
        self._imports_events = self._may_import = target(given["endpoint"]) == "import"
        self._consumer = consumer_of(buffer, given)
        self._max_size = whole_number("max_size", given["max_size"], 1, MAX_BATCH_MESSAGES)

    def _is_imported(self, message: Waiting) -> bool:
        """Whether an event goes to ``/import``."""
        return self._imports_events and not belongs_to_track(message.json_message)

    def _routed(self, endpoint: str, batch: Sequence[Waiting]) -> Sequence[Waiting]:
        """Notes which events are imported, and with what; those that can go in one request then stand together."""
        if endpoint != "events" or not self._may_import:
            return batch
        imported = [message for message in batch if self._is_imported(message)]
        for message in imported:
            message.is_imported = True
            if getattr(self._consumer, "needs_token", True):
                message.credentials = (None, token_of(message))
        return sorted(batch, key=lambda each: (each.is_imported, str(each.credentials[1]))) if imported else batch

    def _reset(self) -> None:
        """Begins with nothing that waits."""
        # Re-entrant, because a signal handler may track or flush in the middle of anything.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._lines = {endpoint: Line(endpoint, self._lock) for endpoint in ENDPOINTS}
        #: By the vendor's name, because subclasses look into it and append.
        self._buffers = {endpoint: line.queue for endpoint, line in self._lines.items()}
        #: The most messages of a batch; fewer than `max_size` when the vendor has asked for fewer.
        self._sizes = dict.fromkeys(ENDPOINTS, self._max_size)
        #: What waits for people who were never asked.
        self._holding = Holding(self._lock, self._most_held)
        #: The threads that tell tickets what became of their messages, which are settled already.
        self._telling: list[int] = []
        #: How many such batches the vendor has taken in a row.
        self._taken_small = dict.fromkeys(ENDPOINTS, 0)

    def _restart_in_child(self) -> None:
        # What waits is sent by the parent, and nobody may share the parent's locks and open connections.
        self._reset()
        if isinstance(self._consumer, HttpConsumer):
            self._consumer = self._consumer.anew()

    @property
    def own_queue(self) -> Buffer:
        """Where messages wait; for observers (`consentpanel.observers`)."""
        return self

    def measure(self) -> tuple[int, float]:
        """How many messages wait or are on their way, and for how many seconds the oldest; of those that are held, none."""
        with self._lock:
            count = sum(map(len, self._lines.values()))
            oldest = [since for line in self._lines.values() if (since := line.oldest()) is not None]
        return count, max(0.0, time.monotonic() - min(oldest)) if oldest else 0.0

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
        return self.purge_of(None, subject_id, purposes)

    def purge_of(self, client: Restorer | None, subject_id: object, purposes: Collection[str] | None = None) -> int:
        """As `purge`, of a client's project and registry: others may know another person by the same id.

        Args:
            client: The client; None for all.
            subject_id: As for `purge`.
            purposes: As for `purge`.
        """
        key = subject_key(subject_id)
        discarded: list[Waiting] = []
        for line in self._lines.values():
            for message in line:
                # Before the lock is taken, because it reads the JSON of what has no ticket.
                message.names(key)
        with self._lock:
            for line in self._lines.values():
                discarded += line.purge(lambda each: each.is_of_client(client) and each.names(key, purposes))
            self._changed.notify_all()
        for message in discarded:
            message.discard()
        return len(discarded) + self._holding.discard(
            lambda each: each.message.is_of_client(client) and each.message.names(key, purposes)
        )

    def look_at_held(self, subject_id: object = None) -> None:
        """Has leave what people have agreed to by now, and gives up what they have not, or not in time.

        Args:
            subject_id: Whose messages are looked at; everybody's when left out.
        """
        is_meant = None
        if subject_id is not None:
            key = subject_key(subject_id)
            is_meant = lambda held: key in held.message.subjects  # noqa: E731 - one of two
        self._holding.look(self._take_released, is_meant)

    def _take_released(self, held: Held) -> None:
        """Lets what was held wait for its turn, as any other message. Under the lock."""
        queue = self._lines[held.endpoint].queue
        # A time limit may have interrupted this before.
        if not queue or queue[-1] is not held.message:
            queue.append(held.message)

    def _go_before(self, endpoint: str, message: Waiting) -> None:
        """Has leave before an update what is held for the same person and may leave: the later one must not arrive first."""
        if not self._holding or not self._lines[endpoint].keeps_order:
            return

        def is_before(held: Held) -> bool:
            return held.endpoint == endpoint and not message.subjects.isdisjoint(held.message.subjects)

        if not self._holding.are_there(is_before):
            return
        if DELETES in message.json_message:
            # Or a profile would come back after its deletion.
            self._holding.end(is_before)
        else:
            self._holding.look(self._take_released, is_before)

    def _deliver(self, endpoint: str, batch: Sequence[Waiting]) -> DeliveryError | None:
        """Hands a batch over, in parts as small as the vendor wants them, and tells the tickets what became of it.

        One that the vendor refuses is halved, until what it refuses stands alone. What failed is returned and not raised,
        because the frames hold the batch.

        Returns:
            A failure that is worth another try: the messages that are not settled are then to be put back.
        """
        batch = self._routed(endpoint, batch)
        unauthorized: DeliveryError | None = None
        halves = _MOST_REFUSALS
        smaller = len(batch)
        while batch:
            part = batch[: min(self._sizes[endpoint], smaller)]
            if part[-1].is_imported:
                part = alike(part)
            sending = self._judge_again(endpoint, part)
            if sending:
                failure = hand_over(self._consumer, endpoint, sending)
                status = None if failure is None else failure.status
                if failure is not None and not failure.names_some_of(len(sending)):
                    # Names that do not fit the batch tell nothing: what was refused is found by halving.
                    failure.refused = None
                if status == 413 and len(sending) > 1:
                    self._sizes[endpoint] = min(self._sizes[endpoint], len(sending) // 2)
                    batch = [message for message in batch if not (message.is_settled or message.is_unanswered)]
                    continue
                is_refused_whole = status == 400 and failure is not None and failure.refused is None
                halves = max(0, halves - is_refused_whole)
                if is_refused_whole and len(sending) > 1 and halves:
                    smaller = len(sending) // 2
                    batch = [message for message in batch if not (message.is_settled or message.is_unanswered)]
                    continue
                if failure is not None and status in UNAUTHORIZED and part[-1].is_imported:
                    # Of one project, perhaps: that of the next ones may be welcome.
                    unauthorized = failure
                    batch = batch[len(part) :]
                    continue
                # The vendor asks that neither is tried again; what it refuses alone cannot be split.
                if failure is not None and status not in {400, 413}:
                    return failure
                self._settle_sent(endpoint, sending, failure)
                self._try_larger(endpoint, sending, failure)
                # Where one is bad the next ones may be good, and once nobody looks further they go together.
                smaller = 2 * smaller if halves else len(batch)
            batch = batch[len(part) :]
        return unauthorized

    def _try_larger(self, endpoint: str, sent: Sequence[Waiting], failure: DeliveryError | None) -> None:
        """Takes larger batches again after many that were as large as the vendor wanted them: it may have been a proxy's word."""
        with self._lock:
            if failure is None and len(sent) == self._sizes[endpoint] < self._max_size:
                self._taken_small[endpoint] += 1
                if self._taken_small[endpoint] >= _MANY:
                    self._taken_small[endpoint] = 0
                    self._sizes[endpoint] = min(2 * self._sizes[endpoint], self._max_size)

    def _judge_again(self, endpoint: str, part: Sequence[Waiting]) -> list[Waiting]:
        """Discards what may no longer be sent, and sets aside what nobody could tell of; the others are to be sent."""
        answers = answers_about(part)
        line = self._lines[endpoint]
        sending: list[Waiting] = []
        unanswered: list[Waiting] = []
        discarded: list[Waiting] = []
        with self._lock:
            # Of two messages about one person the later one must not arrive first.
            blocked = set(line.unanswered_subjects)
            for message, answer in zip(part, answers, strict=True):
                message.is_unwanted = message.is_unwanted or answer is False
                if message.is_settled:
                    continue
                if message.is_unwanted:
                    discarded += take_back([message])
                    if message.is_settled:
                        continue
                elif answer is None or not blocked.isdisjoint(message.subjects):
                    unanswered.append(message)
                    blocked |= message.subjects
                    continue
                message.is_on_its_way = True
                sending.append(message)
            self._settle(endpoint, ())
            line.leave_unanswered(unanswered, all_of_batch=not (sending or discarded))
            self._telling.append(threading.get_ident())
        with self._told():
            for message in discarded:
                message.discard()
        return sending

    @contextmanager
    def _told(self) -> Generator[None, None, None]:
        """Until this ends, the tickets of what is settled are being told; whoever waits for that waits for this."""
        try:
            yield
        finally:
            with self._lock:
                self._telling.remove(threading.get_ident())
                self._changed.notify_all()

    def _is_told(self) -> bool:
        """Whether each ticket knows what became of its message, unless this thread is just telling it."""
        return all(each == threading.get_ident() for each in self._telling)

    def _settle_sent(self, endpoint: str, batch: Sequence[Waiting], failure: DeliveryError | None) -> None:
        """Tells each message of a batch that needs no other try what became of it."""
        named = [each for at, each in enumerate(batch) if failure is not None and failure.refuses(at)]
        with self._lock:
            self._note_sent(endpoint, failure)
            refused = self._settle(endpoint, named)
            self._count_lost(refused)
            arrived = self._settle(endpoint, batch)
            self._telling.append(threading.get_ident())
        with self._told():
            for message in refused:
                message.lose(Reason.REJECTED_BY_VENDOR)
            for message in arrived:
                message.deliver()

    def _take_back(self, endpoint: str, messages: Iterable[Waiting]) -> list[Waiting]:
        """As `take_back`, of those on their way that are unwanted; each is then to be told of. Under the lock."""
        taken = take_back([message for message in messages if message.is_unwanted])
        self._settle(endpoint, ())
        return taken

    def _settle(self, endpoint: str, messages: Sequence[Waiting]) -> list[Waiting]:
        """As `settle`, of messages that are on their way."""
        with self._lock:
            settled = settle(messages)
            self._lines[endpoint].forget_settled()
            self._changed.notify_all()
        return settled

    def _give_up_oldest(self, endpoints: Iterable[str]) -> list[Waiting]:
        """Makes room by the oldest message of which nobody can tell, to be told that it is lost. Under the lock."""
        for endpoint in endpoints:
            if (oldest := self._lines[endpoint].pop_unanswered()) is not None:
                return settle([oldest])
        return []

    @staticmethod
    def _count_lost(messages: Iterable[Waiting]) -> None:
        """Counts what is given up, on the accounts. Under the lock."""
        for message in messages:
            if message.account is not None:
                message.account.dropped += 1

    def _note_sent(self, endpoint: str, failure: DeliveryError | None) -> None:
        """Under the lock: a batch needs no other try."""
        raise NotImplementedError

    def discard_all(self) -> None:
        """Discards what waits, and tells nobody."""
        with self._lock:
            for line in self._lines.values():
                settle([*line.queue, *line.unanswered])
                line.sweep()
            self._holding.forget()
            self._changed.notify_all()

    def end(self) -> None:
        """Delivers what waits before the process ends, and reports as lost what could not be; raises nothing."""
        raise NotImplementedError

    def close(self) -> None:
        """Flushes, and accepts no more."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


ALIVE: Survivors[Buffer] = Survivors(Buffer._restart_in_child)  # noqa: SLF001 - the same file
