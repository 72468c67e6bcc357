"""A registry in Redis or Valkey, alone or as a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from datetime import datetime, timedelta
from typing import Any, TypeVar

from typing_extensions import Self

from consentpanel._consent.age import MaxAge
from consentpanel._consent.chain import Verification
from consentpanel._consent.ids import purpose_key, subject_key
from consentpanel._consent.records import ConsentRecord
from consentpanel._consent.standing import Standing
from consentpanel._log import warn_once
from consentpanel.errors import ConfigurationError, ConsentPanelError, InvalidRecordError, RegistryError
from consentpanel.registry._objections import ObjectionKey
from consentpanel.registry._recording import StoredRegistry
from consentpanel.registry._records import asked_moment
from consentpanel.registry._redis_plans import Command, Plan, Plans, people_of_keys

try:
    import redis
except ImportError:
    raise ConfigurationError("RedisRegistry needs redis-py 5: pip install 'consentpanel[redis]'") from None

_T = TypeVar("_T")

#: What a server or a text fails with, and what a connection that broke while it was idle.
FAILURES = (redis.RedisError, OSError, UnicodeError)
BROKEN = redis.ConnectionError

_VOLATILE = "the Redis server keeps nothing on its disk: consent is lost when it ends. Turn appendonly on, or keep consent elsewhere"
_EVICTING = "the Redis server evicts keys when its memory is full (maxmemory-policy {}): consent records may vanish. Use noeviction"
_PATIENT = (
    "the Redis client has no socket_timeout: a server that hangs would hold up whoever asks for consent. Give it one"
)


class RedisRegistry(StoredRegistry):
    """Keeps consent records in Redis or Valkey. Safe for many threads, processes and machines.

    All of one person is in one hash slot, so that it works on a cluster; appends are atomic, and a question is one way to the
    server. On a cluster `record_many` about several people is whole for each of them, and a failure in the middle leaves the
    records of some appended.

    A server keeps what it is told to keep: with ``appendonly yes`` and ``appendfsync always`` a record is on the disk before
    `record` returns, with the usual ``everysec`` the last second may be lost in a crash, without either all of it. One warning
    says when the server persists nothing or evicts keys. A replica that takes over may lack the last records.

    Args:
        client: A `redis.Redis`, `redis.RedisCluster` or their like of Valkey's, with a `socket_timeout`. It stays yours to close.
        prefix: What every key begins with; without braces.
        required_policy_version, max_age, strict_records, objection_key: As for `RecordingRegistry`.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        .. code-block:: python

            client = redis.Redis.from_url("redis://localhost", socket_timeout=1, socket_connect_timeout=1)
            registry = RedisRegistry(client)
            registry.grant("user-1", source="signup-form")
    """

    #: Whether the client is one of asyncio's.
    _is_async = False

    def __init__(
        self,
        client: Any,
        *,
        prefix: str = "consentpanel:",
        required_policy_version: str | None = None,
        max_age: MaxAge | timedelta | None = None,
        strict_records: bool = False,
        objection_key: ObjectionKey | None = None,
    ) -> None:
        super().__init__(
            required_policy_version=required_policy_version,
            max_age=max_age,
            strict_records=strict_records,
            objection_key=objection_key,
        )
        if not callable(getattr(client, "execute_command", None)) or not callable(getattr(client, "pipeline", None)):
            raise ConfigurationError(f"client must be a redis.Redis or redis.RedisCluster, not {type(client).__name__}")
        if hasattr(client, "__aenter__") is not self._is_async:
            asked, other = (
                ("RedisRegistry", "AsyncRedisRegistry")
                if not self._is_async
                else ("AsyncRedisRegistry", "RedisRegistry")
            )
            kind = "not be one" if not self._is_async else "be one"
            raise ConfigurationError(f"client must {kind} of asyncio's for {asked}: use {other}")
        if not isinstance(prefix, str) or not prefix.isascii() or not prefix or not {"{", "}"}.isdisjoint(prefix):
            raise ConfigurationError("prefix must be a non-empty str of ASCII characters without braces")
        self._client = client
        self._prefix = prefix
        self._plans = Plans(
            prefix, self._required, self._max_age, is_cluster=callable(getattr(client, "get_primaries", None))
        )
        self._given = self._objections.fingerprints
        self._objections = self._objections.shared_with(self._place)
        self._is_examined = False
        with suppress(Exception):
            if client.get_connection_kwargs().get("socket_timeout") is None:
                warn_once(_PATIENT)

    def standings(self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None) -> dict[Any, Standing]:
        """The standing of several people for one purpose, by the ids as they were given: in one way to each server.

        Raises:
            InvalidRecordError: `at` is naive, or an id is malformed.
            RegistryError: The server failed.
        """
        return self._ask(lambda: self._standings(subject_ids, purpose, at))

    def _standings(self, subject_ids: Iterable[Any], purpose: str, at: datetime | None) -> Plan[dict[Any, Standing]]:
        named, moment = purpose_key(purpose), asked_moment(at)
        keys = {subject: subject_key(subject) for subject in subject_ids}
        asked = {key: [key, *self._tags(key)] for key in keys.values()}
        everybody = [each for several in asked.values() for each in several]
        found = yield from self._plans.standings(self._scope, everybody, named, moment)
        said = {key: next((found[each] for each in several if each in found), None) for key, several in asked.items()}
        return {subject: said[key] or Standing.NOT_RECORDED for subject, key in keys.items()}

    def standing(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> Standing:
        """The status of one person for one purpose, with its cause.

        Raises:
            InvalidRecordError: `at` is naive, or the id is malformed.
            RegistryError: The server failed.
        """
        key = subject_key(subject_id)
        return self.standings([key], purpose, at=at)[key]

    def ends_at(self, subject_id: Any, purpose: str) -> datetime | None:
        """When the grant that decides now ends, by itself or by its age; None for never, and when no grant decides.

        Raises:
            InvalidRecordError: The id is malformed.
            RegistryError: The server failed.
        """
        key, named = subject_key(subject_id), purpose_key(purpose)
        return self._ask(lambda: self._plans.ends_at(self._scope, key, named))

    def verify(self, subject_id: Any) -> Verification:
        """As `MemoryRegistry.verify`: whether the records of a person are those that were written.

        Raises:
            InvalidRecordError: The id is malformed.
            RegistryError: The server failed.
        """
        key = subject_key(subject_id)
        return self._ask(lambda: self._plans.verify(self._scope, key))

    def people(self) -> Iterator[tuple[str, str]]:
        """Of whom there are records, as tenant and id; somebody may come twice.

        Raises:
            RegistryError: The server failed.
        """
        problem: ConsentPanelError
        try:
            pattern = "".join(f"[{each}]" if each in "*?[]\\" else each for each in self._prefix) + "{*}:now"
            yield from people_of_keys(self._client.scan_iter(match=pattern, count=1000), self._prefix)
        except FAILURES as error:
            problem = problem_of(error)
        else:
            return
        raise problem

    def scoped(self, name: str) -> Self:
        """The same server for one tenant: its ids never meet those of another, nor those without one.

        Args:
            name: The tenant: 1 to 64 printable characters, no white space around.

        Raises:
            ConfigurationError: The name is malformed, or this is a tenant's already.
        """
        tenant = copy(self)
        tenant._scope = self._tenant(name)  # noqa: SLF001 - its own class
        return tenant

    def __eq__(self, other: object) -> bool:
        """Whether the other one answers by the same client in the same way."""
        return type(other) is type(self) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def _key(self) -> tuple[object, ...]:
        return *self._store_of_consent, self._required, self._max_age, self._is_strict, self._given

    @property
    def _store_of_consent(self) -> tuple[object, ...]:
        return *self._place, self._scope

    @property
    def _place(self) -> tuple[object, ...]:
        return id(self._client), self._prefix

    def _tags(self, key: str) -> list[str]:
        return self._objections.tags(self._scope, key) if self._objections else []

    def _read(self, subject_id: str) -> list[ConsentRecord]:
        return self._ask(lambda: self._plans.history(self._scope, subject_id))

    def _write(self, records: list[ConsentRecord], *, is_stamped_here: bool, **_: Any) -> None:
        self._examine()
        self._ask(lambda: self._plans.append(self._scope, records, is_stamped_here=is_stamped_here))

    def _forget_all(self, key: str, tags: list[str], **_: Any) -> int:
        return self._ask(lambda: self._plans.forget(self._scope, key, tags))

    def _ask(self, plan: Callable[[], Plan[_T]]) -> _T:
        """What comes of a plan; failures are told by their type alone, because their texts hold keys."""
        problem: ConsentPanelError
        try:
            return _run(self._client, plan())
        except FAILURES as error:
            problem = problem_of(error)
        raise problem

    def _examine(self) -> None:
        """Warns once of a server that loses what it is given. A hosted one may not tell."""
        if self._is_examined:
            return
        self._is_examined = True
        with suppress(Exception):
            settings: dict[Any, Any] = {}
            for name in EXAMINED:
                settings.update(self._client.config_get(name))
            warn_of(settings)


def client_of(url: str) -> Any:
    """A client of a server by its URL, for commands.

    Raises:
        ConfigurationError: It is no URL of Redis's.
    """
    with suppress(ValueError):
        return redis.Redis.from_url(url, socket_timeout=30, socket_connect_timeout=5)
    raise ConfigurationError("an address of Redis must be redis://host:port/number")


def problem_of(error: Exception) -> ConsentPanelError:
    """What is told of a failure of the server or of a text."""
    if isinstance(error, UnicodeError):
        return InvalidRecordError("an id or a text of a record cannot be written as UTF-8")
    return RegistryError(f"the Redis server failed: {type(error).__name__}")


def _run(client: Any, plan: Plan[_T]) -> _T:
    answers: Sequence[Any] | None = None
    while True:
        try:
            commands = plan.send(answers)  # type: ignore[arg-type]
        except StopIteration as end:
            result: _T = end.value
            return result
        try:
            answers = _answers(client, commands)
        except BROKEN:
            # A connection that broke while it was idle. Of a write nobody knows whether it was done: the plan looks.
            answers = [None] if commands[0][0] == "EVAL" else _answers(client, commands)


def _answers(client: Any, commands: Sequence[Command]) -> Sequence[Any]:
    if len(commands) == 1:
        return [client.execute_command(*commands[0])]
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    found: Sequence[Any] = pipeline.execute()
    return found


#: What a server is asked about itself.
EXAMINED = ("appendonly", "save", "maxmemory", "maxmemory-policy")


def warn_of(settings: Mapping[Any, Any]) -> None:
    """Warns once of a server that loses what it is given.

    Args:
        settings: What it says of itself.
    """
    told = {_plain(name): _plain(value) for name, value in settings.items()}
    if told.get("appendonly") == "no" and told.get("save") == "":
        warn_once(_VOLATILE)
    if told.get("maxmemory") != "0" and told.get("maxmemory-policy", "").startswith("allkeys"):
        warn_once(_EVICTING.format(told["maxmemory-policy"]))


def _plain(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
