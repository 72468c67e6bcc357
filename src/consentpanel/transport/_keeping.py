"""What the consumers have in common that keep messages where other processes find them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn

from typing_extensions import Self

from consentpanel._checks import seconds, whole_number
from consentpanel._messages.decision import Reason
from consentpanel.errors import ConfigurationError
from consentpanel.transport._message_store import Summary
from consentpanel.transport._spool import Spool
from consentpanel.transport._ticket import Client, Restorer
from consentpanel.transport._waiting import vendor_error, waiting_message

DAY = 86_400.0


def settings_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of `Spool` among the arguments of a consumer.

    Raises:
        ConfigurationError: One cannot work.
    """
    keep_for = given["keep_for"]
    if isinstance(keep_for, bool) or not isinstance(keep_for, (int, float)) or not 0 < keep_for <= 365 * DAY:
        raise ConfigurationError("keep_for must be a number of seconds above 0 and at most a year")
    seconds("request_timeout", given["request_timeout"])
    return {
        "linger": seconds("linger", given["linger"]),
        "connections": whole_number("connections", given["connections"], 0, 32),
        "keep_for": float(keep_for),
        "max_bytes": whole_number("max_bytes", given["max_bytes"], 1_000_000),
    }


class KeepingConsumer:
    """Keeps each message where other processes find it before `send` returns; threads deliver it."""

    #: In texts.
    _kind = "spool"
    #: Tells a client that nobody has to wait for a flush.
    sends_by_itself = True
    #: Tells a client that consent is asked for again before a message leaves.
    judges_again = True
    #: Tells a client that it keeps messages for other processes, which judge them again.
    keeps_for_others = True

    def _open(self, spool: Spool, given: Mapping[str, Any]) -> None:
        self._spool = spool
        self._flush_timeout = seconds("flush_timeout", given["flush_timeout"])
        self._exit_timeout = seconds("exit_timeout", given["exit_timeout"])
        self._takes_credentials = any(given[each] is not None for each in ("consumer", "credentials", "project_secret"))
        self._spool.exit_timeout = max(self._spool.exit_timeout, self._exit_timeout)
        self._is_closed = False
        self._spool.users.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}{' (closed)' if self._is_closed else ''}>"

    def attach(self, client: Client, *, looks: bool = True) -> None:
        """Lets messages of a client's project be delivered by this process; called by the client.

        Args:
            client: The client.
            looks: Whether a thread looks at once for what other processes have left.
        """
        self._spool.attach(client, looks=looks)

    @property
    def _consumer(self) -> Any:
        """The consumer that sends the batches."""
        return self._spool.consumer

    @property
    def own_queue(self) -> Spool:
        """Where messages wait, whoever wrote them; for observers (`consentpanel.observers`)."""
        return self._spool

    @property
    def waiting(self) -> int:
        """How many messages wait, whoever wrote them.

        Raises:
            MixpanelException: What keeps the messages fails.
        """
        return self._spool.waiting()

    @property
    def dropped(self) -> int:
        """How many messages this process has given up: no room, not to be written, or too old."""
        return self._spool.dropped

    def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None:
        """Keep a message; it is there when this returns.

        Args:
            endpoint: ``"events"``, ``"people"``, ``"groups"`` or ``"imports"``.
            json_message: One message, as JSON.
            api_key: As in the vendor's consumers; not kept, because no credentials are.
            api_secret: Likewise.

        Raises:
            MixpanelException: The endpoint is unknown, the message is no text, or the consumer is closed; or an import comes
                with credentials of its own to a consumer without `credentials` or `project_secret`.
        """
        message = waiting_message(endpoint, json_message, api_key, api_secret)
        if self._is_closed:
            raise vendor_error(endpoint, f"{endpoint}: the consumer is closed; this message is not accepted")
        if endpoint == "imports" and not self._takes_credentials:
            text = (
                f"a {self._kind} keeps no credentials: imports need {type(self).__name__}(credentials=) or project_secret=,"
                " or a consumer that has them"
            )
            raise vendor_error(endpoint, f"{endpoint}: {text}")
        self._spool.put(endpoint, message)

    #: Tells a client that what may not leave yet is kept back here: not by what a subclass, or a test, puts in the place of `send`.
    holds_back = send

    def pin(self) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
        """Makes of an act what another thread can do for this caller; for clients."""
        return lambda act: act

    def await_commit(self, send: Callable[[], None], lose: Callable[[Reason], None]) -> Callable[[], bool] | None:
        """Has a message taken by another consumer, at once; for tests, by clients.

        Returns:
            Where nothing tells of the end of the transaction in which it is: what is to be asked, which sends it once that is over, and
            answers whether it is; None anywhere else.
        """
        del lose  # for outboxes
        send()
        return None

    def summary(self) -> Summary:
        """What waits, and nothing of the messages; for the command line.

        Raises:
            MixpanelException: What keeps the messages fails.
        """
        return self._spool.summary()

    def erase(self, client: Client, asked: str) -> Any:
        """Keep a request to erase a person until the vendor has taken it, and try it once now; for clients.

        Args:
            client: The client.
            asked: What is kept of it.

        Returns:
            The requests that were made; None for one that waits.

        Raises:
            MixpanelException: What keeps the messages fails: nothing is kept.
        """
        return self._spool.erase(client, asked)

    def look_at_held(self, subject_id: object = None) -> None:
        """Have leave what a person, or everybody, has agreed to by now; for clients."""
        self._spool.look_at_held(subject_id)

    def flush(self, timeout: float | None = None) -> None:
        """Deliver what waits now, and wait until it has arrived.

        Args:
            timeout: The most seconds to wait; `flush_timeout` when left out.

        Raises:
            MixpanelException: Not everything arrived in time; what did not is kept, and tried again.
        """
        if not self._spool.flush(self._flush_timeout if timeout is None else timeout):
            cause = f" ({self._spool.last_cause})" if self._spool.last_cause else ""
            raise vendor_error(None, f"{self.waiting} messages are not delivered yet, and are kept{cause}")

    def purge(self, subject_id: object, purposes: Collection[str] | None = None) -> int:
        """Erase what waits for a person, whichever process wrote it.

        A batch that is on its way at this moment cannot be called back; when its sending fails, what it holds for
        this person is not tried again.

        Args:
            subject_id: The person: a `str`, an `int` or a `UUID`.
            purposes: Only what stands on one of these; None for all that waits.

        Returns:
            How many messages were erased.

        Raises:
            InvalidRecordError: `subject_id` is not an id.
            MixpanelException: What keeps the messages fails.
        """
        return self._spool.purge(subject_id, purposes)

    def purge_of(self, client: Restorer | None, subject_id: object, purposes: Collection[str] | None = None) -> int:
        """As `purge`, of a client's project and registry: others may know another person by the same id; for clients."""
        return self._spool.purge_of(client, subject_id, purposes)

    def close(self, timeout: float | None = None) -> None:
        """Accept no more, and deliver what waits. What is left after that time stays where it is kept.

        Args:
            timeout: The most seconds to wait; `exit_timeout` when left out.

        Raises:
            MixpanelException: Something is left.
        """
        self._is_closed = True
        try:
            self.flush(self._exit_timeout if timeout is None else timeout)
        finally:
            self._spool.users.discard(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be pickled or copied: build it in the worker")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
