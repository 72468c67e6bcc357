"""How ids leave: as they are, as pseudonyms under one secret, or as pseudonyms that can be forgotten."""

from __future__ import annotations

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
from consentpanel._mixpanel.names import EVENT_STRUCTURE, FLAG_IDS, IDS, TIMES
from consentpanel.errors import ConfigurationError
from consentpanel.policy._secret import SECRET_BYTES, Keyed, Secret, keyed_by

_LETTERS = str.maketrans("0123456789abcdef", "ghijklmnopqrstuv")
_SHORTEST_TOKEN = 6
_KEPT = (EVENT_STRUCTURE - IDS) | TIMES


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
        store.pop(subject_id, None)

    return Identity(kind="per_subject", pseudonym=pseudonym, forget_salt=forget)


def _in_letters(hexadecimal: str) -> str:
    # Digits in a row could look like a telephone or card number.
    return hexadecimal.translate(_LETTERS)


def with_pseudonyms(text: str, pseudonyms: Mapping[str, str]) -> str:
    """The JSON of a message with each raw id replaced; pure.

    Every id field is mapped. Elsewhere a string equal to a raw id is, and an id of six or more characters as a whole
    token inside a string, percent-encoded too. Numbers and booleans are left: user 1 and ``quantity: 1`` are two things.

    Args:
        text: The JSON object that would be sent.
        pseudonyms: By lookup key, for all whom the message names.

    Example:
        >>> with_pseudonyms('{"distinct_id":"ann-17","url":"/u/ann-17/a","n":17}', {"ann-17": "pid1_x"})
        '{"distinct_id":"pid1_x","url":"/u/pid1_x/a","n":17}'
    """
    tokens: dict[str, str] = {}
    for raw, pseudonym in pseudonyms.items():
        if len(raw) >= _SHORTEST_TOKEN:
            for written in (raw, quote(raw, safe=""), quote_plus(raw)):
                tokens[written] = pseudonym
    # The longest first, or an id that begins another would take its place.
    ordered = sorted(tokens, key=len, reverse=True)
    pattern = re.compile(rf"(?<![^\W_])(?:{'|'.join(map(re.escape, ordered))})(?![^\W_])") if ordered else None

    def string(value: str) -> str:
        exact = pseudonyms.get(value)
        if exact is not None or pattern is None:
            return value if exact is None else exact
        return pattern.sub(lambda found: tokens[found[0]], value)

    def walk(tree: Any) -> Any:
        if isinstance(tree, str):
            return string(tree)
        if isinstance(tree, list):
            return [walk(each) for each in tree]
        if isinstance(tree, dict):
            return {string(name): field(name, value) for name, value in tree.items()}
        return tree

    def field(name: str, value: Any) -> Any:
        if name in _KEPT:
            return value
        if name in FLAG_IDS:
            if isinstance(value, list):
                return [field(name, each) for each in value]
            if type(value) in {str, int}:
                return pseudonyms.get(str(value), value)
        return walk(value)

    return dumps(walk(json.loads(text)))
