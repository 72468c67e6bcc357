"""The client for applications of asyncio: the same gate and rules, asked and delivered without blocking the loop."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from consentpanel._consent.standing import Standing
from consentpanel._forks import Survivors
from consentpanel._log import note_failure
from consentpanel._messages.decision import Decision, MessageError
from consentpanel._messages.message import Message
from consentpanel._mixpanel import vendor
from consentpanel._mixpanel.calls import CALLS
from consentpanel.client._consent_calls import Withdrawal
from consentpanel.client.mixpanel import Mixpanel
from consentpanel.errors import RegistryError
from consentpanel.registry._acts import Act, Plan, Stopped, as_raised, at_once
from consentpanel.registry._later import awaited_registry, bridged, is_later
from consentpanel.transport import BackgroundConsumer

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    _Props = Mapping[str, Any]
    _Meta = Mapping[str, Any] | None

_T = TypeVar("_T")

#: Threads in which what may take its time is done, for all clients of the process.
_THREADS = 32
#: Seconds that a call which was cancelled waits for what it is writing.
_WRITTEN = 5.0


class AsyncMixpanel:
    """As `Mixpanel`, for asyncio: every call that sends or records is a coroutine, and none blocks the event loop.

    The constructor is that of `Mixpanel`. ``registry=`` may also be asynchronous: `AsyncSQLAlchemyRegistry`,
    `AsyncRedisRegistry`, any class with the coroutine methods of `AsyncConsentRegistry`, or a coroutine function
    ``(subject_id, purpose)``. One that answers at once is asked in a thread, and so is a function given as ``regime=``.

    Without a consumer messages are sent by a `BackgroundConsumer`. Any other consumer is called in a thread. What is buffered
    is judged again by threads of the buffer, which have an asynchronous registry asked in the client's event loop: close the
    client, or leave ``async with``, before that loop ends. Defaults of `configure` are read as by `Mixpanel`; an asynchronous
    registry is given to the constructor.

    Args:
        arguments: As for `Mixpanel`.

    Raises:
        ConfigurationError: As `Mixpanel`.

    Example:
        >>> import asyncio
        >>> from consentpanel import AsyncMixpanel
        >>> from consentpanel.testing import FakeTransport
        >>> async def consent_of(subject_id, purpose):
        ...     return subject_id == "user-1"
        >>> async def main():
        ...     async with AsyncMixpanel("TOKEN", FakeTransport(), registry=consent_of) as mp:
        ...         return [bool(await mp.track(who, "Signed up")) for who in ("user-1", "user-2")]
        >>> asyncio.run(main())
        [True, False]
    """

    def __init__(
        self, token: str, consumer: Any = None, *arguments: Any, registry: Any = None, **keywords: Any
    ) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._awaited: Any = None
        #: What goes on though nobody awaits it any more: exposures, and deliveries of calls that were cancelled.
        self._going_on: set[asyncio.Future[Any]] = set()
        if registry is not None and is_later(registry):
            self._awaited = awaited_registry(registry)
            registry = bridged(self._awaited, lambda: self._loop)
        if consumer is None:
            consumer = BackgroundConsumer(**_credentials(arguments, keywords))
        self._client = _Planning(token, consumer, *arguments, registry=registry, **keywords)
        self._client.asked = self._awaited
        self._client.drive = self._drive_soon
        remote = getattr(self._client, "_remote_flags_provider", None)
        if remote is not None:
            remote.in_thread = self._in_thread

    if TYPE_CHECKING:

        async def track(
            self, distinct_id: Any, event_name: str, properties: _Props | None = None, meta: _Meta = None
        ) -> Decision: ...
        async def import_data(
            self,
            api_key: Any,
            distinct_id: Any,
            event_name: str,
            timestamp: Any,
            properties: _Props | None = None,
            meta: _Meta = None,
            api_secret: Any = None,
        ) -> Decision: ...
        async def merge(
            self, api_key: Any, distinct_id1: Any, distinct_id2: Any, meta: _Meta = None, api_secret: Any = None
        ) -> Decision: ...
        async def people_set(self, distinct_id: Any, properties: _Props, meta: _Meta = None) -> Decision: ...
        async def people_set_once(self, distinct_id: Any, properties: _Props, meta: _Meta = None) -> Decision: ...
        async def people_increment(self, distinct_id: Any, properties: _Props, meta: _Meta = None) -> Decision: ...
        async def people_append(self, distinct_id: Any, properties: _Props, meta: _Meta = None) -> Decision: ...
        async def people_union(self, distinct_id: Any, properties: _Props, meta: _Meta = None) -> Decision: ...
        async def people_unset(self, distinct_id: Any, properties: Sequence[str], meta: _Meta = None) -> Decision: ...
        async def people_remove(self, distinct_id: Any, properties: _Props, meta: _Meta = None) -> Decision: ...
        async def people_delete(self, distinct_id: Any, meta: _Meta = None) -> Decision: ...
        async def people_clear_charges(self, distinct_id: Any, meta: _Meta = None) -> Decision: ...
        async def people_track_charge(
            self, distinct_id: Any, amount: Any, properties: _Props | None = None, meta: _Meta = None
        ) -> Decision: ...
        async def people_update(self, message: _Props, meta: _Meta = None) -> Decision: ...
        async def group_set(
            self, group_key: str, group_id: Any, properties: _Props, meta: _Meta = None
        ) -> Decision: ...
        async def group_set_once(
            self, group_key: str, group_id: Any, properties: _Props, meta: _Meta = None
        ) -> Decision: ...
        async def group_union(
            self, group_key: str, group_id: Any, properties: _Props, meta: _Meta = None
        ) -> Decision: ...
        async def group_unset(
            self, group_key: str, group_id: Any, properties: Sequence[str], meta: _Meta = None
        ) -> Decision: ...
        async def group_remove(
            self, group_key: str, group_id: Any, properties: _Props, meta: _Meta = None
        ) -> Decision: ...
        async def group_delete(self, group_key: str, group_id: Any, meta: _Meta = None) -> Decision: ...
        async def group_update(self, message: _Props, meta: _Meta = None) -> Decision: ...

    async def alias(self, alias_id: Any, original: Any, meta: _Meta = None) -> Decision:
        """As `Mixpanel.alias`: joins two ids of one person, if both allow it, at once.

        Returns:
            The `Decision`.

        Raises:
            mixpanel.MixpanelException: As the consumer raises it.
            MessageError: Something failed and the client was built with ``on_error="raise"``.
        """
        decision = await self._come_of(self._client.planned("alias", alias_id, original, meta))
        if decision and not self._client.sends_by_itself:
            await self.flush()
        return decision

    async def withdraw(
        self,
        subject_id: Any,
        purposes: Iterable[str] | None = None,
        *,
        delete_profile: bool = False,
        erase: bool = False,
        **fields: Any,
    ) -> Withdrawal:
        """As `Mixpanel.withdraw`: the arguments, what is returned and each error are the same."""
        call = partial(
            self._client.withdraw, subject_id, purposes, delete_profile=delete_profile, erase=erase, **fields
        )
        return await self._in_its_place(call)

    async def opt_out(self, subject_id: Any, *, delete_profile: bool = True, **fields: Any) -> Withdrawal:
        """As `Mixpanel.opt_out`."""
        call = partial(self._client.opt_out, subject_id, delete_profile=delete_profile, **fields)
        return await self._in_its_place(call)

    async def opt_in(
        self, subject_id: Any, *purposes: str, properties: _Props | None = None, **fields: Any
    ) -> Decision:
        """As `Mixpanel.opt_in`."""
        call = partial(self._client.opt_in, subject_id, *purposes, properties=properties, **fields)
        return await self._in_its_place(call)

    async def flush(self) -> None:
        """As `Mixpanel.flush`; waits without blocking the loop."""
        await self._rest()
        await self._in_thread(self._client.flush)

    async def close(self) -> None:
        """As `Mixpanel.close`; waits without blocking the loop."""
        await self._rest()
        await self._in_thread(self._client.close)

    def stats(self) -> dict[str, dict[str, int]]:
        """As `Mixpanel.stats`."""
        return self._client.stats()

    @property
    def remote_flags(self) -> Any:
        """The vendor's provider of remote flags behind the gate; its ``aget_...`` methods do not block the loop."""
        self._note_loop()
        return self._client.remote_flags

    @property
    def local_flags(self) -> Any:
        """The vendor's provider of local flags; its exposures are events like any other."""
        self._note_loop()
        return self._client.local_flags

    async def __aenter__(self) -> Self:
        self._note_loop()
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        try:
            await self.flush()
        finally:
            await vendor.Mixpanel.__aexit__(self._client, exc_type, exc_val, exc_tb)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} client cannot be pickled or copied: build it in the worker")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    async def _run_beside(self, work: Callable[[], _T]) -> _T:
        """What comes of some work in a thread, while this loop answers for an asynchronous registry; for the command line."""
        self._note_loop()
        return await asyncio.to_thread(work)

    def _note_loop(self) -> None:
        with suppress(RuntimeError):
            self._loop = asyncio.get_running_loop()

    async def _come_of(self, planned: Decision | Plan[Decision]) -> Decision:
        self._note_loop()
        if isinstance(planned, Decision):
            return planned
        # Here, where the caller is; what follows is done by another task, and thread.
        drive = _Drive(planned, partial(self._done, pinned=self._client.pin()))
        task = asyncio.ensure_future(drive.run())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # What is being delivered is told and counted as what it becomes.
            if drive.is_delivering:
                self._keep(task)
                if self._client.keeps_for_others:
                    # What is being written may belong to the transaction that the caller ends now.
                    await asyncio.wait([task], timeout=_WRITTEN)
            else:
                drive.is_cancelled = True
                task.cancel()
            raise

    async def _done(self, act: Act, pinned: Callable[[Callable[[], Any]], Callable[[], Any]] | None = None) -> Any:
        if act.kind == "ask" and self._awaited is not None:
            found = act.do()
            return await found if inspect.isawaitable(found) else found
        if act.kind == "deliver" and self._client.takes_at_once:
            return act.do()
        if act.kind == "deliver":
            return await self._in_thread(act.do if pinned is None else pinned(act.do), _pool.delivering)
        return await self._in_thread(act.do)

    async def _in_its_place(self, act: Callable[[], _T]) -> _T:
        """As `_in_thread`, in the transaction of this caller where an outbox keeps messages."""
        pinned = self._client.pin()
        return await to_its_end(self._in_thread(act if pinned is None else pinned(act)))

    async def _in_thread(self, act: Callable[[], _T], executor: ThreadPoolExecutor | None = None) -> _T:
        self._note_loop()
        context = contextvars.copy_context()
        try:
            attempt = partial(context.run, partial(_attempt, act))
            done = asyncio.get_running_loop().run_in_executor(executor or _pool.asking, attempt)
        except RuntimeError:
            # The interpreter is ending, and starts no more threads.
            return act()
        outcome: tuple[Any, BaseException | None] = await done
        answer, error = outcome
        if error is not None:
            raise error
        return cast("_T", answer)

    def _drive_soon(self, plan: Plan[Decision]) -> None:
        """Has a plan driven of which nobody awaits the decision: an exposure."""
        loop, running = self._loop, None
        with suppress(RuntimeError):
            running = asyncio.get_running_loop()
        if running is not None and (loop is None or loop is running):
            self._keep(asyncio.ensure_future(self._driven_for_nobody(plan)))
        elif loop is not None and loop.is_running():
            loop.call_soon_threadsafe(lambda: self._keep(asyncio.ensure_future(self._driven_for_nobody(plan))))
        else:
            # In this thread, by a registry that answers at once; one that answers later denies here, and says why.
            with suppress(MessageError):
                at_once(plan)

    async def _driven_for_nobody(self, plan: Plan[Decision]) -> None:
        try:
            await _Drive(plan, self._done).run()
        except MessageError:
            # Told where it arose.
            return
        except Exception as error:  # noqa: BLE001 - whatever a consumer raises, nobody else hears of it
            note_failure("the consumer of an exposure", error)

    def _keep(self, task: asyncio.Future[Any]) -> None:
        self._going_on.add(task)
        task.add_done_callback(self._let_go)

    def _let_go(self, task: asyncio.Future[Any]) -> None:
        self._going_on.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and isinstance(error, Exception):
            note_failure("the consumer of a call that was cancelled", error)

    async def _rest(self) -> None:
        """Waits for what goes on in this loop though nobody awaits it."""
        # What other threads have just reported is here first.
        await asyncio.sleep(0)
        running = asyncio.get_running_loop()
        while several := [task for task in self._going_on if task.get_loop() is running]:
            await asyncio.wait(several)


async def to_its_end(work: Awaitable[_T]) -> _T:
    """What comes of some work, which a caller that is cancelled waits for: it may be a part of a transaction that the caller ends next."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        done, _ = await asyncio.wait([task], timeout=_WRITTEN)
        for each in done:
            # Asked for, so that asyncio does not tell of an error whose caller was cancelled.
            if not each.cancelled():
                each.exception()
        raise


class _Drive:
    """Does what a plan needs, one act after the other.

    Args:
        plan: The plan.
        done: Does an act.
    """

    def __init__(self, plan: Plan[Decision], done: Callable[[Act], Awaitable[Any]]) -> None:
        self._plan, self._done = plan, done
        self.is_delivering = self.is_cancelled = False

    async def run(self) -> Decision:
        """What comes of the plan."""
        plan = self._plan
        try:
            act = next(plan)
            while True:
                self.is_delivering = act.kind == "deliver"
                try:
                    answer = await self._done(act)
                except BaseException as error:  # noqa: BLE001 - the plan says what becomes of it
                    if isinstance(error, asyncio.CancelledError) and act.kind == "ask" and not self.is_cancelled:
                        # A task of the registry's own was, and not the call.
                        act = plan.throw(RegistryError("the registry's answer was cancelled"))
                    else:
                        act = plan.throw(as_raised(error))
                else:
                    act = plan.send(answer)
        except StopIteration as end:
            decision: Decision = end.value
            return decision
        except Stopped as stopped:
            # A coroutine cannot raise it as it is.
            raise RuntimeError(f"{type(stopped.error).__name__} was raised") from None


def _attempt(act: Callable[[], _T]) -> tuple[_T | None, BaseException | None]:
    """What an act answers, or raises: a future cannot carry every exception."""
    try:
        return act(), None
    except (StopIteration, StopAsyncIteration) as error:
        return None, Stopped(error)


class _Planning(Mixpanel):
    """A client whose calls can give the plan of what a driver does, in the place of a decision.

    The vendor's own code turns one call into another, and hands on whatever that answers: so a plan comes out of all of them.
    """

    asked: Any = None
    drive: Callable[[Plan[Decision]], None]

    def planned(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        """The plan of a call; the decision where the call is refused as it stands."""
        token = _plans.set(True)
        try:
            return getattr(self, name)(*arguments, **keywords)
        finally:
            _plans.reset(token)

    def _takes_fast_path(self) -> bool:
        return not _plans.get()

    def _submit(self, message: Message, credentials: object, known: Standing | None) -> Any:
        if _plans.get():
            return self._guard.plan(message, credentials, self._sealed, known, self.asked)
        return super()._submit(message, credentials, known)

    def _sent_at_once(self, decision: Any) -> Any:
        return decision if _plans.get() else super()._sent_at_once(decision)

    def _track_exposure(self, distinct_id: Any, event_name: str, properties: Mapping[str, Any] | None = None) -> None:
        plan = self.planned("track", distinct_id, event_name, properties)
        if not isinstance(plan, Decision):
            self.drive(plan)

    def pin(self) -> Callable[[Callable[[], Any]], Callable[[], Any]] | None:
        """Makes of what is to be done for this caller what another thread can do for it; None where that is the same."""
        return self._sealed.pin()

    @property
    def keeps_for_others(self) -> bool:
        """Whether messages are kept on a disk or in a database."""
        return bool(self._sealed.own_spools)

    @property
    def takes_at_once(self) -> bool:
        """Whether the consumer takes a message without waiting."""
        return self._sealed.takes_at_once

    @property
    def sends_by_itself(self) -> bool:
        """Whether nobody has to wait for a flush."""
        return self._sealed.sends_by_itself


#: Whether a call gives its plan; of each task and thread alone.
_plans: contextvars.ContextVar[bool] = contextvars.ContextVar("consentpanel_plans", default=False)


def _call_of(name: str) -> Callable[..., Any]:
    @wraps(getattr(Mixpanel, name))
    async def call(self: AsyncMixpanel, *arguments: Any, **keywords: Any) -> Decision:
        return await self._come_of(self._client.planned(name, *arguments, **keywords))

    call.__qualname__ = f"AsyncMixpanel.{name}"
    return call


for _name in CALLS:
    if _name not in vars(AsyncMixpanel):
        setattr(AsyncMixpanel, _name, _call_of(_name))


def _credentials(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> dict[str, Any]:
    # After the serializer and the two configurations of flags, as in the vendor's constructor.
    found = arguments[3] if len(arguments) > 3 else keywords.get("credentials")
    return {} if found is None else {"credentials": found}


class _Pool:
    """The threads of all clients of the process; a child has its own. A vendor that hangs takes none of those that ask."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begins with no thread."""
        self.asking = ThreadPoolExecutor(_THREADS, "consentpanel")
        self.delivering = ThreadPoolExecutor(_THREADS, "consentpanel")


_pool = _Pool()
_ALIVE: Survivors[_Pool] = Survivors(_Pool.start)
_ALIVE.add(_pool)
