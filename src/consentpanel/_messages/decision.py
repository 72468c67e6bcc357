"""What was decided about one message, and why: `Decision`, `Outcome`, `Reason`, `Cause`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any

import attrs
from typing_extensions import Self

from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentStatus
from consentpanel._exports import name_all
from consentpanel.errors import ConsentPanelError

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class _Word(str, Enum):
    """An enum whose members are also their own words, in comparisons and as keys of a mapping."""

    __hash__ = str.__hash__

    def __str__(self) -> str:
        return str(self.value)


class Outcome(_Word):
    """What became of a message.

    Example:
        >>> Outcome.SENT == "sent"
        True
    """

    #: Handed to the transport as the caller wrote it.
    SENT = "sent"
    #: Handed to the transport with something dropped or changed.
    REDACTED = "redacted"
    #: Not handed to the transport.
    DROPPED = "dropped"
    #: Kept back until the person answers, for a while at most: a second decision says what became of it.
    HELD = "held"


class Reason(_Word):
    """Why a message was sent or was not.

    `is_error` tells the reasons that are faults to mend from those that are the policy at work;
    only faults raise when a client is built with ``on_error="raise"``.

    Example:
        >>> Reason.NO_CONSENT.is_error, Reason.REGISTRY_ERROR.is_error
        (False, True)
    """

    #: Sent: everybody whom the message names has granted consent.
    CONSENT_GRANTED = "consent_granted"
    #: Sent: the regime is opt-out and nobody whom the message names has objected.
    NOT_DENIED = "not_denied"
    #: Sent: a group profile, which names no person.
    NO_PERSON_NAMED = "no_person_named"
    #: Sent: the message only takes data away from the vendor.
    REMOVAL = "removal"

    #: Held: an event that waits for the commit of the transaction in which it was asked for (`Mixpanel.opt_in` in Django).
    AWAITING_COMMIT = "awaiting_commit"
    #: Held: somebody whom the message names was never asked (``while_unknown="hold"``).
    AWAITING_CONSENT = "awaiting_consent"
    #: Dropped after it was held: nobody answered within `hold_for`, before the buffer ended, or before others needed its room.
    NOT_ANSWERED = "not_answered"
    #: Dropped: somebody whom the message names has not granted consent.
    NO_CONSENT = "no_consent"
    #: Dropped: somebody whom the message names has said no, or has withdrawn a consent.
    WITHDRAWN = "withdrawn"
    #: Dropped: the consent has passed its `expires_at`.
    EXPIRED = "expired"
    #: Dropped: the consent was given under an older policy version than the registry requires.
    OUTDATED_POLICY = "outdated_policy"
    #: Dropped: consent holds now but did not hold at the event's own time.
    NO_CONSENT_THEN = "no_consent_then"
    #: Dropped: a rule of the field policy says `refuse()`.
    REFUSED_BY_POLICY = "refused_by_policy"
    #: Dropped: the policy drops events that it does not name.
    UNPLANNED_EVENT = "unplanned_event"
    #: Of a property, in `Decision.dropped`: its value is outside the constraints of its rule.
    SCHEMA = "schema"
    #: Dropped: the field policy left no property in a profile update.
    NOTHING_LEFT = "nothing_left"

    #: Dropped: no consent registry is configured.
    NOT_CONFIGURED = "not_configured"
    #: Dropped: the registry failed or gave an answer of the wrong type.
    REGISTRY_ERROR = "registry_error"
    #: Dropped: an id is missing, empty, too long or not a `str`, `int` or `UUID`.
    INVALID_ID = "invalid_id"
    #: Dropped: the event's own time cannot be read, so consent at that time cannot be judged.
    INVALID_TIME = "invalid_time"
    #: Dropped: not a message as the vendor documents it (arguments, properties or JSON of a wrong shape).
    INVALID_MESSAGE = "invalid_message"
    #: Dropped: a method of the vendor's client that this release does not know.
    UNKNOWN_CALL = "unknown_call"
    #: Dropped: the gate does not know the endpoint.
    UNKNOWN_ENDPOINT = "unknown_endpoint"
    #: Dropped after it was buffered: the vendor refused it for good (HTTP 400, or 413 for it alone).
    REJECTED_BY_VENDOR = "rejected_by_vendor"
    #: Dropped: the queue of a `BackgroundConsumer` had no room within its time-out, or the file of a `SpoolConsumer` none.
    QUEUE_FULL = "queue_full"
    #: Dropped after it was buffered: the vendor could not be reached before the process ended.
    NOT_DELIVERED = "not_delivered"
    #: Dropped: the file of a `SpoolConsumer`, or the row of a `SQLAlchemyOutbox`, could not be written.
    NOT_KEPT = "not_kept"
    #: Dropped after an outbox had written it: the caller's transaction was taken back.
    ROLLED_BACK = "rolled_back"
    #: Dropped after it was buffered: it has waited longer than `keep_for` of a `SpoolConsumer`.
    TOO_OLD = "too_old"
    #: Dropped: the vendor takes fewer than 255 properties, and less than 1 MB of JSON, a message.
    TOO_LARGE = "too_large"

    @property
    def is_error(self) -> bool:
        """Whether something is at fault and can be mended, as opposed to a person's or a policy's no."""
        return self in _ERRORS


_SENT = frozenset({Outcome.SENT, Outcome.REDACTED})
_ERRORS = frozenset(
    {
        Reason.NOT_CONFIGURED,
        Reason.REGISTRY_ERROR,
        Reason.INVALID_ID,
        Reason.INVALID_TIME,
        Reason.INVALID_MESSAGE,
        Reason.UNKNOWN_CALL,
        Reason.UNKNOWN_ENDPOINT,
        Reason.REJECTED_BY_VENDOR,
        Reason.QUEUE_FULL,
        Reason.NOT_DELIVERED,
        Reason.NOT_KEPT,
        Reason.TOO_OLD,
        Reason.TOO_LARGE,
    }
)


class Cause(_Word):
    """Why a property was dropped, or how it was changed: the values of `Decision.dropped` and `Decision.changed`.

    A cause is its own word, so that ``decision.dropped["email"] == "unnamed"`` holds. What a detector has found is
    ``detected:`` and the kind, made when it is met: compare causes with ``==``.

    Attributes:
        meaning: What the cause says, in a few words.

    Example:
        >>> Cause.UNNAMED == "unnamed", Cause.UNNAMED.meaning
        (True, 'no rule names it')
        >>> Cause("detected:email").kind
        'email'
    """

    _value_: str
    meaning: str

    UNNAMED = "unnamed", "no rule names it"
    NOT_OPENED = "not_opened", "a rule names the object, none names its parts; see keep(deep=True)"
    NO_CONSENT = "no_consent", "no consent for the purpose of its rule, or for what an update adds beside a removal"
    SENSITIVE = "sensitive", "a key below keep(deep=True) has a sensitive name, such as a password's"
    PERSONAL = "personal", "the name is personal, and the policy is no_personal_data()"
    SCHEMA = "schema", "the value is outside the constraints of its rule"
    DETECTED = "detected", "a detector found personal data of the kind after the colon"
    DETECTOR_FAILED = "detector_failed", "a Detector of yours raised, or answered a place outside the text"

    DROP = "drop", "a rule says drop()"
    REFUSE = "refuse", "a rule says refuse(): the whole record would be dropped"
    REDACT = "redact", "a rule says redact()"
    MASK = "mask", "a rule says mask()"
    PSEUDONYMIZE = "pseudonymize", "a rule says pseudonymize()"
    TRUNCATE = "truncate", "a rule says truncate(), and the value was longer"
    GENERALIZE = "generalize", "a rule says generalize()"
    TRANSFORM = "transform", "the function of transform() answered another value"
    URL = "url", "a rule says url(), and there was something to remove"
    NO_SECRET = "no_secret", "the policy has no secret"
    TRANSFORM_FAILED = "transform_failed", "the function of transform() raised"
    GENERALIZE_FAILED = "generalize_failed", "generalize() cannot read the value"
    NOT_A_URL = "not_a_url", "a rule says url(), and the value is none"

    UNSERIALISABLE = "unserialisable", "it has no form in JSON"
    NOT_FINITE = "not_finite", "the number is NaN or infinite"
    CYCLE = "cycle", "it holds itself"
    TOO_DEEP = "too_deep", "more than 32 levels"
    TOO_LARGE = "too_large", "1 MB or more"
    TOO_MANY_ITEMS = "too_many_items", "an iterator, set or view of more than 1,000 items"
    KEY_NOT_TEXT = "key_not_text", "a key of it is not text"
    DUPLICATE_KEY = "duplicate_key", "two keys of it become one in JSON"

    DEFAULT = "default", "not what the vendor's client could have written, whose default took its place"
    NOT_IN_SHAPE = "not_in_shape", "not what the vendor's client could have written, which writes nothing there"
    ID = (
        "id",
        "the id of a person or device where no rule for that path opens it, in a group, or where it cannot be mapped",
    )
    NOT_A_NAME = "not_a_name", "$unset lists something else than names"

    WITHDRAWN = "withdrawn", "beside a removal: the person has said no"
    EXPIRED = "expired", "beside a removal: the consent has expired"
    OUTDATED_POLICY = "outdated_policy", "beside a removal: the consent is to an older policy version"
    NO_CONSENT_THEN = "no_consent_then", "beside a removal: there was no consent at that time"
    REGISTRY_ERROR = "registry_error", "beside a removal: the registry failed"
    NOT_CONFIGURED = "not_configured", "beside a removal: there is no registry"

    def __new__(cls, word: str, meaning: str = "") -> Self:
        """A member by its word; what a detector has found is made when it is met."""
        cause = str.__new__(cls, word)
        cause._value_, cause.meaning = word, meaning
        return cause

    @classmethod
    def detected(cls, kind: str) -> Cause:
        """The cause that tells what a detector has found.

        Args:
            kind: One of `KINDS`, ``"encoded"``, or the name of a `Detector`.
        """
        return cls._missing_(f"{cls.DETECTED.value}:{kind}") or cls.DETECTED

    @property
    def kind(self) -> str | None:
        """What a detector has found; None for every other cause."""
        return self.value.partition(":")[2] or None

    @classmethod
    def _missing_(cls, value: object) -> Cause | None:
        # The kinds of a user's own detectors are not known here.
        if not isinstance(value, str) or not value.startswith(f"{cls.DETECTED.value}:"):
            return None
        cause = str.__new__(cls, value)
        cause._value_, cause.meaning, cause._name_ = value, cls.DETECTED.meaning, cls.DETECTED.name
        return cause

    def __repr__(self) -> str:
        return repr(self.value)


def _frozen(paths: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(paths)) if paths else _NOTHING


def _as_dict(paths: Mapping[str, str]) -> str:
    return repr(dict(paths))


_BY_PATH = ("dropped", "changed", "detected")


@attrs.frozen(kw_only=True)
class Decision:
    """What became of one message. Truthy when something was handed to the transport.

    Never holds a personal value or a raw id; names of properties it may.

    Attributes:
        outcome: `Outcome.SENT`, `Outcome.REDACTED` or `Outcome.DROPPED`.
        reason: The `Reason`.
        endpoint: The vendor's endpoint: ``"events"``, ``"people"``, ``"groups"``, ``"imports"``, or
            ``"flags"`` for a remote feature flag.
        event: The name of the event; None for a profile.
        purpose: The `Purpose` whose consent was asked for; None where none was needed.
        status: The `ConsentStatus` that decided; None where none was asked for.
        dropped: Path of each property that was left out, with the `Cause`.
        changed: Path of each property that was changed, with the `Cause`.
        detected: Path of each place where a detector found something, with the kind.
        problem: Of a message that is none: the argument at fault, the type that came and what was expected; else empty.

    Example:
        >>> from consentpanel import Mixpanel
        >>> from consentpanel.registry import MemoryRegistry
        >>> from consentpanel.testing import FakeTransport
        >>> mp = Mixpanel("TOKEN", FakeTransport(), registry=MemoryRegistry())
        >>> decision = mp.track("user-1", "Signed up")
        >>> bool(decision), decision.reason
        (False, <Reason.NO_CONSENT: 'no_consent'>)
    """

    outcome: Outcome
    reason: Reason
    endpoint: str
    event: str | None = None
    purpose: Purpose | None = None
    status: ConsentStatus | None = None
    dropped: Mapping[str, Cause] = attrs.field(default=_NOTHING, converter=_frozen, hash=False, repr=_as_dict)
    changed: Mapping[str, Cause] = attrs.field(default=_NOTHING, converter=_frozen, hash=False, repr=_as_dict)
    detected: Mapping[str, str] = attrs.field(default=_NOTHING, converter=_frozen, hash=False, repr=_as_dict)
    problem: str = ""

    def __bool__(self) -> bool:
        return self.outcome in _SENT

    def as_dict(self) -> dict[str, Any]:
        """The decision as JSON: each field by its name, every word as a plain str, for a log or the result of a task.

        Example:
            >>> decision = Decision(outcome=Outcome.DROPPED, reason=Reason.NO_CONSENT, endpoint="events")
            >>> decision.as_dict()["reason"]
            'no_consent'
        """
        said = attrs.asdict(self, recurse=False)
        words = {name: None if said[name] is None else str.__str__(said[name]) for name in said.keys() - set(_BY_PATH)}
        return {**said, **words, **{name: {path: str(each) for path, each in said[name].items()} for name in _BY_PATH}}

    def __json__(self, *_: object) -> dict[str, Any]:
        # Celery's encoder, and Pyramid's, ask for this of a result.
        return self.as_dict()

    def __getstate__(self) -> dict[str, Any]:
        return {**attrs.asdict(self, recurse=False), **{name: dict(getattr(self, name)) for name in _BY_PATH}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        before: dict[str, Any] = {"problem": ""}
        for name, value in {**before, **state}.items():
            object.__setattr__(self, name, _frozen(value) if name in _BY_PATH else value)


class MessageError(ConsentPanelError):
    """A message was not sent because something failed, and the client was built with ``on_error="raise"``.

    Attributes:
        decision: The `Decision` that says why. It holds no personal value.
        cause: What raised, if something did: its type, the file and line, and the thread; never its text.
    """

    def __init__(self, decision: Decision, cause: str = "") -> None:
        because = decision.problem or cause
        super().__init__(f"message not sent: {decision.reason.value}" + (f": {because}" if because else ""))
        self.decision = decision
        self.cause = cause

    def __reduce__(self) -> tuple[type[MessageError], tuple[Decision, str]]:
        return (type(self), (self.decision, self.cause))


__all__ = ["Cause", "Decision", "MessageError", "Outcome", "Reason"]
name_all(globals())
