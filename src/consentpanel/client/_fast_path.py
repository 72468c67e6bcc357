"""The fast path of the usual messages: one person, now, none of the vendor's own names set by the caller.

What is known of all events of one name is looked up once. The policy is applied as the gate applies it; whatever else a
message holds, the answer is None and the gate judges it. Property tests hold this path to the gate's answer and to the
vendor's bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from json import encoder as _encoder
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import mixpanel

from consentpanel._consent.ids import MAX_ID_LENGTH, Purpose
from consentpanel._consent.standing import Standing
from consentpanel._gate.judge import MAX_PROPERTIES, shown_event
from consentpanel._log import note_failure
from consentpanel._messages.decision import Cause, Decision, Outcome, Reason
from consentpanel._messages.message import Message
from consentpanel._messages.shapes import is_insert_id
from consentpanel._messages.wire import MAX_BYTES, Wire
from consentpanel._mixpanel.names import DICT_OPERATORS, EVENT_STRUCTURE
from consentpanel.client._process import process
from consentpanel.client._ticket import Ticket
from consentpanel.policy._apply import Application, RefusedError
from consentpanel.policy._compile import Compiled
from consentpanel.policy._detect.detection import kind_in_name
from consentpanel.registry._lookup import standing_now

if TYPE_CHECKING:
    from consentpanel.client._reporter import Outlet, Reporter
    from consentpanel.client._settings import Settings
    from consentpanel.policy._secret import Keyed

_TEXT = frozenset({str})
_NUMBERS = frozenset({int, float})
_SCALARS = frozenset({str, int, float, bool, type(None)})
_VERSION = mixpanel.__version__
_BY_PATH = ("dropped", "changed", "detected")
_NOTHING: Mapping[str, Cause] = MappingProxyType({})
_REMEMBERED = 1024
#: A time beyond is none, and one that is not finite neither.
_LATEST = 1e15
_LONGEST_NAME = 128


class Client(Protocol):
    """The hooks of the vendor's client that the vendor's own code uses."""

    _token: Any
    _wire: Wire

    def _now(self) -> Any: ...
    def _make_insert_id(self) -> Any: ...


class Judge(Protocol):
    """The guard, as far as this path needs it."""

    reporter: Reporter

    def settings(self) -> Settings: ...
    def warn_of_ids(self, *subjects: str) -> None: ...


@attrs.frozen(eq=False)
class EventPlan:
    """What is known of every event of one name.

    Attributes:
        purpose: What it serves; None when the gate has to judge each one.
        rules: The rules that hold for it.
        keyed: The policy's keyed hash; None without a secret.
        shown: The name as decisions tell it.
        may_send: Whether this path may also send, not only turn away.
        decisions: Those in which no property was dropped or changed, by the person's standing.
    """

    purpose: Purpose | None
    rules: Compiled
    keyed: Keyed | None
    shown: str | None
    may_send: bool
    decisions: dict[Standing, Decision] = attrs.Factory(dict)

    @classmethod
    def of(cls, event: str, settings: Settings) -> EventPlan:
        """The plan of an event under the settings of a client."""
        policy, purposes = settings.policy, settings.purposes.of_event(event, "track")
        is_usual = settings.ask is not None and len(purposes) == 1 and policy.plans(event)
        return cls(
            purpose=purposes[0] if is_usual else None,
            rules=policy.compiled("events", event),
            keyed=policy.keyed,
            shown=shown_event(event),
            may_send=settings.may_take_fast_path and kind_in_name(event) is None,
        )

    def decision(self, standing: Standing, *, may_go: bool, applied: Application | None = None) -> Decision:
        """What is decided for somebody of this standing; one object for all in which nothing is dropped or changed."""
        if applied is None and (known := self.decisions.get(standing)) is not None:
            return known
        if not may_go:
            decision = self._decided(Outcome.DROPPED, Reason(standing.cause), standing)
        else:
            is_touched = applied is not None and bool(applied.dropped or applied.changed)
            reason = Reason.CONSENT_GRANTED if standing is Standing.GRANTED else Reason.NOT_DENIED
            more = {} if applied is None else {name: getattr(applied, name) for name in _BY_PATH}
            outcome = Outcome.REDACTED if is_touched else Outcome.SENT
            decision = self._decided(outcome, reason, _counted(standing), **more)
        if applied is None:
            self.decisions[standing] = decision
        return decision

    def refusal(self, reason: Reason, standing: Standing | None, dropped: Mapping[str, Cause] = _NOTHING) -> Decision:
        """What is decided when the policy, the size of what it leaves, or a failure forbids the message."""
        return self._decided(Outcome.DROPPED, reason, None if standing is None else _counted(standing), dropped=dropped)

    def _decided(self, outcome: Outcome, reason: Reason, standing: Standing | None, **more: Any) -> Decision:
        return Decision(
            outcome=outcome,
            reason=reason,
            endpoint="events",
            event=self.shown,
            purpose=self.purpose,
            status=None if standing is None else standing.status,
            **more,
        )


def _counted(standing: Standing) -> Standing:
    """A standing that lets a message pass, as decisions tell it: granted, or not objected to."""
    return standing if standing is Standing.GRANTED else Standing.NOT_RECORDED


class FastPath:
    """Judges and sends the usual messages of one client.

    Args:
        guard: Gives the settings, warns, and reports.
    """

    def __init__(self, guard: Judge) -> None:
        self._guard = guard
        self._settings: Settings | None = None

    def _current(self) -> Settings:
        settings = self._settings
        if settings is None or settings.generation != process.generation:
            settings = self._settings = self._guard.settings()
        return settings

    def event(
        self, client: Client, subject: str, event: str, properties: object, outlet: Outlet
    ) -> tuple[Decision | None, Standing | None]:
        """Drops or sends an event of which one person is surely the only one.

        Returns:
            The decision, or None when the gate has to judge; and the standing that was learnt on the way, or None.
        """
        settings = self._current()
        plan = settings.event_plans.get(event)
        if plan is None:
            plan = EventPlan.of(event, settings)
            if len(settings.event_plans) < _REMEMBERED and len(event) <= _LONGEST_NAME:
                settings.event_plans[event] = plan
        purpose, ask = plan.purpose, settings.ask
        if purpose is None or ask is None or len(subject) > MAX_ID_LENGTH or subject.isspace():
            return None, None
        if properties is not None and (type(properties) is not dict or not EVENT_STRUCTURE.isdisjoint(properties)):
            return None, None
        if "@" in subject or subject[0] == "+":
            self._guard.warn_of_ids(subject)
        standing = standing_now(ask, subject, purpose)
        if standing not in settings.allowing:
            return self._guard.reporter.settle(plan.decision(standing, may_go=False), settings, outlet), standing
        if not plan.may_send:
            return None, standing
        return self._sent(client, plan, standing, subject, event, properties, settings, outlet), standing

    def _sent(
        self,
        client: Client,
        plan: EventPlan,
        standing: Standing,
        subject: str,
        event: str,
        properties: dict[Any, Any] | None,
        settings: Settings,
        outlet: Outlet,
    ) -> Decision | None:
        """Sends what the policy leaves of an event that may be sent; None when the gate has to judge."""
        is_plain = not properties or _is_plain(properties, plan.rules)
        if not is_plain and (settings.policy.binds_purposes or not _TEXT.issuperset(map(type, properties or ()))):
            return None
        names = _names(client, subject)
        if names is None:
            return None
        refused: Decision | None = None
        applied: Application | None = None
        left = properties
        if not is_plain:
            applied = Application(Message("events", {}, client._wire, persons=(subject,)), plan.keyed)  # noqa: SLF001 - ours
            try:
                # A copy, as the vendor's client takes one: the caller's dict may change meanwhile.
                left = applied.properties(dict(properties or {}), plan.rules.tree)
            except RefusedError as error:
                refused = plan.refusal(Reason.REFUSED_BY_POLICY, standing, {str(error): error.cause})
            except Exception as error:  # noqa: BLE001 - a value is of the user's class
                note_failure("judging a message", error)
                refused = plan.refusal(Reason.INVALID_MESSAGE, None)
        text = _text_of(event, names, left) if refused is None else None
        if text is not None:
            decision = plan.decision(standing, may_go=True, applied=applied)
            return self._send("events", text, decision, subject, settings, outlet)
        if applied is None:
            return None
        # Final, and not asked of the gate once more: a generator among the values can be read once.
        decision = plan.refusal(Reason.TOO_LARGE, standing) if refused is None else refused
        return self._guard.reporter.settle(decision, settings, outlet)

    def update(self, client: Client, message: dict[Any, Any], outlet: Outlet) -> Decision | None:
        """Sends a profile update that needs no gate; None when it does."""
        settings = self._current()
        ask = settings.ask
        if not settings.may_take_fast_path or ask is None or not settings.purposes.is_default:
            return None
        found = _update_text(client, message, settings.policy.compiled("people"))
        if found is None:
            return None
        subject, text = found
        if len(subject) > MAX_ID_LENGTH or subject.isspace():
            return None
        if standing_now(ask, subject, Purpose.PROFILES) is not Standing.GRANTED:
            return None
        return self._send("people", text, _UPDATED, subject, settings, outlet)

    def _send(
        self, endpoint: str, text: str, decision: Decision, subject: str, settings: Settings, outlet: Outlet
    ) -> Decision:
        purposes = () if decision.purpose is None else (decision.purpose,)
        reporter = self._guard.reporter
        ticket = Ticket(outlet, settings, reporter, endpoint, decision.event, (subject,), (), purposes)
        try:
            outlet.deliver(endpoint, text, None, ticket)
        except BaseException:
            reporter.raised(ticket, decision)
            raise
        return reporter.answer(ticket, decision)


_UPDATED = Decision(
    outcome=Outcome.SENT,
    reason=Reason.CONSENT_GRANTED,
    endpoint="people",
    purpose=Purpose.PROFILES,
    status=Standing.GRANTED.status,
)


def _names(client: Client, subject: str) -> dict[str, Any] | None:
    """The names that the vendor's client writes into an event before its properties; None when a hook is unusual."""
    token, present, insert_id = client._token, client._now(), client._make_insert_id()  # noqa: SLF001 - the vendor's hooks
    is_usual = type(token) is str and type(present) in _NUMBERS and -_LATEST < present < _LATEST
    if not is_usual or not is_insert_id(insert_id, (subject,)):
        return None
    return {
        "token": token,
        "distinct_id": subject,
        "time": present,
        "$insert_id": insert_id,
        "mp_lib": "python",
        "$lib_version": _VERSION,
    }


def _text_of(event: str, names: dict[str, Any], properties: Mapping[str, Any] | None) -> str | None:
    """The JSON that the vendor's client would write of an event; None when it takes no such value, or none so large."""
    if properties:
        names.update(properties)
    return _written({"event": event, "properties": names}) if len(names) <= MAX_PROPERTIES else None


def _update_text(client: Client, message: dict[Any, Any], rules: Compiled) -> tuple[str, str] | None:
    """The person and the JSON of a profile update that needs no gate, or None.

    Args:
        client: Whose update it is.
        message: The update: a ``$distinct_id`` and one operator.
        rules: The rules for profiles.
    """
    if len(message) != 2 or "$distinct_id" not in message:
        return None
    subject = message["$distinct_id"]
    operator = next(reversed(message))
    properties = message[operator]
    token, present = client._token, client._now()  # noqa: SLF001 - the vendor's hooks
    if (
        type(subject) is type(token) is str
        and subject
        and operator in DICT_OPERATORS
        and type(present) in _NUMBERS
        and type(properties) is dict
        and properties
        and _is_plain(properties, rules)
        and _TEXT.issuperset(map(type, message))
    ):
        text = _written({"$token": token, "$time": present, **message})
        return None if text is None else (subject, text)
    return None


def _is_plain(properties: dict[Any, Any], rules: Compiled) -> bool:
    """Whether all properties are sent as they are."""
    detection = rules.detection
    return (
        len(properties) <= MAX_PROPERTIES
        and rules.plain.issuperset(properties)
        # A str subclass can be equal to one text and be written as another.
        and _TEXT.issuperset(map(type, properties))
        and _SCALARS.issuperset(map(type, properties.values()))
        and (detection is None or detection.are_clean(properties.values()))
    )


def _written(record: dict[Any, Any]) -> str | None:
    try:
        text = _encode(record)
    except ValueError:  # NaN, an infinity or an int of thousands of digits: the gate says what becomes of it
        return None
    return text if len(text) < MAX_BYTES else None


def _encoder_of_strict_json() -> Callable[[Any], str]:
    # The standard library builds its C encoder anew for each text; one built once writes the same.
    build = getattr(_encoder, "c_make_encoder", None)
    if build is None:
        return json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False).encode
    refuse = json.JSONEncoder().default
    sort_keys = skip_keys = allow_nan = False
    write = build(None, refuse, _encoder.encode_basestring_ascii, None, ":", ",", sort_keys, skip_keys, allow_nan)

    def encode(record: Any) -> str:
        return "".join(write(record, 0))

    return encode


_encode = _encoder_of_strict_json()
