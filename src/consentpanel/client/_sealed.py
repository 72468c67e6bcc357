"""The sealed transport: the only way from a client to a consumer leads through the gate."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, ItemsView, Iterable, KeysView, Mapping, Sequence, ValuesView
from contextlib import nullcontext, suppress
from functools import partial
from inspect import getattr_static, isfunction
from typing import Any, NoReturn

from consentpanel._checks import NO_HOST
from consentpanel._log import note_failure, warn_once
from consentpanel._messages.decision import Decision, Reason
from consentpanel._messages.message import ENDPOINTS, Captured, take_apart
from consentpanel._messages.shapes import DefaultOf
from consentpanel._messages.wire import Wire, parsed
from consentpanel._mixpanel.hosts import is_odd
from consentpanel.client._guard import Guard
from consentpanel.client._process import process
from consentpanel.client._reporter import Reported
from consentpanel.client._settings import Observer
from consentpanel.client._ticket import Restorer
from consentpanel.errors import ConfigurationError
from consentpanel.transport._failures import stripped
from consentpanel.transport._http import (
    DEEPEST,
    arguments_of,
    refuse_coroutine,
    refuse_later,
    senders_in,
)
from consentpanel.transport._redirects import KEPT_TO_ITS_HOST
from consentpanel.transport._ticket import JudgedText, Ticket, handing_over

_OTHER_BUFFER = (
    "%s cannot ask for consent again when it is flushed: "
    "use consentpanel.BufferedConsumer, or what was buffered is sent even after a withdrawal"
)
_CONTROLS = frozenset({"flush", "close", "purge", "shutdown"})
#: Where a mock keeps what reached it.
_BOOKS = frozenset("called call_count call_args call_args_list mock_calls method_calls reset_mock".split())
_CONTAINERS = (Mapping, list, tuple, set, frozenset, deque, KeysView, ValuesView, ItemsView)


class SealedTransport:
    """Wraps a consumer. What the gate judged goes through; anything else is parsed and judged here, or refused.

    A vendor method that consentpanel does not know, or code that calls ``client._consumer.send(...)`` by hand, ends in
    `send` here. To code that looks at the consumer, the seal passes for it: attributes that hold data can be read, any can
    be set, a mock can be asked what reached it, and ``flush``, ``close``, ``purge`` and ``shutdown`` called; nothing that
    could send can be reached, and what a buffer sends with is sealed as well.

    A seal that stands where a consumer is wanted is opened first, so that a message is judged once.

    Args:
        consumer: Any object with a vendor-like ``send``.
        guard: The guard of the client.
        default_of: Gives what the vendor's client writes for a structural name.

    Raises:
        ConfigurationError: The consumer has no ``send`` that takes an endpoint and a message.
    """

    def __init__(self, consumer: Any, guard: Guard, default_of: DefaultOf) -> None:
        consumer = _opened(consumer)
        self.__arguments = _checked_arguments_of(consumer, getattr(consumer, "send", None))
        self.__consumer = consumer
        self.__guard = guard
        self.__default_of = default_of
        self.__wire = Wire()
        # A mock has every attribute, and notes each question.
        self.sends_by_itself = getattr(consumer, "sends_by_itself", False) is not False
        """Whether nobody has to wait for a flush."""
        self.observes = hasattr(type(consumer), "observe")
        """Whether the consumer wants to know of decisions."""
        self.watched_by: Sequence[Observer] = ()
        """The observers that know where messages wait."""
        self.__keeps = getattr(consumer, "judges_again", False) is True
        self.__is_other_buffer = hasattr(type(consumer), "flush") and not self.__keeps
        if self.__is_other_buffer:
            warn_once(_OTHER_BUFFER % _name_of(type(consumer)))
        # Of a consumer that hands on what it gets.
        self.__inner_buffers: list[Any] = [each for each in senders_in(consumer)[1:] if _is_our_buffer(each)]
        # One of ours or of the vendor's hands on no other text than it gets.
        self.__is_plain = type(consumer).__module__.partition(".")[0] in {"consentpanel", "mixpanel"}
        for each in self.own_spools:
            # It goes on with what other processes have written for this project; in a test nobody does.
            each.attach(self, looks=process.outbox is None)
        if any(map(is_odd, self.addresses)):
            raise ConfigurationError(NO_HOST)

    @property
    def keeps(self) -> bool:
        """Whether the consumer may keep a message for later, and tells its ticket what becomes of it."""
        return self.__keeps and process.outbox is None

    @property
    def holds(self) -> bool:
        """Whether the consumer keeps back what has a ticket with `hold_for`."""
        consumer = self.__consumer if process.outbox is None else process.outbox
        # With its own method: what sends in its place may send at once.
        kind = type(consumer)
        is_own = getattr(kind, "holds_back", None) is getattr(kind, "send", ...)
        return is_own and "send" not in getattr(consumer, "__dict__", {})

    @property
    def takes_at_once(self) -> bool:
        """Whether a message is handed over without waiting: to a queue of ours that has room."""
        if process.outbox is not None:
            # It asks again, which takes its time.
            return False
        known = vars(type(self.__consumer))
        is_own = "has_room" in known and "send" in known and "send" not in vars(self.__consumer)
        return is_own and self.__consumer.has_room is True

    def pin(self) -> Callable[[Callable[[], Any]], Callable[[], Any]] | None:
        """Makes of an act what another thread can do for this caller, in whose transaction an outbox then keeps a message."""
        for each in self.own_spools[:1]:
            found: Callable[[Callable[[], Any]], Callable[[], Any]] = each.pin()
            return found
        return None

    def release(self, subject_id: object) -> None:
        """Has the consumer look at once whether what it holds for a person may leave."""
        look = getattr(self.__consumer, "look_at_held", None)
        if process.outbox is None and self.holds and callable(look):
            self.__call(look, subject_id)

    @property
    def own_spools(self) -> list[Any]:
        """The consumers among those inside that keep messages for other processes."""
        return [each for each in senders_in(self.__consumer) if getattr(each, "keeps_for_others", False) is True]

    @property
    def own_restorer(self) -> Restorer:
        """The client, to a spool."""
        return Restorer(self.__guard, self)

    @property
    def own_token(self) -> str:
        """The token of the client's project."""
        return str(self.__default_of("token"))

    def deliver(
        self,
        endpoint: str,
        text: str,
        credentials: object,
        ticket: Ticket,
        send: Callable[..., object] | None = None,
    ) -> None:
        """Hands a message that the gate let through to the consumer; raises what it raises, as `stripped` leaves it.

        Args:
            endpoint: Where it goes.
            text: Its JSON.
            credentials: As the vendor's client hands them over; None for none.
            ticket: Its ticket.
            send: The consumer's method, where a caller holds it: somebody may have put a spy over it since.
        """
        if not isinstance(ticket, Reported):
            raise TypeError("what is delivered needs the ticket of a message that was judged")
        judged = JudgedText(text)
        judged.ticket = ticket
        outbox = process.outbox
        failure: Exception | None = None
        try:
            if outbox is not None:
                self.__hand_to_test(lambda: outbox.send(endpoint, judged), ticket)
            elif self.__is_plain and not ticket.hold_for:
                self.__send(endpoint, judged, credentials, send or self.__consumer.send)
            else:
                with handing_over(ticket):
                    self.__send(endpoint, judged, credentials, send or self.__consumer.send)
        except Exception as error:  # noqa: BLE001 - any consumer may stand here
            # A buffer sends other messages with this one.
            failure = self.__stripped(error, None if outbox is None and self.__is_other_buffer else text)
        # Outside of the handler, so that the consumer's error is not the context of this one.
        if failure is not None:
            raise failure

    def __hand_to_test(self, send: Callable[[], None], ticket: Ticket) -> None:
        # What an outbox has sent once the caller's transaction has committed a test is sent then too.
        for spool in self.own_spools[:1]:
            is_over = spool.await_commit(send, ticket.lost)
            if is_over is not None and hasattr(type(process.outbox), "await_commit"):
                process.outbox.await_commit(is_over)
            return
        send()

    def __send(self, endpoint: str, text: JudgedText, credentials: object, send: Callable[..., object]) -> None:
        # Our buffers see to it themselves, when a batch leaves.
        with _AS_IT_IS if self.__keeps and self.__is_plain else KEPT_TO_ITS_HOST:
            if credentials is None or self.__arguments < 3:
                refuse_later(send(endpoint, text))
            else:
                refuse_later(send(endpoint, text, credentials))

    def __stripped(self, error: Exception, said: str | None) -> Exception:
        if self.keeps and type(self.__consumer).__module__.partition(".")[0] == "consentpanel":
            # Our buffers' own, which hold nothing.
            return error
        note_failure("consumer", error)
        return stripped(error, said)

    def __call(self, method: Callable[..., Any], *arguments: object, **keywords: object) -> Any:
        try:
            with KEPT_TO_ITS_HOST:
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

    def be_watched(self, observers: Sequence[Observer]) -> None:
        """Shows observers that want to know where messages wait."""
        self.watched_by = observers
        senders: list[Any] = senders_in(self.__consumer)
        queues = [each.own_queue for each in senders if hasattr(type(each), "own_queue")]
        watching: list[Any] = [each for each in observers if hasattr(type(each), "watch")]
        for observer in watching:
            try:
                for queue in queues:
                    observer.watch(queue)
            except Exception as error:  # noqa: BLE001 - an observer of the user's that raises is logged and ignored
                note_failure("observer", error)

    def control(self, *names: str) -> None:
        """Calls the first of the methods that the consumer has, such as ``flush``; none when it has none of them."""
        if process.outbox is not None:
            return
        for name in names:
            method = getattr(self.__consumer, name, None)
            if callable(method):
                self.__call(method)
                return

    def purge(self, subject_id: object, purposes: Collection[str] | None = None) -> int:
        """Discards what waits for a person on purposes; how many messages. 0 for a consumer that cannot.

        Of a buffer of somebody else's, which knows no purposes, all that waits for the person.
        """
        method: Any = getattr(self.__consumer, "purge", None)
        client = self.own_restorer
        if not callable(method):
            return sum(_purger_of(each, client)(subject_id, purposes) for each in self.__inner_buffers)
        method = _purger_of(self.__consumer, client)
        found = self.__call(method, subject_id, purposes) if self.__keeps else self.__call(method, subject_id)
        return found if isinstance(found, int) else 0

    @property
    def send(self) -> Callable[..., Decision | None]:
        """The consumer's ``send`` behind the gate: a call is judged as `judge` says."""
        method = self.__consumer.send
        return Method(partial(self.judge, _send=method), method)

    def judge(
        self,
        endpoint: str,
        json_message: str | bytes,
        api_key: object = None,
        api_secret: object = None,
        *,
        _send: Callable[..., object] | None = None,
    ) -> Decision | None:
        """Judges what came by a way that the gate did not see, and sends what may be sent.

        Args:
            endpoint: ``"events"``, ``"people"``, ``"groups"`` or ``"imports"``.
            json_message: One record, as JSON. Anything else than an object is refused, and a key that stands twice.
            api_key: As the vendor's consumers take it; may be a tuple of key and secret.
            api_secret: As the vendor's consumers take it.

        Returns:
            The decision; None for a message that a client has judged and a consumer of the user's hands on.

        Raises:
            mixpanel.MixpanelException: As the consumer raises it.
            MessageError: Something failed and the client was built with ``on_error="raise"``.
        """
        if not isinstance(endpoint, str) or endpoint not in ENDPOINTS:
            return self.__guard.refuse(endpoint, Reason.UNKNOWN_ENDPOINT, self)
        credentials = api_key
        if api_secret is not None and not isinstance(api_key, tuple):
            credentials = (api_key, api_secret)
        if type(json_message) is JudgedText:
            ticket = json_message.ticket
            # The consumer that hands it on may have kept it for a while.
            if ticket.ask_again([ticket]) == [True]:
                self.deliver(endpoint, json_message, credentials, ticket, _send)
            else:
                ticket.discarded()
            return None
        record = parsed(json_message) if isinstance(json_message, (str, bytes, bytearray)) else None
        if record is None:
            return self.__guard.refuse(endpoint, Reason.INVALID_MESSAGE, self)
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

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        # For `isinstance` in existing code; `type()` tells the truth.
        found: type[Any] = self.__consumer.__class__
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("__", _OWN)):
            raise AttributeError(name)
        if name == "_consumer" and callable(getattr(inner := self.__consumer._consumer, "send", None)):
            return SealedTransport(inner, self.__guard, self.__default_of)
        if name in _CONTROLS and callable(method := getattr(self.__consumer, name)):
            return Method(partial(self.__call, method), method)
        return _shown(self.__consumer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith(_OWN) or name in {"sends_by_itself", "observes", "watched_by"}:
            object.__setattr__(self, name, value)
            return
        value = _opened(value)
        if name == "send":
            self.__arguments = _checked_arguments_of(self.__consumer, value)
        setattr(self.__consumer, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.__consumer, name)

    def __reduce__(self) -> NoReturn:
        raise TypeError("the consumer of a client cannot be pickled or copied: build both in the worker")

    def __repr__(self) -> str:
        return f"<SealedTransport to {type(self.__consumer).__name__}>"


class Method:
    """A method of the consumer as the seal gives it: a mock can be asked what reached it, and told what to answer.

    Args:
        call: What a call does instead.
        method: The consumer's own.
    """

    __slots__ = ("__call", "__method")

    __call: Callable[..., Any]
    __method: Any

    def __init__(self, call: Callable[..., Any], method: Any) -> None:
        object.__setattr__(self, "_Method__call", call)
        object.__setattr__(self, "_Method__method", method)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.__call(*arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _shown(self.__method, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__method, name, value)


_AS_IT_IS = nullcontext()
#: How Python spells the private attributes of a seal.
_OWN = "_SealedTransport__"


def _opened(thing: Any) -> Any:
    """What a seal holds, so that a message is judged once, by the client whose call it is; anything else as it is."""
    if type(thing) is SealedTransport:
        return thing._SealedTransport__consumer
    if type(thing) is Method:
        return thing._Method__method
    inner = getattr(thing, "_consumer", None)
    if type(inner) is SealedTransport:
        # A buffer hands on batches, and those nobody could judge.
        with suppress(AttributeError):
            thing._consumer = _opened(inner)
    return thing


def _shown(thing: Any, name: str) -> Any:
    """An attribute of a consumer, unless it could send."""
    value = getattr(thing, name)
    if name == "_buffers" and isinstance(value, Mapping):
        # A copy: what somebody puts into it nobody would have judged.
        return {endpoint: list(waiting) for endpoint, waiting in value.items()}
    if name in _BOOKS or name.startswith("assert_") or not _could_send(value, DEEPEST):
        return value
    raise AttributeError(f"{name} is sealed: what is sent goes through the consent gate")


def _could_send(value: object, depth: int) -> bool:
    if callable(value) or hasattr(value, "send"):
        return True
    if not depth:
        return False
    inside: Iterable[object] = (*value, *value.values()) if isinstance(value, Mapping) else ()
    if isinstance(value, _CONTAINERS) and not isinstance(value, Mapping):
        inside = tuple(value)
    elif not isinstance(value, _CONTAINERS):
        inside = tuple(getattr(value, "__dict__", {}).values())
    return any(_could_send(each, depth - 1) for each in inside)


def _is_our_buffer(consumer: Any) -> bool:
    return getattr(consumer, "judges_again", False) is True and hasattr(type(consumer), "purge")


def _purger_of(consumer: Any, client: Restorer) -> Callable[..., Any]:
    """How a consumer discards what waits for a person: where it tells clients apart, of this one's project and registry."""
    own: Any = getattr(type(consumer), "purge", None)
    if getattr(own, "__module__", "").startswith("consentpanel.transport."):
        return partial(consumer.purge_of, client)
    purge: Callable[..., Any] = consumer.purge
    return purge


def _name_of(kind: type) -> str:
    module = kind.__module__.partition(".")[0]
    return kind.__name__ if module in {"builtins", "__main__"} else f"{module}.{kind.__name__}"


def _checked_arguments_of(consumer: Any, send: Any) -> int:
    """As `arguments_of`, of what can be a consumer."""
    if isinstance(consumer, type) and isfunction(getattr_static(consumer, "send", None)):
        raise ConfigurationError(f"consumer must be a consumer, not the class {consumer.__name__}: call it")
    if not callable(send):
        raise ConfigurationError(
            f"consumer must have a method send(endpoint, json_message); {type(consumer).__name__} has none"
        )
    refuse_coroutine(consumer, send)
    count = arguments_of(send)
    if count < 2:
        raise ConfigurationError("consumer.send must take an endpoint and a message")
    return count
