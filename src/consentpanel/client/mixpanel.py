"""`Mixpanel`: the vendor's client with a guard in front of it."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, cast

from consentpanel._checks import host
from consentpanel._consent.regime import RegimeRule
from consentpanel._log import note_failure
from consentpanel._messages.decision import Decision, MessageError, Reason
from consentpanel._messages.wire import Wire
from consentpanel._mixpanel import vendor
from consentpanel._mixpanel.hosts import host_of
from consentpanel._mixpanel.names import TIMES
from consentpanel.client._capture import captured, plain, problem_of
from consentpanel.client._consent_calls import ConsentCalls
from consentpanel.client._guard import CANNOT_HOLD, Guard
from consentpanel.client._sealed import SealedTransport
from consentpanel.client._settings import KEYWORDS, Context, Observer, OnError, RegistryLike, WhileUnknown, checked
from consentpanel.client._signatures import refuse_unknown_calls
from consentpanel.errors import ConfigurationError
from consentpanel.policy import FieldPolicy, Identity

_UUID4 = uuid.uuid4

if TYPE_CHECKING:
    import json
    from types import TracebackType

    from consentpanel._consent.standing import Standing
    from consentpanel._messages.message import Message
    from consentpanel.privacy_requests import PrivacyRequests
    from consentpanel.transparency._configuration import Configuration


class Mixpanel(ConsentCalls):
    """The vendor's client; each call is sent, redacted or dropped by consent and field policy.

    A subclass of `mixpanel.Mixpanel` that takes the same arguments in the same order. Every
    tracking method returns a `Decision`. What is not given here comes from `configure`; with neither, nothing that
    needs consent is sent.

    Args:
        token: The project's token.
        consumer: Where messages go: any object with the vendor's ``send``. A `mixpanel.Consumer` when left out.
        serializer: A `json.JSONEncoder` subclass that writes values JSON does not know.
        local_flags_config: Turns on local feature flags.
        remote_flags_config: Turns on remote feature flags; each request needs consent.
        credentials: A `ServiceAccountCredentials` for the default consumer (mixpanel 5.2 or newer).
        registry: Who has consented: a `ConsentRegistry`, or a callable ``(subject_id, purpose)``.
        policy: Which properties may be sent; without one, none that is not structural.
        identity: How ids leave: `plain`, `pseudonymous` or `per_subject`; as they are when left out.
        regime: What silence means: a `Regime`, or a callable ``(subject_id) -> Regime``. Opt-in when left out.
        purposes: The purposes of events and calls by name, such as ``{"Ad clicked": "targeting"}``.
        on_error: ``"drop"`` (default): what fails is dropped, counted and logged. ``"raise"``: it raises.
        observers: Callables that get each `Decision`; one that raises is logged and ignored. `consentpanel.observers` has two
            for metrics.
        privacy: Asks the vendor to erase people, for ``withdraw(erase=True)``.
        context: A function that returns a context manager, such as Flask's ``app.app_context``: it surrounds each question
            to the registry and the regime that is asked outside of a call, when what waited is to leave.
        while_unknown: What becomes of the messages of somebody who was never asked, where the regime is opt-in. ``"drop"``
            (default), or ``"hold"``: a `BufferedConsumer`, `BackgroundConsumer`, `SpoolConsumer` or outbox keeps them back, and
            they leave only after a grant that says ``covers_held=True``.
        hold_for: The most seconds that these are held; half an hour when left out.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        >>> from consentpanel import FieldPolicy, Mixpanel, keep
        >>> from consentpanel.registry import MemoryRegistry
        >>> from consentpanel.testing import FakeTransport
        >>> registry, transport = MemoryRegistry(), FakeTransport()
        >>> mp = Mixpanel("TOKEN", transport, registry=registry, policy=FieldPolicy(events={"plan": keep()}))
        >>> bool(mp.track("user-1", "Signed up", {"plan": "pro"}))
        False
        >>> _ = registry.grant("user-1")
        >>> bool(mp.track("user-1", "Signed up", {"plan": "pro"}))
        True
    """

    def __init__(
        self,
        token: str,
        consumer: Any = None,
        serializer: Callable[..., json.JSONEncoder] = vendor.DatetimeSerializer,
        local_flags_config: Any = None,
        remote_flags_config: Any = None,
        credentials: Any = None,
        *,
        registry: RegistryLike | None = None,
        policy: FieldPolicy | None = None,
        identity: Identity | None = None,
        regime: RegimeRule | None = None,
        purposes: Mapping[str, str | Iterable[str]] | None = None,
        on_error: OnError | None = None,
        observers: Iterable[Observer] | None = None,
        privacy: PrivacyRequests | None = None,
        context: Context | None = None,
        while_unknown: WhileUnknown | None = None,
        hold_for: float | None = None,
    ) -> None:
        given = locals()
        if not isinstance(token, str) or not token.strip() or token != token.strip():
            came = "one with white space around it" if isinstance(token, str) and token.strip() else "an empty one"
            came = came if isinstance(token, str) else type(token).__name__
            raise ConfigurationError(f"token must be the project's token, a non-empty str, not {came}")
        if serializer is not None and not callable(serializer):
            raise ConfigurationError(f"serializer must be a class of json.JSONEncoder, not {type(serializer).__name__}")
        self._guard = Guard(checked({name: given[name] for name in KEYWORDS}))
        vendors: dict[str, Any] = {} if credentials is None else {"credentials": credentials}
        if credentials is not None and "ServiceAccountCredentials" not in vendor.NAMES:
            raise ConfigurationError("credentials needs mixpanel 5.2 or newer")
        if consumer is None and (default := vendor.consumer_put_over()) is not None:
            consumer = default(**vendors)
        super().__init__(token, consumer, cast("Any", serializer), None, None, **vendors)
        if consumer is not None:
            # The vendor takes a consumer that is empty (and so false) for none.
            self._consumer = consumer
        # A test may have put something over the properties, or over the vendor's constructor.
        if "_sealed" not in vars(self):
            found = self.__dict__.pop("_consumer", getattr(self, "_consumer", None))
            if found is not None:
                self._seal(found)
        if while_unknown == "hold" and not getattr(getattr(self, "_sealed", None), "holds", False):
            raise ConfigurationError(CANNOT_HOLD)
        if "_wire" not in vars(self):
            self._write_with(self.__dict__.pop("_serializer", serializer))
        if local_flags_config or remote_flags_config:
            from consentpanel.client._flags import LocalFlags, RemoteFlags, quieten

            for config in filter(None, (local_flags_config, remote_flags_config)):
                host(getattr(config, "api_host", "api.mixpanel.com"))
            quieten()
            if remote_flags_config:
                self._remote_flags_provider = RemoteFlags(self, self._guard, remote_flags_config, **vendors)
            if local_flags_config:
                self._local_flags_provider = LocalFlags(self, self._guard, local_flags_config, **vendors)

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for name in ("_consumer", "_serializer"):
            for holder in cls.__mro__[: cls.__mro__.index(Mixpanel)]:
                if hasattr(type(vars(holder).get(name)), "__set__"):
                    raise ConfigurationError(
                        f"{holder.__name__}.{name} is a property, which would go around the consent gate: give the consumer "
                        "to the constructor, or assign it"
                    )
                # The vendor's constructor overrides such a class attribute; here it would hide the seal.
                if name in vars(holder) and not issubclass(holder, Mixpanel):
                    setattr(cls, name, vars(Mixpanel)[name])
                elif name in vars(holder):
                    delattr(holder, name)

    @property
    def _consumer(self) -> Any:
        return self._sealed

    @_consumer.setter
    def _consumer(self, consumer: Any) -> None:
        self._seal(consumer)

    @_consumer.deleter
    def _consumer(self) -> None:
        # `mock.patch.object` deletes, and puts back what is then missing.
        del self._sealed

    def _seal(self, consumer: Any) -> None:
        self._sealed = SealedTransport(consumer, self._guard, self._default_of)

    @property
    def _serializer(self) -> Any:
        return self._written_by

    @_serializer.setter
    def _serializer(self, serializer: Any) -> None:
        self._write_with(serializer)

    @_serializer.deleter
    def _serializer(self) -> None:
        del self._written_by

    def _write_with(self, serializer: Any) -> None:
        self._written_by = serializer
        self._wire = Wire(serializer)

    def _default_of(self, name: str) -> Any:
        """What the vendor's code writes for a structural name."""
        if name in {"token", "$token"}:
            return self._token
        if name in TIMES:
            return self._now()
        if name == "$insert_id":
            return self._make_insert_id()
        return {"mp_lib": "python", "$lib_version": vendor.NAMES["__version__"]}.get(name)

    def _make_insert_id(self) -> str:
        is_vendors = vendor.Mixpanel._make_insert_id is vendor.make_insert_id
        if not is_vendors or getattr(vendor.NAMES.get("uuid"), "uuid4", None) is not _UUID4:
            # Tests put their own over the vendor's hook, or over what it calls.
            made: str = super()._make_insert_id()
            return made
        # As random and as long as the vendor's uuid4().hex, without building the UUID.
        return os.urandom(16).hex()

    @property
    def _configuration(self) -> Configuration:
        """What `consentpanel.transparency` tells visitors, and holds to promises."""
        from consentpanel.transparency._configuration import Configuration

        settings = self._guard.settings()
        return Configuration(
            policy=settings.policy,
            regime=settings.regime,
            identity=settings.identity,
            purposes=settings.purposes.given,
            hold_for=settings.hold_for if settings.holds else None,
            hosts=frozenset(map(host_of, self._sealed.addresses)),
            privacy_host=None if settings.privacy is None else host_of(settings.privacy.host),
            asks_for_flags=getattr(self, "_remote_flags_provider", None) is not None,
            uses_flags=any(
                getattr(self, name, None) is not None for name in ("_remote_flags_provider", "_local_flags_provider")
            ),
            is_client=True,
        )

    def stats(self) -> dict[str, dict[str, int]]:
        """What became of the messages since this client was built: each is counted once, under what became of it in the end.

        Returns:
            By outcome, then by reason, the number of messages. Keys are `Outcome` and `Reason`, which equal their words.
            What waits in a `BufferedConsumer` or `BackgroundConsumer` stands under ``"queued"``.

        Example:
            >>> from consentpanel import Mixpanel
            >>> from consentpanel.registry import MemoryRegistry
            >>> from consentpanel.testing import FakeTransport
            >>> mp = Mixpanel("TOKEN", FakeTransport(), registry=MemoryRegistry())
            >>> _ = mp.track("user-1", "Signed up")
            >>> mp.stats()["dropped"]["no_consent"]
            1
        """
        return self._guard.reporter.stats()

    def flush(self) -> None:
        """Sends what the consumer has buffered; nothing when it does not buffer.

        Raises:
            mixpanel.MixpanelException: As the consumer raises it.
        """
        self._sealed.control("flush")

    def close(self) -> None:
        """Flushes and closes the consumer; one that cannot be closed is only flushed.

        Raises:
            mixpanel.MixpanelException: As the consumer raises it.
        """
        self._sealed.control("close", "flush")

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        try:
            self.flush()
        finally:
            super().__exit__(exc_type, exc_val, exc_tb)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        try:
            await asyncio.to_thread(self.flush)
        finally:
            await super().__aexit__(exc_type, exc_val, exc_tb)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} client cannot be pickled or copied: build it in the worker")

    def track(
        self,
        distinct_id: Any,
        event_name: str,
        properties: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Decision:
        """Records an event, if the person allows it.

        Args:
            distinct_id: The person: a `str`, `int` or `UUID`.
            event_name: What happened.
            properties: What the policy's ``events`` rules judge. A ``time`` here is the event's own time: consent must
                have held then, and must hold now.
            meta: Merged over the whole event by the vendor's client, and judged as the part it lands in.

        Returns:
            The `Decision`.

        Raises:
            mixpanel.MixpanelException: As the consumer raises it.
            MessageError: Something failed and the client was built with ``on_error="raise"``.
        """
        known: Standing | None = None
        if (
            type(distinct_id) is type(event_name) is str
            and distinct_id
            and event_name
            and meta is None
            and self._wire.is_plain
            and self._takes_fast_path()
        ):
            decision, known = self._guard.event_at_once(self, distinct_id, event_name, properties, self._sealed)
            if decision is not None:
                return decision
        return self._record(vendor.track, (distinct_id, event_name), properties, meta, ids=(distinct_id,), known=known)

    def _track_exposure(self, distinct_id: Any, event_name: str, properties: Mapping[str, Any] | None = None) -> None:
        """Tracks what the vendor's flag code reports; nothing of ours may break a flag."""
        try:
            self.track(distinct_id, event_name, properties)
        except MessageError:
            # Told where it arose.
            return
        except vendor.MixpanelException as error:
            # Of one of our buffers, which is full or closed; another consumer's passes through, as the vendor has it.
            if not self._sealed.keeps:
                raise
            note_failure("the consumer of an exposure", error)

    def import_data(
        self,
        api_key: Any,
        distinct_id: Any,
        event_name: str,
        timestamp: Any,
        properties: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
        api_secret: Any = None,
    ) -> Decision:
        """Records an event of the past, if the person allowed it then and allows it now.

        Args:
            api_key: As in the vendor's client (deprecated there).
            distinct_id: The person: a `str`, `int` or `UUID`.
            event_name: What happened.
            timestamp: When: seconds since 1970 UTC.
            properties: What the policy's ``events`` rules judge.
            meta: Merged over the whole event by the vendor's client, and judged as the part it lands in.
            api_secret: As in the vendor's client (deprecated there).

        Returns:
            The `Decision`.

        Raises:
            mixpanel.MixpanelException: As the consumer raises it.
            MessageError: Something failed and the client was built with ``on_error="raise"``.
        """
        build = partial(vendor.import_data, api_secret=api_secret)
        return self._record(build, (api_key, distinct_id, event_name, timestamp), properties, meta, ids=(distinct_id,))

    def alias(self, alias_id: Any, original: Any, meta: Mapping[str, Any] | None = None) -> Decision:
        """Joins two ids of one person, if both allow it; through this client's transport, at once.

        The vendor's client opens a connection of its own to the US host, whatever consumer it was given; this one
        does not.

        Args:
            alias_id: The id to join.
            original: The id it is joined with.
            meta: Merged over the whole event.

        Returns:
            The `Decision`.

        Raises:
            mixpanel.MixpanelException: As the consumer raises it.
            MessageError: Something failed and the client was built with ``on_error="raise"``.
        """

        def build(client: Any, _: None, meta: Mapping[str, Any] | None) -> None:
            names = {"distinct_id": original, "alias": alias_id, "token": client._token}
            client.send("events", {"event": "$create_alias", "properties": names, **(meta or {})})

        return self._sent_at_once(self._record(build, (), None, meta, ids=(alias_id, original)))

    def merge(
        self,
        api_key: Any,
        distinct_id1: Any,
        distinct_id2: Any,
        meta: Mapping[str, Any] | None = None,
        api_secret: Any = None,
    ) -> Decision:
        """Merges two ids, if both persons allow it.

        Args:
            api_key: As in the vendor's client (deprecated there).
            distinct_id1: The first id.
            distinct_id2: The second id.
            meta: Merged over the whole event.
            api_secret: As in the vendor's client (deprecated there).

        Returns:
            The `Decision`.

        Raises:
            mixpanel.MixpanelException: As the consumer raises it.
            MessageError: Something failed and the client was built with ``on_error="raise"``.
        """

        def build(client: Any, _: None, meta: Mapping[str, Any] | None) -> None:
            vendor.merge(client, api_key, distinct_id1, distinct_id2, meta, api_secret)

        return self._record(build, (), None, meta, ids=(distinct_id1, distinct_id2))

    def people_update(self, message: Mapping[str, Any], meta: Mapping[str, Any] | None = None) -> Decision:
        """Updates a profile, if the person allows it; what only takes data away always passes.

        Every ``people_*`` method comes here.

        Args:
            message: The update, such as ``{"$distinct_id": "user-1", "$set": {"plan": "pro"}}``.
            meta: Merged over the update.

        Returns:
            The `Decision`.

        Raises:
            mixpanel.MixpanelException: As the consumer raises it.
            MessageError: Something failed and the client was built with ``on_error="raise"``.
        """
        known: Standing | None = None
        if (
            (meta is None or (type(meta) is dict and not meta))
            and type(message) is dict
            and self._wire.is_plain
            and self._takes_fast_path()
        ):
            decision, known = self._guard.update_at_once(self, message, self._sealed)
            if decision is not None:
                return decision
        return self._record(vendor.people_update, (), message, meta, known=known, endpoint="people")

    def people_track_charge(
        self,
        distinct_id: Any,
        amount: Any,
        properties: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Decision:
        """Notes a charge on a profile, as the vendor's client does, without changing the caller's dict.

        Args:
            distinct_id: The person: a `str`, `int` or `UUID`.
            amount: How much was charged.
            properties: More about the charge.
            meta: Merged over the update.

        Returns:
            The `Decision`.
        """
        said = None
        with suppress(Exception):  # refused below, where no exception with values is at hand
            said = plain(properties) or {}
        if said is None:
            problem = problem_of("properties", properties)
            return self._guard.refuse("people", Reason.INVALID_MESSAGE, self._sealed, problem)
        return cast("Decision", super().people_track_charge(distinct_id, amount, said, meta))

    def group_update(self, message: Mapping[str, Any], meta: Mapping[str, Any] | None = None) -> Decision:
        """Updates a group's profile; a group is no person, so only the policy judges it.

        Every ``group_*`` method comes here.

        Args:
            message: The update, such as ``{"$group_key": "company", "$group_id": "acme", "$set": {...}}``.
            meta: Merged over the update.

        Returns:
            The `Decision`.

        Raises:
            mixpanel.MixpanelException: As the consumer raises it.
            MessageError: Something failed and the client was built with ``on_error="raise"``.
        """
        return self._record(vendor.group_update, (), message, meta, endpoint="groups")

    def _record(
        self,
        build: Callable[..., object],
        arguments: tuple[Any, ...],
        properties: Mapping[str, Any] | None,
        meta: Mapping[str, Any] | None,
        *,
        ids: tuple[object, ...] = (),
        known: Standing | None = None,
        endpoint: str = "events",
    ) -> Decision:
        """Has the vendor's code build the record, then the guard judge and send it."""
        message, credentials = captured(self, build, arguments, properties, meta, ids=ids, endpoint=endpoint)
        return self._submit(message, credentials, known)

    # What another driver of the same calls does otherwise.

    def _takes_fast_path(self) -> bool:
        return True

    def _submit(self, message: Message, credentials: object, known: Standing | None) -> Decision:
        return self._guard.submit(message, credentials, self._sealed, known)

    def _sent_at_once(self, decision: Decision) -> Decision:
        if decision and not self._sealed.sends_by_itself:
            self.flush()
        return decision


refuse_unknown_calls(Mixpanel)
