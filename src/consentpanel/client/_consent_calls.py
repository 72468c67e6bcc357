"""What a person says about consent, as calls of the client: withdraw, opt out, opt in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from consentpanel._consent.ids import BUILT_IN_PURPOSES, Purpose, subject_key
from consentpanel._consent.records import ConsentStatus
from consentpanel._messages.decision import Decision, Outcome, Reason
from consentpanel._mixpanel import vendor
from consentpanel.client._erasure import Erasure, note_numbers, vendor_ids_of
from consentpanel.client._signatures import VendorCalls
from consentpanel.errors import ConfigurationError, InvalidRecordError, RegistryError
from consentpanel.registry._recording import after_commit
from consentpanel.registry._records import split
from consentpanel.registry._writing import not_outlived, purposes_known, say

if TYPE_CHECKING:
    from consentpanel.client._guard import Guard
    from consentpanel.client._sealed import SealedTransport
    from consentpanel.client._settings import Settings
    from consentpanel.privacy_requests import PrivacyTask


@attrs.frozen(kw_only=True)
class Withdrawal:
    """What `Mixpanel.withdraw` did. It names nobody.

    Attributes:
        purposes: The purposes for which a denial was recorded.
        discarded: How many messages waited for the person and were discarded.
        profile: The decisions on the deletion of charges and profile; empty when it was not asked for.
        erasure: The requests to the vendor to delete all data of the person; empty when it was not asked for.
        is_erasure_kept: Whether such a request waits in the file of a `SpoolConsumer`, because the vendor has not taken it yet:
            it is tried again until it does, and its number is then written to the person's record.
        awaits_commit: Whether all but the denial waits for the commit of the transaction that the registry is in by itself, as in
            an atomic block of Django's: nothing is discarded, deleted or asked for when that is taken back.
    """

    purposes: tuple[Purpose, ...]
    discarded: int
    profile: tuple[Decision, ...]
    erasure: tuple[PrivacyTask, ...] = ()
    is_erasure_kept: bool = False
    awaits_commit: bool = False


class ConsentCalls(VendorCalls):
    """The part of the client that writes to the registry."""

    _guard: Guard
    _sealed: SealedTransport

    def withdraw(
        self,
        subject_id: Any,
        purposes: Iterable[str] | None = None,
        *,
        delete_profile: bool = False,
        erase: bool = False,
        **fields: Any,
    ) -> Withdrawal:
        """Records that a person withdraws consent, and discards what waits for that person.

        Args:
            subject_id: The person: a `str`, `int` or `UUID`.
            purposes: What for, and discards what waits for the person on these purposes. When left out, everything:
                the built-in purposes, those of ``purposes=`` and of the policy's rules, and every other one of which the
                registry has a record of the person. A buffer of somebody else's, if it can purge, discards all that
                waits for the person in either case.
            delete_profile: Whether the vendor is told to delete the person's profile and charges as well.
            erase: Whether the vendor is asked to delete all that it holds about the person, by
                the `PrivacyRequests` of the client. The number of the request is recorded in the evidence of a second
                denial, as ``{"deletion_requests": ["..."]}``, so that it can be followed up.
            fields: More about the denial, such as ``source="settings-page"``: those of `ConsentRecord`. ``session=`` or
                ``connection=`` of a `SQLAlchemyRegistry` makes the denial part of the caller's transaction; what waits for
                the person is discarded at once all the same, and so is a profile deleted: ask for that after the commit.

        Returns:
            What was done.

        Raises:
            RegistryError: No registry is configured, it cannot record, or it failed: the denial may be recorded in part,
                and of a registry without `record_many` the text says how many records were appended. What waits for the
                person is discarded all the same. Nothing else was done: withdraw again. One with `created` tells the requests that
                the vendor has taken, where only their numbers could not be recorded.
            InvalidRecordError: An argument is malformed: nothing was done.
            ConfigurationError: `erase` is asked for, and the client has no `privacy=`: nothing was done.
            PrivacyRequestError: The vendor did not take the request to erase; all else is done. Ask again. With a
                `SpoolConsumer` it is kept instead, and tried again.
            mixpanel.MixpanelException: As the consumer raises it; the denial is recorded.

        Example:
            >>> from consentpanel import Mixpanel
            >>> from consentpanel.registry import MemoryRegistry
            >>> from consentpanel.testing import FakeTransport
            >>> registry = MemoryRegistry()
            >>> registry.grant("user-1")
            >>> mp = Mixpanel("TOKEN", FakeTransport(), registry=registry)
            >>> mp.withdraw("user-1", source="settings-page").discarded
            0
            >>> mp.track("user-1", "Signed up").reason
            <Reason.WITHDRAWN: 'withdrawn'>
        """
        settings = self._guard.settings()
        privacy = settings.privacy
        if erase and privacy is None:
            raise ConfigurationError("erase=True needs privacy=PrivacyRequests(...) in the client or configure()")
        if erase and any(split(fields)[1].values()):
            raise ConfigurationError(
                "erase=True cannot be part of a transaction: the vendor takes nothing back. Ask after the commit"
            )
        said = None if purposes is None else _named(purposes)
        subject_key(subject_id)
        try:
            said = self._record_consent(ConsentStatus.DENIED, subject_id, said, fields)
        except RegistryError:
            # What a buffer of somebody else's raises shall not hide that nothing was recorded.
            with suppress(Exception):
                self._sealed.purge(subject_id, said)
            raise
        recorded = said

        def take_effect() -> Withdrawal:
            discarded = self._sealed.purge(subject_id, None if purposes is None else recorded)
            deletions = (self.people_clear_charges, self.people_delete) if delete_profile else ()
            profile = tuple(each(subject_id) for each in deletions)
            erasure: tuple[PrivacyTask, ...] = ()
            waits = False
            if erase:
                erasure, waits = self._erased(settings, subject_id, recorded, split(fields)[0])
            return Withdrawal(
                purposes=recorded, discarded=discarded, profile=profile, erasure=erasure, is_erasure_kept=waits
            )

        if after_commit(settings.registry, take_effect):
            return Withdrawal(purposes=recorded, discarded=0, profile=(), awaits_commit=True)
        return take_effect()

    def _erased(
        self, settings: Settings, subject_id: Any, purposes: tuple[Purpose, ...], fields: Mapping[str, Any]
    ) -> tuple[tuple[PrivacyTask, ...], bool]:
        """What was asked of the vendor, and whether the request waits in a spool because the vendor has not taken it."""
        fields = not_outlived(settings.registry, subject_id, fields)
        erasure = Erasure(subject_key(subject_id), vendor_ids_of(settings, subject_id), purposes, fields)
        for spool in self._sealed.own_spools[:1]:
            # Where the file fails the vendor is asked as without one.
            with suppress(vendor.MixpanelException):
                made = spool.erase(self._sealed, erasure.as_json())
                return made or (), made is None
        tasks = erasure.ask(settings)
        note_numbers(tasks, partial(erasure.note, settings, [task.task_id for task in tasks]))
        return tasks, False

    def opt_out(self, subject_id: Any, *, delete_profile: bool = True, **fields: Any) -> Withdrawal:
        """Opts a person out of everything, as the vendor's client-side libraries do.

        Tracking stops, what is queued is deleted, and so are the profile and its charges.

        Args:
            subject_id: The person: a `str`, `int` or `UUID`.
            delete_profile: Whether the vendor is told to delete the profile; as there, it is unless you say no.
            fields: As for `withdraw`.

        Returns:
            What was done.

        Raises:
            RegistryError: As `withdraw`.
            InvalidRecordError: As `withdraw`.
            mixpanel.MixpanelException: As `withdraw`.
        """
        return self.withdraw(subject_id, delete_profile=delete_profile, **fields)

    def opt_in(
        self, subject_id: Any, *purposes: str, properties: Mapping[str, Any] | None = None, **fields: Any
    ) -> Decision:
        """Opts a person in, and tracks the event ``$opt_in``, as the vendor's client-side libraries do.

        Args:
            subject_id: The person: a `str`, `int` or `UUID`.
            purposes: What for; the three built-in purposes when left out.
            properties: Properties of the event, which the policy judges.
            fields: More about the grant, such as ``source="cookie-banner"``: those of `ConsentRecord`; and ``covers_held=True``
                when the person agrees that what was held before the question may leave. With ``session=`` or
                ``connection=`` and a `SQLAlchemyOutbox` the event is part of the same transaction; with another consumer it is
                judged before the commit, and so dropped: track it after that.

        Returns:
            The decision about the event; where it waits for a commit, as in an atomic block of Django's, one that says so, and the
            observers get the other.

        Raises:
            RegistryError: As `withdraw`.
            InvalidRecordError: As `withdraw`.
            mixpanel.MixpanelException: As the consumer raises it; the grant is recorded.
        """
        # Without names it is the registry that knows whether three at once may be granted.
        self._record_consent(ConsentStatus.GRANTED, subject_id, _named(purposes) if purposes else (), fields)

        def take_effect() -> Decision:
            if fields.get("covers_held"):
                self._sealed.release(subject_id)
            with self._within(split(fields)[1]):
                return self.track(subject_id, "$opt_in", properties)

        if after_commit(self._guard.settings().registry, take_effect):
            return Decision(outcome=Outcome.HELD, reason=Reason.AWAITING_COMMIT, endpoint="events", event="$opt_in")
        return take_effect()

    def _within(self, where: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """In the caller's transaction, where the registry answers, and the consumer keeps messages, within one."""
        theirs = {name: each for name, each in where.items() if each is not None}
        within: Any = getattr(self._guard.settings().registry, "within", None) if theirs else None
        outboxes = [each for each in self._sealed.own_spools if hasattr(each, "within")]
        stack = ExitStack()
        if within is not None and outboxes:
            stack.enter_context(within(**theirs))
            for each in outboxes:
                stack.enter_context(each.within(next(iter(theirs.values()))))
        return stack

    def _record_consent(
        self, status: ConsentStatus, subject_id: Any, purposes: tuple[Purpose, ...] | None, fields: Mapping[str, Any]
    ) -> tuple[Purpose, ...]:
        """The purposes of which it was recorded: those that are given, or all that are known."""
        settings = self._guard.settings()
        if settings.registry is None:
            raise RegistryError("no consent registry is configured: nothing was recorded")
        said = purposes
        unknown: RegistryError | None = None
        if said is None:
            said, unknown = _everything(settings, subject_id, split(fields)[1])
        if status is ConsentStatus.DENIED:
            fields = not_outlived(settings.registry, subject_id, fields)
        say(settings.registry, status, subject_id, said, fields)
        if unknown is not None:
            raise RegistryError(
                f"the withdrawal was recorded for {', '.join(said)}; what else was said is unknown: {unknown}"
            )
        return said


def registry_of(client: ConsentCalls) -> Any:
    """The registry that a client asks; None where none is configured."""
    return client._guard.settings().registry  # noqa: SLF001 - the same file


def settings_of(client: ConsentCalls) -> Settings:
    """What holds for a client now."""
    return client._guard.settings()  # noqa: SLF001 - the same file


def keeps_erasures(client: ConsentCalls) -> bool:
    """Whether an erasure that the vendor does not take is kept by a client, and tried again."""
    return bool(client._sealed.own_spools)  # noqa: SLF001 - the same file


def refuse_nobody(client: ConsentCalls, reason: Reason = Reason.NO_CONSENT) -> Decision:
    """Drops an event about somebody who has no id, and so has agreed to nothing."""
    return client._guard.refuse("events", reason, client._sealed)  # noqa: SLF001 - the same file


def _named(purposes: Iterable[str]) -> tuple[Purpose, ...]:
    """The purposes, each once.

    Raises:
        InvalidRecordError: One is malformed, or there is none.
    """
    named = tuple(dict.fromkeys(map(Purpose, (purposes,) if isinstance(purposes, str) else purposes)))
    if not named:
        raise InvalidRecordError("purposes must name at least one purpose, or be left out")
    return named


def _everything(
    settings: Settings, subject_id: object, where: Mapping[str, Any]
) -> tuple[tuple[Purpose, ...], RegistryError | None]:
    """The purposes that can be known, and why those of which there is a record are not among them."""
    known: list[Purpose] = []
    failure: RegistryError | None = None
    theirs = {name: each for name, each in where.items() if each is not None}
    # Of a proxy that stands for nothing yet nothing can be asked.
    within: Any = getattr(settings.registry, "within", None) if theirs else None
    try:
        # With what the caller's own transaction has recorded.
        with within(**theirs) if within is not None else nullcontext():
            known = purposes_known(settings.registry, subject_id)
    except RegistryError as error:
        failure = error
    return tuple(dict.fromkeys((*_in_use(settings), *known))), failure


def _in_use(settings: Settings) -> tuple[Purpose, ...]:
    return (*BUILT_IN_PURPOSES, *settings.purposes.named, *settings.policy.bound_purposes)


def purposes_in_use(client: ConsentCalls) -> frozenset[Purpose]:
    """The purposes that a call of a client's may be for."""
    return frozenset(_in_use(client._guard.settings()))  # noqa: SLF001 - shared inside the package
