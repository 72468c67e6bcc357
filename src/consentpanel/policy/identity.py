"""How ids leave: as they are, as pseudonyms under one secret, or as pseudonyms that can be forgotten."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote, quote_plus

import attrs

from consentpanel._checks import several
from consentpanel._consent.ids import subject_key
from consentpanel._messages.wire import dumps
from consentpanel._mixpanel.names import DICT_OPERATORS, REMOVALS, is_id_name
from consentpanel._mixpanel.structure import PROPERTIES, STRUCTURE, TOP, Shape
from consentpanel.errors import ConfigurationError
from consentpanel.policy._compile import Node
from consentpanel.policy._secret import SECRET_BYTES, Keyed, Secret, keyed_by

_LETTERS = str.maketrans("0123456789abcdef", "ghijklmnopqrstuv")
_SHORTEST_TOKEN = 6
_NO_STRUCTURE: Mapping[str, Shape] = {}


@attrs.frozen(eq=False, kw_only=True)
class Identity:
    """What an id becomes before it leaves. Made by `plain`, `pseudonymous` and `per_subject`, not by hand.

    Attributes:
        kind: ``"plain"``, ``"pseudonymous"`` or ``"per_subject"``, for the notice to visitors.
        needs_secret: Whether the policy's secret is used.
    """

    kind: str
    needs_secret: bool = False
    _pseudonym: Callable[[str, Keyed | None], str] | None = attrs.field(default=None, repr=False, alias="pseudonym")
    _forget: Callable[[str], None] | None = attrs.field(default=None, repr=False, alias="forget_salt")
    _former: tuple[Keyed, ...] = attrs.field(default=(), repr=False, alias="former_secrets")

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

    return Identity(kind="pseudonymous", needs_secret=own is None, pseudonym=pseudonym, former_secrets=former)


def _pseudonym_under(keyed: Keyed, subject_id: str) -> str:
    # Another text than the id itself, so that `pseudonymize()` of the same value is not the same.
    return "pid1_" + _in_letters(keyed(f"id:{subject_id}"))


def per_subject(store: MutableMapping[str, str]) -> Identity:
    """Ids leave as pseudonyms from a random salt for each person.

    Deleting the salt, by `Identity.forget` or in the store itself, makes what the vendor holds unlinkable: there is no
    secret from which it could be computed again. A later message starts a new identity.

    Args:
        store: Where salts are kept, by subject id: any mutable mapping that lasts as long as the ids shall.

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

    def pseudonym(subject_id: str, keyed: Keyed | None) -> str:
        del keyed
        salt = store.get(subject_id)
        if salt is None:
            # Two threads may both get here; the store says whose salt stays.
            salt = store.setdefault(subject_id, secrets.token_hex(SECRET_BYTES))
        return "sid1_" + _in_letters(
            hashlib.sha256(f"{salt}:{subject_id}".encode("utf-8", "surrogatepass")).hexdigest()
        )

    def forget(subject_id: str) -> None:
        # Not `pop`, which leaves a store alone that has no such salt: it may still have to finish an earlier erasure.
        with contextlib.suppress(KeyError):
            del store[subject_id]

    return Identity(kind="per_subject", pseudonym=pseudonym, forget_salt=forget)


def _in_letters(hexadecimal: str) -> str:
    # Digits in a row could look like a telephone or card number.
    return hexadecimal.translate(_LETTERS)


def with_pseudonyms(
    text: str, pseudonyms: Mapping[str, str], endpoint: str = "events", rules: Node | None = None
) -> str:
    """The JSON of a message with each raw id replaced; pure.

    Every id field is mapped. Elsewhere a string equal to a raw id is, and an id of six or more characters as a whole
    token inside a string, percent-encoded too. Numbers and booleans are left: user 1 and ``quantity: 1`` are two things;
    so are the structure of the message, at its own place, and the names of properties that the rules themselves name.

    Args:
        text: The JSON object that would be sent.
        pseudonyms: By lookup key, for all whom the message names.
        endpoint: The vendor's endpoint, by which the structure is known.
        rules: The compiled rules for its properties; None for none.

    Example:
        >>> with_pseudonyms('{"properties":{"distinct_id":"ann-17","url":"/u/ann-17/a","n":17}}', {"ann-17": "pid1_x"})
        '{"properties":{"distinct_id":"pid1_x","url":"/u/pid1_x/a","n":17}}'
    """
    top, inside = STRUCTURE[endpoint][TOP], STRUCTURE[endpoint][PROPERTIES]
    is_event = endpoint in {"events", "imports"}
    mapping = _Mapping(pseudonyms)

    def frame(name: str, value: Any) -> Any:
        if name == "properties" if is_event else name in DICT_OPERATORS:
            return mapping.tree(value, rules, inside)
        if name in REMOVALS and isinstance(value, list):
            return [each if rules is not None and each in rules.keys else mapping.text(each) for each in value]
        return mapping.field(name, value, None, top)

    record = json.loads(text)
    if endpoint == "flags":
        return dumps(mapping.tree(record, rules, inside))
    frames = {"event", "properties"} if is_event else DICT_OPERATORS | REMOVALS
    names = frames | top.keys() | (frozenset() if rules is None else rules.keys.keys())
    return dumps({name if name in names else mapping.text(name): frame(name, value) for name, value in record.items()})


class _Mapping:
    """Maps the ids in the JSON tree of one message."""

    def __init__(self, pseudonyms: Mapping[str, str]) -> None:
        self._pseudonyms = pseudonyms
        self._tokens = {
            written: pseudonym
            for raw, pseudonym in pseudonyms.items()
            if len(raw) >= _SHORTEST_TOKEN
            for written in (raw, quote(raw, safe=""), quote_plus(raw))
        }
        # The longest first, or an id that begins another would take its place.
        ordered = "|".join(map(re.escape, sorted(self._tokens, key=len, reverse=True)))
        self._pattern = re.compile(rf"(?<![^\W_])(?:{ordered})(?![^\W_])") if ordered else None

    def text(self, value: str) -> str:
        exact = self._pseudonyms.get(value)
        if exact is not None or self._pattern is None:
            return value if exact is None else exact
        return self._pattern.sub(lambda found: self._tokens[found[0]], value)

    def tree(self, tree: Any, rules: Node | None, structure: Mapping[str, Shape] = _NO_STRUCTURE) -> Any:
        if isinstance(tree, str):
            return self.text(tree)
        if isinstance(tree, list):
            items = None if rules is None else rules.items or rules
            return [self.tree(each, items) for each in tree]
        if isinstance(tree, dict):
            named = frozenset() if rules is None else rules.keys.keys()
            return {
                name if name in structure or name in named else self.text(name): self.field(
                    name, value, rules, structure
                )
                for name, value in tree.items()
            }
        return tree

    def field(self, name: str, value: Any, rules: Node | None, structure: Mapping[str, Shape]) -> Any:
        shape = structure.get(name)
        if shape is not None and not shape.is_id:
            return value
        if shape is not None or is_id_name(name):
            return self._id(value)
        return self.tree(value, None if rules is None else rules.keys.get(name))

    def _id(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._id(each) for each in value]
        if type(value) in {str, int}:
            return self._pseudonyms.get(str(value)) or self.tree(value, None)
        return self.tree(value, None)
