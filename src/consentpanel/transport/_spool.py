"""Delivers what waits in a spool or an outbox: one for all consumers of a process with equal arguments."""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs

from consentpanel._consent.ids import subject_key
from consentpanel._log import LOGGER, note_failure, warn_rarely
from consentpanel._messages.decision import Reason
from consentpanel._mixpanel import patience, vendor
from consentpanel.errors import InvalidRecordError
from consentpanel.transport._delivery import DELETES
from consentpanel.transport._ends import has_ended, watch
from consentpanel.transport._erasures import Erasures
from consentpanel.transport._http import UNAUTHORIZED, DeliveryError, HttpConsumer, understood
from consentpanel.transport._importing import TRACK_TAKES, belongs_to_track
from consentpanel.transport._line import pause_after
from consentpanel.transport._message_store import MessageStore, New, Row, Summary
from consentpanel.transport._threaded import ThreadedBuffer
from consentpanel.transport._ticket import Client, Kept, Restorer, Ticket
from consentpanel.transport._waiting import (
    ENDPOINTS,
    MAX_BATCH_BYTES,
    MAX_BATCH_MESSAGES,
    Waiting,
    answers_about,
    settle,
)

#: Seconds after which a thread looks for what other processes have written, and for what has grown too old.
_LOOK = 1.0
#: Seconds between looks for what only few messages meet.
_SELDOM = 30.0
#: Seconds that a flush waits for whoever reads, so that what was delivered is in no file any more.
_PATIENCE = 1.0
#: Seconds after which what became of a batch is written again.
_AGAIN = 0.25
#: Seconds that a withdrawal waits for the vendor to take an erasure; then it is kept, and tried on.
_ERASURE = 5.0
#: Seconds that a lease is longer than a request may take.
_MARGIN = 20.0
#: How many times as long as a look at what is held took nobody looks again.
_RELAXED = 20.0
#: Milliseconds after its end for which what is held is left to the processes of its own project.
_ABANDONED = 86_400_000
#: After how many messages, or bytes, the size of the store is looked at.
_MEASURED, _MEASURED_BYTES = 50, 1_000_000
#: How many tickets of its own a process remembers, for its counts.
_MOST_REMEMBERED = 100_000


@attrs.define(eq=False)
class Spooled(Waiting):
    """One message that was kept, on its way."""

    number: int = 0
    lease: int = 0
    #: When it was written, in milliseconds since 1970 UTC.
    created: int = 0
    #: What is to become of its row: None to wait again, True to be erased, or why it failed for good.
    fate: bool | str | None = None
    is_reduced: bool = False
    #: Of one that another process has written: of what its ticket was made.
    kept: Kept | None = attrs.field(default=None, repr=False)

    def deliver(self) -> None:
        """Tell the ticket that the message has arrived."""
        self.fate = True
        super().deliver()

    def reduce(self) -> bool:
        """Leaves of a message that may not go what only takes data away; whether there is something."""
        self.is_reduced = super().reduce() or self.is_reduced
        return self.is_reduced and not self.is_settled

    def discard(self) -> None:
        """Tell the ticket that the message, or all of it but a removal, was thrown away for want of consent."""
        self.fate = self.fate or self.is_settled or None
        super().discard()

    def lose(self, reason: Reason) -> None:
        """Tell the ticket that the message will never be sent, for another reason."""
        self.fate = reason.value if reason is Reason.REJECTED_BY_VENDOR else True
        super().lose(reason)


class Spool(ThreadedBuffer):
    """The messages of one store, and threads that deliver them.

    Each thread leases a batch, which nobody else sends meanwhile, judges it again, sends it, and erases it.

    Args:
        buffer: The class that takes the arguments, and knows their defaults.
        given: The arguments by name.
        store: Where the messages are.
        linger: Seconds that a batch waits to become full.
        connections: The most threads.
        keep_for: Seconds after which a message is too old.
        max_bytes: Bytes of the store from which on no message is taken.

    Raises:
        ConfigurationError: An argument cannot work.
    """

    #: In log lines.
    _name = "the spool"

    def __init__(
        self,
        buffer: type,
        given: Mapping[str, Any],
        store: MessageStore,
        *,
        linger: float,
        connections: int,
        keep_for: float,
        max_bytes: int,
    ) -> None:
        self._open(buffer, given)
        # One that has waited for long; unless it would go to another host than the others.
        self._may_import = True
        self._knows_import = isinstance(self._consumer, HttpConsumer) and (
            given["import_url"] is not None or given["events_url"] is None
        )
        self._store = store
        self._erasures = Erasures(store)
        self._linger, self._connections = linger, connections
        self._keep_for, self._max_bytes = keep_for, max_bytes
        limit = given["request_timeout"]
        tries = 1 + given["retry_limit"]
        self._leased_for = (limit * tries if isinstance(limit, (int, float)) else 60.0) + _MARGIN
        self._clients: weakref.WeakSet[Client] = weakref.WeakSet()
        #: The consumers that may send: without one no thread has to look.
        self.users: weakref.WeakSet[Any] = weakref.WeakSet()
        self._reset()
        watch(self)

    def _reset(self) -> None:
        super()._reset()
        #: Of the messages that this process has written, by their numbers.
        self._tickets: dict[int, Ticket] = {}
        self.dropped = 0
        #: How many messages came since somebody looked.
        self._fresh = 0
        self._is_used = False
        #: How many batches are on their way, and while the process ends the last message that may be.
        self._on_their_way = 0
        self._last: int | None = None
        self._is_full = False
        #: Whether requests to erase people are on their way.
        self._is_erasing = False
        #: The number after which the next look at what is held goes on.
        self._held_at = 0
        self._unmeasured = 0
        self._count = itertools.count()
        self._next_look: dict[str, float] = {"old": 0.0, "rare": 0.0, "held": 0.0, "erasures": 0.0}

    def attach(self, client: Client, *, looks: bool) -> None:
        """Lets messages of a client's project be delivered by this process, whoever wrote them.

        Args:
            client: The client.
            looks: Whether what other processes have left is delivered though this one may never write.
        """
        with self._lock:
            self._clients.add(client)
            if looks and not self._threads:
                self._start()

    def waiting(self) -> int:
        """How many messages wait in the store.

        Raises:
            MixpanelException: The store fails.
        """
        return self._store.waiting()

    def summary(self) -> Summary:
        """What the store holds, and nothing of the messages."""
        return self._store.summary()

    is_in_memory = False

    def measure(self) -> tuple[int, float]:
        """How many messages wait in the store, and for how many seconds the oldest.

        Raises:
            MixpanelException: The store fails.
        """
        summary = self._store.summary()
        age = 0 if summary.oldest is None else self._store.present() - summary.oldest
        return summary.waiting, max(0.0, age / 1000)

    def put(self, endpoint: str, message: Waiting) -> None:
        """Writes a message, which is kept when this returns; where it cannot be, its ticket is told."""
        self._is_used, self._last = True, None
        if not self._connections and self._is_due("rare", _SELDOM):
            # No thread of this process ever looks.
            with suppress(vendor.MixpanelException):
                self._settle_gone()
        if not message.hold_for:
            with suppress(vendor.MixpanelException):
                self._go_before(endpoint, message)
        reason = self._written(endpoint, message)
        if reason is not None:
            with self._lock:
                self.dropped += 1
            message.lose(reason)

    def _written(self, endpoint: str, message: Waiting) -> Reason | None:
        ticket = message.ticket
        token, subjects, kept = None, tuple(sorted(message.ids())) if ticket is None else (), "{}"
        if ticket is not None:
            what = ticket.kept()
            token, subjects, kept = what.token, (*what.persons, *what.devices), what.as_json()
        try:
            self._unmeasured += message.size
            if self._is_full or self._unmeasured >= _MEASURED_BYTES or next(self._count) % _MEASURED == 0:
                self._unmeasured = 0
                self._is_full = self._store.size() >= self._max_bytes
            if self._is_full:
                return Reason.QUEUE_FULL
            self._append(
                New(endpoint, token, subjects, kept, message.json_message, message.size, message.hold_for), ticket
            )
        except (vendor.MixpanelException, InvalidRecordError) as error:
            self._note(error)
            return Reason.NOT_KEPT
        return None

    def _note(self, error: Exception) -> None:
        said = getattr(error, "says", None)
        if said is None:
            note_failure(self._name, error)
        else:
            warn_rarely("%s", said)

    def _append(self, new: New, ticket: Ticket | None) -> None:
        # Under the lock, or a thread could deliver it before its ticket is known.
        with self._lock:
            self._remember(self._store.append(new), ticket)
            self._note_fresh(not new.hold_for)

    def _remember(self, number: int, ticket: Ticket | None) -> None:
        if ticket is not None and len(self._tickets) < _MOST_REMEMBERED:
            self._tickets[number] = ticket

    def _note_fresh(self, count: int) -> None:
        """Lets a thread look for what has come. Under the lock."""
        before, self._fresh = self._fresh, self._fresh + count
        if not self._threads:
            self._start()
        if self._fresh and (before == 0 or self._fresh >= self._max_size):
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Delivers what waits now; whether all of it has arrived, or waits for the registry alone.

        Raises:
            MixpanelException: The store fails.
        """
        self._is_used = True
        until = time.monotonic() + timeout
        self._erase_what_waits(until)
        return self._flushed(self._store.last_number(), until)

    def _flushed(self, last: int, until: float) -> bool:
        self._look_after_the_old()
        self._store.ask_again(last)
        self._look_at_all_held(until)
        with self._lock:
            self._flushes += 1
            if not self._threads:
                self._start()
            self._changed.notify_all()
        try:
            while True:
                with self._lock:
                    has_thread = bool(self._threads)
                has_sent = not has_thread and True in [self._deliver_one(endpoint) for endpoint in ENDPOINTS]
                is_pausing = self._is_pausing()
                if not self._store.is_waiting(self._known(), last):
                    self._store.tidy(_PATIENCE)
                    return True
                if time.monotonic() >= until or (is_pausing and not self._on_their_way):
                    return False
                if not has_sent:
                    with self._lock:
                        self._changed.wait(0.05)
        finally:
            with self._lock:
                self._flushes -= 1

    def purge_of(self, client: Restorer | None, subject_id: object, purposes: Collection[str] | None = None) -> int:
        """Erases what waits for a person, whichever process wrote it.

        Raises:
            MixpanelException: The store fails. To a client that is told in the log alone: its denial is recorded, by which
                what is left is discarded.
        """
        in_memory = super().purge_of(client, subject_id, purposes)
        tokens = None
        if client is not None:
            tokens = {client.token, *(each.token for each in self._known().values() if each.shares_registry(client))}
        key = subject_key(subject_id)
        try:
            count, changed = self._store.purge(key, tokens, lambda row: _left_of(row, purposes))
        except (vendor.MixpanelException, InvalidRecordError) as error:
            if client is None:
                raise
            self._note(error)
            return in_memory
        known = self._known()
        for row, left in changed:
            own = self._tickets.get(row.number) if left is not None else self._tickets.pop(row.number, None)
            ticket = own or _restored(row, known)
            if ticket is not None:
                if left is not None:
                    ticket.take_removal()
                ticket.discarded()
        return in_memory + count

    def erase(self, client: Client, asked: str) -> Any:
        """Keeps a request to erase a person, and tries it once now: the requests that were made, or None while it waits.

        Raises:
            MixpanelException: The store fails: nothing is kept.
        """
        mine = client.own_restorer
        number = self._erasures.keep(mine.token, asked)
        with self._lock:
            self._is_used = True
            if not self._threads:
                self._start()
        # By a thread, because a vendor that hangs must not hold a request for longer than that.
        made: list[Any] = []
        patient = patience.current()
        left = None if patient is None else patient.left
        # The thread may take its time: what it is not told in time it may be told later.
        theirs = None if patient is None else patience.Patience(patient.slots)
        asking = threading.Thread(target=self._ask_to_erase, args=(mine, number, made, theirs), daemon=True)
        with suppress(RuntimeError):  # the interpreter ends, or the system has no more threads
            asking.start()
            asking.join(_ERASURE if left is None else max(0.0, min(_ERASURE, left)))
        return made[0] if made else None

    def _ask_to_erase(self, client: Restorer, number: int, made: list[Any], patient: patience.Patience | None) -> None:
        with suppress(Exception), patience.having(patient):
            made.append(self._erasures.carry_out([client], self._store.present(), only=number))

    def _erase_what_waits(self, until: float = 0.0) -> None:
        """Tries the requests to erase people that may be tried now, by a thread of its own: the vendor takes its time over them.

        Args:
            until: How long that is waited for, by `time.monotonic`.
        """
        with self._lock:
            if not self._is_erasing and self._erasures.are_due(self._restorers(), self._store.present()):
                self._is_erasing = True
                try:
                    threading.Thread(target=self._erase, name="consentpanel-erasures", daemon=True).start()
                except RuntimeError:  # the interpreter ends, or the system has no more threads
                    self._erase()
            self._changed.wait_for(lambda: not self._is_erasing, max(0.0, until - time.monotonic()))

    def _erase(self) -> None:
        try:
            self._erasures.carry_out(self._restorers(), self._store.present())
        except Exception as error:  # noqa: BLE001 - it is tried again
            note_failure(self._name, error)
        finally:
            with self._lock:
                self._is_erasing = False
                self._changed.notify_all()

    def discard_all(self) -> None:
        """Forgets what this process knows of messages; they stay in the store."""
        with self._lock:
            self._tickets.clear()
            self._is_used = False

    def end(self) -> None:
        """Delivers what waits before the process ends, as long as it may; what does not arrive stays in the store."""
        if not (self._connections and (self._is_used or self._on_their_way)):
            return
        if isinstance(self._consumer, HttpConsumer):
            self._consumer.hurry()
        until = time.monotonic() + self.exit_timeout
        with suppress(Exception):
            # What a thread has begun to send when the process ends would be sent again by another.
            self._last = self._store.last_number() if self._is_used else 0
            if self._is_used:
                self._flushed(self._last, until)
        with self._lock:
            self._changed.wait_for(lambda: not self._on_their_way, max(0.0, until - time.monotonic()))

    def close(self) -> None:
        """Flushes."""
        self.end()

    def _known(self) -> dict[str, Restorer]:
        """The clients of this process by the tokens of their projects."""
        return {each.token: each for each in self._restorers()}

    def _restorers(self) -> list[Restorer]:
        with self._lock:
            clients = list(self._clients)
        return [each for each in (client.own_restorer for client in clients) if each.is_ready]

    def _is_pausing(self) -> bool:
        return any(time.monotonic() < each for each in self._not_before.values())

    def _new_thread(self, name: str) -> threading.Thread:
        return threading.Thread(target=_work, args=(weakref.ref(self),), name=name, daemon=True)

    def work(self) -> None:
        """Waits for messages, a while at most, and delivers what there is: one turn of a thread."""
        with self._lock:
            self._changed.wait_for(lambda: self._fresh or self._flushes, _LOOK)
            if self._fresh:
                self._changed.wait_for(lambda: self._fresh >= self._max_size or self._flushes, self._linger)
            self._fresh = 0
        has_sent = False
        for endpoint in ENDPOINTS:
            while self._deliver_one(endpoint):
                has_sent = True
        if has_sent:
            self._store.tidy()
        elif self._flushes:
            time.sleep(0.02)
        self._look_after_the_old()

    def _deliver_one(self, endpoint: str) -> bool:
        """Delivers one batch; whether there was one that arrived."""
        if time.monotonic() < self._not_before[endpoint]:
            return False
        with self._lock:
            self._on_their_way += 1
        try:
            return self._sent_one(endpoint)
        finally:
            with self._lock:
                self._on_their_way -= 1
                self._changed.notify_all()

    def _sent_one(self, endpoint: str) -> bool:
        known = self._known()
        lease, rows = self._store.claim(
            endpoint,
            known,
            most=self._sizes[endpoint],
            most_bytes=MAX_BATCH_BYTES[endpoint],
            in_order=self._lines[endpoint].keeps_order,
            until=self._until(),
            last=self._last,
        )
        if not rows:
            return False
        with self._lock:
            if len(rows) == self._max_size:
                # Where there is more than one batch another thread helps.
                self._start()
            batch = [self._on_its_way(row, lease, known) for row in rows]
            self._lines[endpoint].on_its_way += batch
        try:
            failure: BaseException | None = self._deliver(endpoint, batch)
        except BaseException as error:  # noqa: BLE001 - a thread that ends would end delivery; the batch is kept
            failure = error
        return self._finished(endpoint, lease, batch, failure)

    def _until(self) -> int:
        return self._store.present() + int(self._leased_for * 1000)

    def _on_its_way(self, row: Row, lease: int, known: Mapping[str, Restorer]) -> Spooled:
        # What has a token is never sent without a ticket, by which it is judged.
        ticket, kept = self._tickets.get(row.number), None
        if ticket is None and row.token is not None:
            kept = Kept.of_json(row.kept)
            ticket = known[row.token].restored(row.endpoint, kept)
        if ticket is not None and getattr(ticket, "hold_for", None) is not None:
            # Another process has let it leave, and has told so.
            ticket.settled_elsewhere(answer=True)
        return Spooled(
            row.message, (None, None), ticket, row.size, number=row.number, lease=lease, created=row.created, kept=kept
        )

    def _is_imported(self, message: Waiting) -> bool:
        if super()._is_imported(message):
            return True
        is_old = isinstance(message, Spooled) and self._store.present() - message.created >= TRACK_TAKES * 1000
        return is_old and self._knows_import and not belongs_to_track(message.json_message)

    def _judge_again(self, endpoint: str, part: Sequence[Waiting]) -> list[Waiting]:
        """As of any buffer; what somebody has purged meanwhile, or leased after this lease was over, is left alone."""
        rows = [each for each in part if isinstance(each, Spooled)]
        held = self._store.renew(rows[0].lease, [each.number for each in rows], self._until())
        lost = [each for each in rows if each.number not in held]
        for each in lost:
            each.fate = each.fate or True
        self._settle(endpoint, lost)
        self._ask_the_others(endpoint, rows)
        return super()._judge_again(endpoint, part)

    def _ask_the_others(self, endpoint: str, rows: Sequence[Spooled]) -> None:
        """Marks as unwanted what another client of its project denies, where that asks another registry."""
        known = self._known()
        for client in self._restorers():
            theirs = [(row, row.kept) for row in rows if row.kept is not None and row.kept.token == client.token]
            if not theirs or known[client.token].shares_registry(client):
                continue
            asked = [Waiting("", (None, None), client.restored(endpoint, kept), 0) for _, kept in theirs]
            for (row, _), answer in zip(theirs, answers_about(asked), strict=True):
                row.is_unwanted = row.is_unwanted or answer is False

    def _finished(self, endpoint: str, lease: int, batch: Sequence[Spooled], failure: BaseException | None) -> bool:
        """Writes into the store what became of a batch; whether anything arrived or was given up."""
        with self._lock:
            unwanted = self._take_back(endpoint, batch)
            left = [each for each in batch if not each.is_settled]
            settle(left)
            line = self._lines[endpoint]
            silent = {each.number for each in left if each.is_unanswered}
            line.sweep()
            line.ask_again()
            cause = None if failure is None else self._note_failure(endpoint, failure)
        for each in unwanted:
            each.discard()
        later = self._store.present() + int(1000 * pause_after(0))
        # Events of other projects are let past those whose token is refused.
        is_refused = isinstance(failure, DeliveryError) and failure.status in UNAUTHORIZED and not line.keeps_order
        left = [each for each in left if not each.fate]
        back = [
            (
                each.number,
                later if each.number in silent or is_refused else 0,
                Reason.REGISTRY_ERROR.value if each.number in silent else self.last_cause,
                each.json_message if each.is_reduced else None,
            )
            for each in left
        ]
        done = [each.number for each in batch if each.fate is True]
        dead = [(each.number, each.fate) for each in batch if isinstance(each.fate, str)]
        self._written_down(lambda: self._store.finish(lease, done, dead, back))
        with self._lock:
            for each in batch:
                if each.fate:
                    self._tickets.pop(each.number, None)
            self._changed.notify_all()
        if cause is not None:
            LOGGER.debug("a batch to %s was not delivered and is kept: %s", endpoint, cause)
        return len(left) < len(batch)

    def _written_down(self, finish: Callable[[], None]) -> None:
        """Writes what became of a batch, tried again while the lease lasts: what has arrived would be sent once more.

        Raises:
            MixpanelException: The store fails all the time.
        """
        until = time.monotonic() + (_MARGIN - 1 if self._threads else _PATIENCE)
        while True:
            try:
                return finish()
            except vendor.MixpanelException:
                if time.monotonic() >= until or has_ended():
                    raise
            time.sleep(_AGAIN)

    def look_at_held(self, subject_id: object = None) -> None:
        """Has leave what people have agreed to by now, and erases what they have not, or not in time.

        Args:
            subject_id: Whose messages are looked at; when left out everybody's, a page of them at a time.
        """
        known = self._known()
        begun = time.monotonic()
        if subject_id is None:
            rows = self._store.held(known, self._held_at, MAX_BATCH_MESSAGES)
            # The next look goes on behind the last one of a page, and begins anew after the last page.
            self._held_at = rows[-1].number if len(rows) == MAX_BATCH_MESSAGES else 0
        else:
            rows = self._store.held_of(known, subject_key(subject_id))
        self._look_at(rows, known)
        # Of a project that nobody here has a client for; its own processes were to do it.
        self._store.end_holding(before=self._store.present() - _ABANDONED)
        with self._lock:
            self._next_look["held"] = time.monotonic() + max(_LOOK, _RELAXED * (time.monotonic() - begun))

    def _look_at(self, rows: Sequence[Row], known: Mapping[str, Restorer]) -> None:
        tickets = self._tickets_of(rows, known)
        asked = [Waiting("", (None, None), tickets[row.number], 0) for row in rows]
        answers = {row.number: answer for row, answer in zip(rows, answers_about(asked), strict=True)}
        for number in self._store.release(number for number, answer in answers.items() if answer):
            self._released(tickets[number])
        # What is over is asked about too: the answer may have come in time.
        over = self._store.over(number for number, answer in answers.items() if answer is None)
        gone = [number for number, answer in answers.items() if answer is False]
        self._end_holding([*gone, *over], tickets, denied=gone)

    def _released(self, ticket: Ticket | None) -> None:
        """Notes that a message is held no more."""
        if ticket is not None:
            ticket.release()
        with self._lock:
            self._fresh += 1

    def _tickets_of(self, rows: Sequence[Row], known: Mapping[str, Restorer]) -> dict[int, Ticket | None]:
        """The tickets of what is held, by its numbers."""
        return {row.number: self._tickets.get(row.number) or _restored(row, known, is_held=True) for row in rows}

    def _end_holding(
        self, numbers: Collection[int], tickets: Mapping[int, Ticket | None], denied: Collection[int] = ()
    ) -> None:
        """Erases some of what is held, and tells that it was denied, or that nobody has answered."""
        for row in self._store.end_holding(numbers):
            ticket = self._tickets.pop(row.number, None) or tickets[row.number]
            if ticket is not None and row.number in denied:
                ticket.discarded()
            elif ticket is not None:
                ticket.lost(Reason.NOT_ANSWERED)

    def _look_at_all_held(self, until: float) -> None:
        """As `look_at_held`, page by page, as long as there is time."""
        self._held_at = 0
        while True:
            self.look_at_held()
            if not self._held_at or time.monotonic() >= until:
                return

    def _go_before(self, endpoint: str, message: Waiting) -> None:
        if not self._lines[endpoint].keeps_order or not self._store.has_held():
            return
        known = self._known()
        for subject in message.subjects:
            rows = [row for row in self._store.held_of(known, subject) if row.endpoint == endpoint]
            if rows and DELETES in message.json_message:
                # Or a profile would come back after its deletion.
                tickets = self._tickets_of(rows, known)
                self._end_holding(tickets, tickets)
            elif rows:
                self._look_at(rows, known)

    def _is_due(self, look: str, pause: float) -> bool:
        with self._lock:
            due = time.monotonic() >= self._next_look[look]
            if due:
                self._next_look[look] = time.monotonic() + pause
            return due

    def _look_after_the_old(self) -> None:
        """Loses what is too old, and, seldom, looks at what failed for good and at what other processes have delivered."""
        known = self._known()
        if self._is_due("old", _LOOK):
            self._lose(self._store.expire(self._store.present() - int(self._keep_for * 1000), known), known)
        if self._is_due("erasures", _LOOK):
            self._erase_what_waits()
        if self._is_due("held", _LOOK):
            self.look_at_held()
        if not self._is_due("rare", _SELDOM):
            return
        dead = [(row.number, _restored(row, known)) for row in self._store.dead_letters(known)]
        judged = [Waiting("", (None, None), ticket, 0) for _, ticket in dead]
        denied = [number for (number, _), answer in zip(dead, answers_about(judged), strict=True) if answer is False]
        self._store.forget_dead(denied)
        self._settle_gone()

    def _settle_gone(self) -> None:
        """Counts what is there no more, of what this process has written."""
        remembered = self._remembered()
        gone = remembered - self._store.among(remembered) if remembered else ()
        for number in gone:
            if (ticket := self._tickets.pop(number, None)) is not None:
                self._gone(number, ticket)

    def _remembered(self) -> set[int]:
        """The numbers of what should be there, unless another process has delivered it."""
        with self._lock:
            return set(self._tickets)

    def _gone(self, number: int, ticket: Ticket) -> None:
        """Counts what is there no more: another process has told what became of it."""
        del number  # an outbox asks for it
        if ticket.hold_for is not None:
            ticket.settled_elsewhere(answer=answers_about([Waiting("", (None, None), ticket, 0)])[0])
        else:
            ticket.delivered()

    def _lose(self, rows: Sequence[Row], known: Mapping[str, Restorer]) -> None:
        for row in rows:
            ticket = self._tickets.pop(row.number, None) or _restored(row, known)
            if ticket is not None:
                ticket.lost(Reason.REGISTRY_ERROR if row.failure == Reason.REGISTRY_ERROR.value else Reason.TOO_OLD)
        if rows:
            with self._lock:
                self.dropped += len(rows)
            LOGGER.warning("%d messages in %s were older than keep_for, and are erased", len(rows), self._name)


def _restored(row: Row, known: Mapping[str, Restorer], *, is_held: bool = False) -> Ticket | None:
    """A ticket of a message that another process has written; None for one without, and of another project."""
    client = known.get(row.token or "")
    return None if client is None else client.restored(row.endpoint, Kept.of_json(row.kept), is_held=is_held)


def _work(reference: weakref.ref[Spool]) -> None:
    """Delivers for a spool as long as somebody holds it."""
    while (spool := reference()) is not None and spool.users and not has_ended():
        try:
            spool.work()
        except BaseException as error:  # noqa: BLE001 - a thread that ends would end delivery
            warn_rarely("%s failed, and is tried again: %s", spool._name, _told(error))  # noqa: SLF001 - the same file
            time.sleep(_LOOK)
        del spool
    if spool is not None:
        spool.leave()


def _told(error: BaseException) -> str:
    if (said := getattr(error, "says", None)) is not None:
        return str(said)
    return str(understood(error)) if isinstance(error, Exception) else type(error).__name__


def _left_of(row: Row, purposes: Collection[str] | None) -> str | bool:
    """What a withdrawal leaves of a message: True for all, False for nothing, or its JSON."""
    if row.token is None:
        return False
    kept = Kept.of_json(row.kept)
    # A message without a purpose only takes data away, and that is never discarded.
    if not any(purposes is None or each in purposes for each in kept.purposes):
        return True
    return kept.removal or False
