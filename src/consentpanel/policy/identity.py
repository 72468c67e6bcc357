"""How ids leave: as they are, as pseudonyms under one secret, or as pseudonyms that can be forgotten."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from typing import Any

import attrs

from consentpanel._checks import several
from consentpanel._consent.ids import subject_key
from consentpanel._consent.secret import SECRET_BYTES, Keyed, Secret, fingerprint, keyed_by
from consentpanel._forks import Survivors
from consentpanel._messages.message import EVENT_ENDPOINTS, FLAGS
from consentpanel._messages.wire import dumps
from consentpanel._mixpanel.names import DICT_OPERATORS, REMOVALS, is_id_name
from consentpanel._mixpanel.structure import PROPERTIES, STRUCTURE, TOP, Shape
from consentpanel.errors import ConfigurationError
from consentpanel.policy._compile import Node
from consentpanel.policy._detect.ids import Ids
from consentpanel.policy._detect.matchers import REDACTED

_LETTERS = str.maketrans("0123456789abcdef", "ghijklmnopqrstuv")
_SHORTEST_TOKEN = 6
_NO_STRUCTURE: Mapping[str, Shape] = {}


@attrs.frozen(kw_only=True)
class Identity:
    """What an id becomes before it leaves. Made by `plain`, `pseudonymous` and `per_subject`, not by hand.

    Two are equal when every id becomes the same: under equal secrets, or with salts from the same store.

    Attributes:
        kind: ``"plain"``, ``"pseudonymous"`` or ``"per_subject"``, for the notice to visitors.
        needs_secret: Whether the policy's secret is used.
    """

    kind: str
    needs_secret: bool = False
    _pseudonym: Callable[[str, Keyed | None], str] | None = attrs.field(
        default=None, repr=False, eq=False, alias="pseudonym"
    )
    _forget: Callable[[str], None] | None = attrs.field(default=None, repr=False, eq=False, alias="forget_salt")
    _former: tuple[Keyed, ...] = attrs.field(default=(), repr=False, eq=False, alias="former_secrets")
    #: What tells it from another one of its kind.
    _source: object = attrs.field(default=None, repr=False, alias="source")

    @property
    def is_plain(self) -> bool:
        """Whether ids leave as they are."""
        return self._pseudonym is None

    def of(self, subject_id: str, keyed: Keyed | None) -> str:
        """The id that leaves for a person; may read and write the store of `per_subject`."""
        return subject_id if self._pseudonym is None else self._pseudonym(subject_id, keyed)

    def all_of(self, subject_id: str, keyed: Keyed | None) -> tuple[str, ...]:
        """Every id by which the vendor may know a person: the present one, and those under earlier secrets."""
        return (self.of(subject_id, keyed), *(_pseudonym_under(each, subject_id) for each in self._former))

    def forget(self, subject_id: Any) -> None:
        """Deletes the salt of a person, after which nobody can link what the vendor holds to that person.

        Args:
            subject_id: The person: a `str`, `int` or `UUID`.

        Raises:
            ConfigurationError: These ids cannot be forgotten: only those of `per_subject` can.
            InvalidRecordError: It is no id.
            RegistryError: The salts of a `SQLiteRegistry` say that the old bytes are still in the file: forget again.
        """
        if self._forget is None:
            raise ConfigurationError(f"{self.kind} ids cannot be forgotten; per_subject(store) ids can")
        self._forget(subject_key(subject_id))

    def __reduce__(self) -> Any:
        raise TypeError("an Identity cannot be pickled or copied: it may hold a secret. Build it in the worker")


def plain() -> Identity:
    """Ids leave as they are.

    Example:
        >>> plain().of("user-1", None)
        'user-1'
    """
    return Identity(kind="plain")


def pseudonymous(secret: Secret | None = None, *, rotate_from: Iterable[Secret] = ()) -> Identity:
    """Ids leave as pseudonyms: the HMAC-SHA-256 (RFC 2104) of the id under a secret.

    The same person has the same pseudonym on every endpoint, in every process with the same secret. It is still
    personal data in the sense of the GDPR: whoever has the secret can compute it again.

    Args:
        secret: At least 32 bytes, or a function that returns them (`from_environment`); the policy's secret when left out.
        rotate_from: Earlier secrets. New messages never use them; `all_of` does, so that requests for erasure name a
            person by every pseudonym that the vendor may still hold.

    Raises:
        ConfigurationError: The secret is shorter, or is not bytes.

    Example:
        >>> from consentpanel.policy import pseudonymous
        >>> pseudonymous(b"0" * 32).of("user-1", None) == pseudonymous(b"0" * 32).of("user-1", None)
        True
        >>> pseudonymous(b"0" * 32).of("user-1", None)[:8]
        'pid1_nnv'
    """
    own = None if secret is None else keyed_by(secret)
    former = tuple(map(keyed_by, several("rotate_from", "several secrets", rotate_from)))

    def pseudonym(subject_id: str, keyed: Keyed | None) -> str:
        use = own or keyed
        if use is None:
            raise ConfigurationError("pseudonymous() needs a secret: its own, or the policy's")
        return _pseudonym_under(use, subject_id)

    source = tuple(map(fingerprint, (own, *former)))
    return Identity(
        kind="pseudonymous", needs_secret=own is None, pseudonym=pseudonym, former_secrets=former, source=source
    )


def _pseudonym_under(keyed: Keyed, subject_id: str) -> str:
    # Another text than the id itself, so that `pseudonymize()` of the same value is not the same.
    return "pid1_" + _in_letters(keyed(f"id:{subject_id}"))


def per_subject(store: MutableMapping[str, str]) -> Identity:
    """Ids leave as pseudonyms from a random salt for each person.

    Deleting the salt, by `Identity.forget` or in the store itself, makes what the vendor holds unlinkable: there is no
    secret from which it could be computed again. A later message starts a new identity.

    Args:
        store: Where salts are kept, by subject id: any mutable mapping that lasts as long as the ids shall. With more than
            one process its `setdefault` must be atomic, as an ``INSERT ... ON CONFLICT DO NOTHING`` and a read are; that of
            ``registry.salts`` is.

    Raises:
        ConfigurationError: It is no mutable mapping.

    Example:
        >>> salts = {}
        >>> identity = per_subject(salts)
        >>> before = identity.of("user-1", None)
        >>> identity.forget("user-1")
        >>> identity.of("user-1", None) == before
        False
    """
    if not isinstance(store, MutableMapping):
        raise ConfigurationError(f"store must be a mutable mapping, not {type(store).__name__}")

    lock = _Lock()

    def pseudonym(subject_id: str, keyed: Keyed | None) -> str:
        del keyed
        salt = store.get(subject_id)
        if salt is None:
            # Two threads may both get here, and a mapping over a table need not answer both alike.
            with lock.held:
                salt = store.setdefault(subject_id, secrets.token_hex(SECRET_BYTES))
        return "sid1_" + _in_letters(
            hashlib.sha256(f"{salt}:{subject_id}".encode("utf-8", "surrogatepass")).hexdigest()
        )

    def forget(subject_id: str) -> None:
        # Not `pop`, which leaves a store alone that has no such salt: it may still have to finish an earlier erasure.
        with contextlib.suppress(KeyError):
            del store[subject_id]

    return Identity(kind="per_subject", pseudonym=pseudonym, forget_salt=forget, source=id(store))


class _Lock:
    """A lock that no fork finds taken."""

    def __init__(self) -> None:
        self.restart()
        _ALIVE.add(self)

    def restart(self) -> None:
        self.held = threading.RLock()


_ALIVE: Survivors[_Lock] = Survivors(_Lock.restart)


def _in_letters(hexadecimal: str) -> str:
    # Digits in a row could look like a telephone or card number.
    return hexadecimal.translate(_LETTERS)


@attrs.frozen(repr=False)
class Mapped:
    """A message that names everybody as the vendor knows them.

    Attributes:
        text: Its JSON.
        redacted: The names of properties of which more was taken than ids.
        doubled: The names of properties, in or among which two keys became one and were left out.
    """

    text: str
    redacted: frozenset[str]
    doubled: frozenset[str]


def with_pseudonyms(
    text: str, pseudonyms: Mapping[str, str], endpoint: str = "events", rules: Node | None = None
) -> Mapped:
    """The JSON of a message with each raw id replaced; pure.

    Every id field is mapped. Elsewhere a string equal to a raw id is, and an id of six or more characters as a whole
    token inside a string, in any case. A string in which one is seen only when it is decoded is redacted, and a key left
    out. Numbers and booleans are left: user 1 and ``quantity: 1`` are two things; so are the structure of the message,
    at its own place, and the names of properties that the rules themselves name.

    Args:
        text: The JSON object that would be sent.
        pseudonyms: By lookup key, for all whom the message names.
        endpoint: The vendor's endpoint, by which the structure is known.
        rules: The compiled rules for its properties; None for none.

    Example:
        >>> event = '{"properties":{"distinct_id":"ann-17","url":"/u/ann-17/a","next":"/u/ann%2D17","n":17}}'
        >>> mapped = with_pseudonyms(event, {"ann-17": "pid1_x"})
        >>> mapped.text
        '{"properties":{"distinct_id":"pid1_x","url":"/u/pid1_x/a","next":"[redacted]","n":17}}'
        >>> mapped.redacted
        frozenset({'next'})
    """
    mapping = _Mapping(pseudonyms, endpoint, rules)
    return Mapped(dumps(mapping.message(json.loads(text))), frozenset(mapping.redacted), frozenset(mapping.doubled))


class _Mapping:
    """Maps the ids in the JSON tree of one message."""

    def __init__(self, pseudonyms: Mapping[str, str], endpoint: str, rules: Node | None) -> None:
        self._pseudonyms = pseudonyms
        self._ids = Ids(pseudonyms, _SHORTEST_TOKEN)
        self._rules = rules
        self._named: Mapping[str, Node] = {} if rules is None else rules.keys
        self._endpoint = endpoint
        self._top, self._inside = STRUCTURE[endpoint][TOP], STRUCTURE[endpoint][PROPERTIES]
        self._is_event = endpoint in EVENT_ENDPOINTS
        self.redacted: set[str] = set()
        self.doubled: set[str] = set()

    def message(self, record: dict[str, Any]) -> dict[str, Any]:
        """The whole message."""
        if self._endpoint == FLAGS:
            return self._properties(record)
        frames = {"event", "properties"} if self._is_event else DICT_OPERATORS | REMOVALS
        # At the top a name is structure, or one that a rule names.
        return self._dict(record, frames | self._top.keys() | self._named.keys(), self._frame)

    def _frame(self, name: str, value: Any) -> Any:
        holds_properties = name == "properties" if self._is_event else name in DICT_OPERATORS
        if holds_properties and isinstance(value, dict):
            return self._properties(value)
        if name in REMOVALS and isinstance(value, list):
            return [
                each if type(each) is str and each in self._named else self._tree(each, None, name) for each in value
            ]
        return self._field(name, value, None, self._top, name)

    def _properties(self, properties: dict[str, Any]) -> dict[str, Any]:
        known = self._inside.keys() | self._named.keys()
        return self._dict(
            properties, known, lambda name, value: self._field(name, value, self._rules, self._inside, name)
        )

    def _dict(
        self, tree: dict[str, Any], known: Collection[str], of: Callable[[str, Any], Any], top: str = ""
    ) -> dict[str, Any]:
        names = {name: name if name in known else self._text(name) for name in tree}
        counts = Counter(names.values())
        mapped: dict[str, Any] = {}
        for name, value in tree.items():
            as_sent = names[name]
            if as_sent is None:
                self.redacted.add(top or name)
            elif counts[as_sent] > 1:
                self.doubled.add(top or name)
            else:
                mapped[as_sent] = of(name, value)
        return mapped

    def _text(self, value: str) -> str | None:
        """The text with each id replaced; None when one stands in it that only decoding shows."""
        exact = self._pseudonyms.get(value)
        if exact is not None:
            return exact
        parts, at = [], 0
        for start, end, raw in self._ids.places(value):
            parts += [value[at:start], self._pseudonyms.get(value[start:end]) or self._pseudonyms[raw]]
            at = end
        mapped = "".join((*parts, value[at:])) if parts else value
        return None if self._ids.are_hidden_in(mapped) else mapped

    def _tree(self, tree: Any, rules: Node | None, top: str) -> Any:
        if isinstance(tree, str):
            mapped = self._text(tree)
            if mapped is None:
                self.redacted.add(top)
            return REDACTED if mapped is None else mapped
        if isinstance(tree, list):
            items = None if rules is None else rules.items or rules
            return [self._tree(each, items, top) for each in tree]
        if isinstance(tree, dict):
            known: Collection[str] = () if rules is None else rules.keys
            return self._dict(tree, known, lambda name, value: self._field(name, value, rules, _NO_STRUCTURE, top), top)
        return tree

    def _field(self, name: str, value: Any, rules: Node | None, structure: Mapping[str, Shape], top: str) -> Any:
        shape = structure.get(name)
        if shape is not None and not shape.is_id:
            return value
        if shape is not None or is_id_name(name):
            return self._id(value, top)
        return self._tree(value, None if rules is None else rules.keys.get(name), top)

    def _id(self, value: Any, top: str) -> Any:
        if isinstance(value, list):
            return [self._id(each, top) for each in value]
        if type(value) in {str, int}:
            return self._pseudonyms.get(str(value)) or self._tree(value, None, top)
        return self._tree(value, None, top)
