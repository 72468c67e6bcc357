"""A vendor for tests: takes what the vendor would take, keeps it decoded, and answers assertions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from consentpanel._messages.decision import Decision, Reason
from consentpanel._mixpanel import vendor
from consentpanel.testing import _assertions
from consentpanel.testing._lending import lending
from consentpanel.testing._personal import personal_places
from consentpanel.testing._sent import EVENT_ENDPOINTS, SentMessage, received
from consentpanel.transport._holding import MOST_HELD, Held, Holding
from consentpanel.transport._ticket import Ticket, ticket_of
from consentpanel.transport._waiting import waiting_message


class FakeTransport:
    """A consumer that keeps what it is sent, for tests.

    It refuses what the vendor would refuse, with the vendor's exception: a message of 1 MB (1,048,576 bytes) or
    more, 255 properties or more, no token, an unknown endpoint, what is not JSON. A batch is taken apart into its
    messages; one that holds a message to refuse is refused whole. Many threads may share one transport.

    Of each message it asks the client's registry and regime once more, in a thread of its own, as `BackgroundConsumer` does
    before it sends. Where they fail there, because they need what the call had, the message is dropped with ``registry_error``
    and the log names the remedy: a test then shows what an application would lose.

    Args:
        asks_again: Whether it does that.

    Example:
        >>> from consentpanel import FieldPolicy, Mixpanel
        >>> from consentpanel.registry import MemoryRegistry
        >>> registry, vendor = MemoryRegistry(), FakeTransport()
        >>> registry.grant("user-1")
        >>> mp = Mixpanel("TOKEN", vendor, registry=registry, policy=FieldPolicy.keep_all())
        >>> decision = mp.track("user-1", "Signed up", {"plan": "pro"})
        >>> message = vendor.assert_tracked("Signed up", distinct_id="user-1", properties={"plan": "pro"})
        >>> message.endpoint
        'events'
        >>> vendor.assert_nothing_sent("user-2")
    """

    def __init__(self, *, asks_again: bool = True) -> None:
        self._asks_again = asks_again
        self._lock = threading.RLock()
        self._holding = Holding(self._lock, MOST_HELD)
        #: Of what waits for a commit: whether that is over, asked before messages are looked at.
        self._uncommitted: list[Callable[[], bool]] = []
        self._messages: list[SentMessage] = []
        self._decisions: list[Decision] = []
        self._failures: int | None = 0
        self._error: BaseException | type[BaseException] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} messages={len(self.messages)} decisions={len(self.decisions)}>"

    def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None:
        """Keep a message, or each message of a batch; the vendor's consumers have this method.

        Args:
            endpoint: ``"events"``, ``"people"``, ``"groups"`` or ``"imports"``.
            json_message: A record, or a list of up to 2,000 records, as JSON.
            api_key: Accepted and not kept: it is a secret.
            api_secret: Likewise.

        Raises:
            MixpanelException: The vendor would refuse it, or `fail` asked for it. Nothing is then kept.
        """
        del api_key, api_secret
        error = self._next_failure()
        if error is not None:
            raise error
        messages = received(endpoint, json_message)
        ticket = ticket_of(json_message)
        if ticket is not None and ticket.hold_for is not None:
            self._holding.add(endpoint, waiting_message(endpoint, json_message, None, None))
            return
        ticket = ticket if self._asks_again else None
        if ticket is not None and ticket.purposes and _fails_elsewhere(ticket):
            ticket.lost(Reason.REGISTRY_ERROR)
            return
        with self._lock:
            self._messages += messages

    #: Tells a client that what may not leave yet is kept back here: not by what a subclass, or a test, puts in the place of `send`.
    holds_back = send

    def look_at_held(self, subject_id: object = None) -> None:
        """Take what people have agreed to by now of what is held for them; for clients, and before messages are looked at.

        Args:
            subject_id: Whose; everybody's when left out. All are looked at in either case.
        """
        del subject_id
        with self._lock:
            asked, self._uncommitted = self._uncommitted, []
        left = [each for each in asked if not each()]
        with self._lock:
            self._uncommitted = left + self._uncommitted
        self._holding.look(self._take)

    def await_commit(self, is_over: Callable[[], bool]) -> None:
        """Ask of something that an outbox has in a transaction, before messages are looked at; for clients.

        Args:
            is_over: Sends it where the transaction has ended by now; whether there is nothing more to ask.
        """
        with self._lock:
            self._uncommitted.append(is_over)

    def _take(self, held: Held) -> None:
        self._messages += received(held.endpoint, held.message.json_message)

    def observe(self, decision: Decision) -> None:
        """Keep a `Decision`; the client tells each one that it makes."""
        with self._lock:
            self._decisions.append(decision)

    def fail(self, *, times: int | None = 1, error: BaseException | type[BaseException] | None = None) -> None:
        """Make the next calls of `send` fail, as they do when the network or the vendor is down.

        Args:
            times: How many calls fail; None for all of them until `clear`.
            error: What is raised; a `MixpanelException` when left out.

        Raises:
            ValueError: `times` is negative.

        Example:
            >>> vendor = FakeTransport()
            >>> vendor.fail(error=OSError("no network"))
            >>> vendor.send("events", "{}")
            Traceback (most recent call last):
            OSError: no network
        """
        if times is not None and times < 0:
            raise ValueError(f"times must be 0 or more, or None, not {times}")
        with self._lock:
            self._failures, self._error = times, error

    def clear(self) -> None:
        """Forget all messages and decisions, and the failures asked for."""
        with self._lock:
            self._messages, self._decisions = [], []
            self._holding.forget()
            self._uncommitted = []
            self._failures, self._error = 0, None

    @property
    def messages(self) -> list[SentMessage]:
        """All messages, in the order of arrival."""
        self.look_at_held()
        with self._lock:
            return list(self._messages)

    @property
    def events(self) -> list[SentMessage]:
        """The messages to the endpoint for events."""
        return self._to("events")

    @property
    def people(self) -> list[SentMessage]:
        """The updates of user profiles."""
        return self._to("people")

    @property
    def groups(self) -> list[SentMessage]:
        """The updates of group profiles."""
        return self._to("groups")

    @property
    def imports(self) -> list[SentMessage]:
        """The messages to the endpoint for events of the past, and merges."""
        return self._to("imports")

    @property
    def decisions(self) -> list[Decision]:
        """Each `Decision` of the clients that write here, in order."""
        self.look_at_held()
        with self._lock:
            return list(self._decisions)

    @property
    def dropped(self) -> list[Decision]:
        """The decisions by which a message was not sent."""
        return [decision for decision in self.decisions if not decision]

    def assert_tracked(
        self, event: str, distinct_id: object = None, properties: Mapping[str, Any] | None = None
    ) -> SentMessage:
        """Check that an event was sent, as an event or as an import.

        Args:
            event: The name of the event.
            distinct_id: The id it must carry; None for any.
            properties: Properties it must have; it may have more.

        Returns:
            The first message that matches.

        Raises:
            AssertionError: None matches. The text tells how those of that name differ.
        """
        __tracebackhide__ = True
        found, differences = _assertions.search(self._events_named(event), distinct_id, properties)
        if found is not None:
            return found
        dropped = (decision for decision in self.dropped if decision.event == event)
        raise _assertions.missing(f"event {event!r}", differences, self.messages, dropped, len(self._uncommitted))

    def assert_not_tracked(
        self, event: str, distinct_id: object = None, properties: Mapping[str, Any] | None = None
    ) -> None:
        """Check that no event was sent that `assert_tracked` would find with these arguments.

        Raises:
            AssertionError: There is one.
        """
        __tracebackhide__ = True
        found, _ = _assertions.search(self._events_named(event), distinct_id, properties)
        if found is not None:
            raise AssertionError(f"event {event!r} was sent to the endpoint {found.endpoint!r}")

    def assert_people_set(self, distinct_id: object, properties: Mapping[str, Any]) -> SentMessage:
        """Check that properties of a user profile were set, by one update with ``$set``.

        Args:
            distinct_id: The id of the profile.
            properties: Properties that must be set; the update may set more.

        Returns:
            The first message that matches.

        Raises:
            AssertionError: None matches. The text tells how the updates differ.
        """
        __tracebackhide__ = True
        updates = [message for message in self.people if "$set" in message.properties]
        found, differences = _assertions.search(updates, distinct_id, properties, operator="$set")
        if found is not None:
            return found
        dropped = (decision for decision in self.dropped if decision.endpoint == "people")
        waiting = len(self._uncommitted)
        raise _assertions.missing("$set of a user profile", differences, self.messages, dropped, waiting)

    def assert_nothing_sent(self, subject_id: object = None) -> None:
        """Check that nothing was sent, or nothing that names a person.

        Args:
            subject_id: The person: a message names it by an id of its own, or by any text equal to the id. None
                for nothing at all.

        Raises:
            AssertionError: Something was sent. The text tells where the id stands.
        """
        __tracebackhide__ = True
        messages = self.messages
        if subject_id is None:
            if messages:
                raise AssertionError(f"{len(messages)} sent, none expected: {_assertions.sent_summary(messages)}")
            return
        if places := _assertions.places_of(messages, subject_id):
            raise AssertionError("\n  ".join(["the person is named in what was sent:", *places]))

    def assert_no_personal_data(self) -> None:
        """Check that no message holds what looks like personal data.

        That is: a property that the vendor reserves for personal data (``$email``, ``$name``, ``ip`` ...), and any
        text in which an e-mail address, a telephone number or an IP address stands. It finds what has a known form;
        that it finds nothing is no proof.

        Raises:
            AssertionError: Something was found. The text tells the place and the kind, never the value.
        """
        __tracebackhide__ = True
        if places := personal_places(self.messages):
            raise AssertionError("\n  ".join(["personal data was sent:", *places]))

    def _to(self, endpoint: str) -> list[SentMessage]:
        return [message for message in self.messages if message.endpoint == endpoint]

    def _events_named(self, event: str) -> list[SentMessage]:
        return [message for message in self.messages if message.endpoint in EVENT_ENDPOINTS and message.event == event]

    def _next_failure(self) -> BaseException | type[BaseException] | None:
        with self._lock:
            if self._failures == 0:
                return None
            if self._failures is not None:
                self._failures -= 1
            return self._error or vendor.MixpanelException("FakeTransport.fail() asked for this failure")


def _fails_elsewhere(ticket: Ticket) -> bool:
    """Whether the registry or the regime cannot be asked in another thread."""
    registry = getattr(getattr(ticket, "settings", None), "registry", None)
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        if hasattr(type(registry), "asked_of"):
            # Its answers are awaited in the loop of this very thread, which cannot wait for them.
            return False
    answers: list[bool | None] = []
    lent = lending()

    def ask() -> None:
        with lent():
            answers.extend(ticket.ask_again([ticket]))

    thread = threading.Thread(target=ask, name="consentpanel-again")
    thread.start()
    thread.join()
    return answers == [None]
