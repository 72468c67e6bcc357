"""The fast path of the usual messages: one person, now, none of the vendor's own names set by the caller.

What is known of all events of one name is looked up once. The policy is applied as the gate applies it; whatever else a
message holds, the answer is None and the gate judges it. Property tests hold this path to the gate's answer and to the
vendor's bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from json import encoder as _encoder
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from consentpanel._consent.ids import MAX_ID_LENGTH, Purpose, joined
from consentpanel._consent.standing import Standing
from consentpanel._log import note_failure
from consentpanel._messages.decision import Cause, Decision, Outcome, Reason
from consentpanel._messages.message import MAX_ITEMS, Message
from consentpanel._messages.shapes import is_insert_id
from consentpanel._messages.wire import MAX_BYTES, Wire
from consentpanel._mixpanel import vendor
from consentpanel._mixpanel.names import DICT_OPERATORS, IDS
from consentpanel._mixpanel.structure import PROPERTIES, STRUCTURE
from consentpanel.client._process import process
from consentpanel.client._ticket import Ticket
from consentpanel.policy._apply import Application, RefusedError
from consentpanel.policy._compile import Compiled
from consentpanel.policy._detect.detection import kind_in_name, shown_name
from consentpanel.policy._detect.ids import Ids
from consentpanel.policy._detect.normalize import forms
from consentpanel.registry._lookup import standing_of_one

if TYPE_CHECKING:
    from consentpanel._consent.secret import Keyed
    from consentpanel.client._reporter import Outlet, Reporter
    from consentpanel.client._settings import Settings

_TEXT = frozenset({str})
_NUMBERS = frozenset({int, float})
_SCALARS = frozenset({str, int, float, bool, type(None)})
_BY_PATH = ("dropped", "changed", "detected")
_NOTHING: Mapping[str, Cause] = MappingProxyType({})
_REMEMBERED = 1024
#: A time beyond is none, and one that is not finite neither.
_LATEST = 1e15
_LONGEST_NAME = 128
_EVENT_STRUCTURE = frozenset(STRUCTURE["events"][PROPERTIES])
#: An ``$insert_id`` as the client makes it, in which no detector finds anything, and a letter that stands in none.
_HEXADECIMAL = re.compile(r"[0-9a-f]{32}")
_NO_HEXADECIMAL = re.compile(r"[^\W\d_a-fA-F]")
#: In a name, what may be an id in another spelling: a UUID with or without its hyphens, a space as a form writes it.
_OTHER_SPELLING = re.compile(r"[0-9A-Fa-f-]{32}|[+%]")


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
        lowered: The name in small letters, when an id can stand in it in no other form than its own; None otherwise.
        may_send: Whether this path may also send, not only turn away.
        decisions: Those in which no property was dropped or changed, by the person's standing.
    """

    purpose: Purpose | None
    rules: Compiled
    keyed: Keyed | None
    shown: str | None
    lowered: str | None
    may_send: bool
    decisions: dict[Standing, Decision] = attrs.Factory(dict)

    @classmethod
    def of(cls, event: str, settings: Settings) -> EventPlan:
        """The plan of an event under the settings of a client."""
        policy, purposes = settings.policy, settings.purposes.of_event(event, "track")
        rules = policy.compiled("events", event)
        is_usual = settings.asks_one and len(purposes) == 1 and policy.plans(event)
        return cls(
            purpose=purposes[0] if is_usual else None,
            rules=rules,
            keyed=policy.keyed,
            shown=shown_name(event, own=rules.detection),
            lowered=None if forms(event)[0] or _OTHER_SPELLING.search(event) else event.lower(),
            may_send=settings.may_take_fast_path and kind_in_name(event) is None and not rules.id_paths,
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


def _standing_of(subject: str, purpose: Purpose, settings: Settings) -> Standing:
    if not settings.timers:
        return standing_of_one(settings.registry, subject, purpose)
    with settings.lookup():
        return standing_of_one(settings.registry, subject, purpose)


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
        purpose = plan.purpose
        if purpose is None or not _is_usual_id(subject):
            return None, None
        # A name that may hold the id is not told.
        if plan.lowered is not None and subject.isascii():
            may_hold_id = subject.lower() in plan.lowered
        else:
            may_hold_id = Ids((subject,)).are_in(event)
        if may_hold_id:
            return None, None
        given: dict[str, Any] | None = None
        if properties is not None:
            given = _usual_properties(properties)
            if given is None:
                return None, None
        if "@" in subject or subject[0] == "+":
            self._guard.warn_of_ids(subject)
        standing = _standing_of(subject, purpose, settings)
        if standing not in settings.allowing:
            if standing is Standing.NOT_RECORDED and settings.holds:
                return None, standing
            return self._guard.reporter.settle(plan.decision(standing, may_go=False), settings, outlet), standing
        try:
            judged = self._judged(client, plan, standing, subject, event, given) if plan.may_send else None
        except Exception:  # noqa: BLE001 - of a hook, or of a value's class: the gate says what becomes of it
            judged = None
        if judged is None:
            return None, standing
        decision, text = judged
        if text is None:
            return self._guard.reporter.settle(decision, settings, outlet), standing
        return self._send("events", text, decision, subject, settings, outlet), standing

    def _judged(
        self,
        client: Client,
        plan: EventPlan,
        standing: Standing,
        subject: str,
        event: str,
        properties: dict[str, Any] | None,
    ) -> tuple[Decision, str | None] | None:
        """What is decided of an event that may be sent, and its text; None when the gate has to judge."""
        is_plain = not properties or _is_plain(properties, plan.rules)
        if not is_plain and plan.rules.bound:
            return None
        names = _names(client, subject)
        if names is None:
            return None
        if is_plain:
            text = _text_of(event, names, properties)
            return None if text is None else (plan.decision(standing, may_go=True), text)
        message = Message("events", {}, client._wire, persons=(subject,))  # noqa: SLF001 - ours
        applied = Application(message, plan.keyed, own=plan.rules.detection)
        # Final, and not asked of the gate once more: a generator among the values can be read once.
        try:
            left = applied.properties(properties or {}, plan.rules.tree)
        except RefusedError as error:
            return plan.refusal(Reason.REFUSED_BY_POLICY, standing, {str(error): error.cause}), None
        except Exception as error:  # noqa: BLE001 - a value is of the user's class
            note_failure("judging a message", error)
            return plan.refusal(Reason.INVALID_MESSAGE, None), None
        text = _text_of(event, names, left)
        if text is None:
            return plan.refusal(Reason.TOO_LARGE, standing), None
        return plan.decision(standing, may_go=True, applied=applied), text

    def update(
        self, client: Client, message: dict[Any, Any], outlet: Outlet
    ) -> tuple[Decision | None, Standing | None]:
        """Drops or sends a profile update of which one person is surely the only one; as `event`."""
        settings = self._current()
        found = _usual_update(message) if settings.asks_one and settings.purposes.is_default else None
        if found is None:
            return None, None
        subject, operator, properties = found
        if "@" in subject or subject[0] == "+":
            self._guard.warn_of_ids(subject)
        standing = _standing_of(subject, Purpose.PROFILES, settings)
        if standing not in settings.allowing:
            if standing is Standing.NOT_RECORDED and settings.holds:
                return None, standing
            return self._guard.reporter.settle(_REFUSED[standing], settings, outlet), standing
        text: str | None = None
        if standing is Standing.GRANTED and settings.may_take_fast_path:
            rules = settings.policy.compiled("people")
            try:
                text = _update_text(client, subject, operator, properties, rules)
            except Exception:  # noqa: BLE001 - as above
                text = None
        if text is None:
            return None, standing
        return self._send("people", text, _UPDATED, subject, settings, outlet), standing

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
_REFUSED = {
    standing: Decision(
        outcome=Outcome.DROPPED,
        reason=Reason(standing.cause),
        endpoint="people",
        purpose=Purpose.PROFILES,
        status=standing.status,
    )
    for standing in Standing
}


def _is_usual_id(subject: str) -> bool:
    return len(subject) <= MAX_ID_LENGTH and not subject.isspace() and joined(subject) is subject


def _usual_properties(properties: object) -> dict[str, Any] | None:
    """A copy of an event's properties, since the caller's own may change meanwhile; None when the gate has to look."""
    if type(properties) is not dict:
        return None
    copy = properties.copy()
    try:
        is_usual = _TEXT.issuperset(map(type, copy)) and _EVENT_STRUCTURE.isdisjoint(copy)
    except Exception:  # noqa: BLE001 - of a key's class
        return None
    return copy if is_usual else None


def _usual_update(message: dict[Any, Any]) -> tuple[str, str, dict[str, Any]] | None:
    """Whom an update names, its one operator and a copy of the properties; None when the gate has to look."""
    copy = message.copy()
    try:
        if len(copy) != 2 or not _TEXT.issuperset(map(type, copy)) or next(iter(copy)) != "$distinct_id":
            return None
        (_, subject), (operator, properties) = copy.items()
        if type(subject) is not str or operator not in DICT_OPERATORS or type(properties) is not dict:
            return None
        inside = properties.copy()
        is_usual = (
            subject
            and _is_usual_id(subject)
            and inside
            and _TEXT.issuperset(map(type, inside))
            and IDS.isdisjoint(inside)
        )
    except Exception:  # noqa: BLE001 - of a key's class
        return None
    return (subject, operator, inside) if is_usual else None


def _names(client: Client, subject: str) -> dict[str, Any] | None:
    """The names that the vendor's client writes into an event before its properties; None when a hook is unusual."""
    token, present, insert_id = client._token, client._now(), client._make_insert_id()  # noqa: SLF001 - the vendor's hooks
    is_usual = type(token) is str and type(present) in _NUMBERS and -_LATEST < present < _LATEST
    if not is_usual or not _is_insert_id(insert_id, subject):
        return None
    return {
        "token": token,
        "distinct_id": subject,
        "time": present,
        "$insert_id": insert_id,
        "mp_lib": "python",
        "$lib_version": vendor.NAMES["__version__"],
    }


def _is_insert_id(value: Any, subject: str) -> bool:
    if type(value) is str and _HEXADECIMAL.fullmatch(value) and _NO_HEXADECIMAL.search(subject):
        return True
    return is_insert_id(value, (subject,)) and kind_in_name(value) is None


def _text_of(event: str, names: dict[str, Any], properties: Mapping[str, Any] | None) -> str | None:
    """The JSON that the vendor's client would write of an event; None when it takes no such value, or none so large."""
    if properties:
        names.update(properties)
    return _written({"event": event, "properties": names}) if len(names) <= MAX_ITEMS else None


def _update_text(
    client: Client, subject: str, operator: str, properties: dict[str, Any], rules: Compiled
) -> str | None:
    """The JSON of a profile update that the policy leaves as it is; None when the gate has to judge."""
    token, present = client._token, client._now()  # noqa: SLF001 - the vendor's hooks
    if type(token) is str and type(present) in _NUMBERS and _is_plain(properties, rules):
        return _written({"$token": token, "$time": present, "$distinct_id": subject, operator: properties})
    return None


def _is_plain(properties: dict[Any, Any], rules: Compiled) -> bool:
    """Whether all properties are sent as they are."""
    detection = rules.detection
    return (
        len(properties) <= MAX_ITEMS
        and rules.plain.issuperset(properties)
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
