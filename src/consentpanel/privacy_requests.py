"""Requests to the vendor to delete or hand out what it holds about people.

The vendor's GDPR and CCPA interface: https://developer.mixpanel.com/reference/gdpr-api.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import attrs

from consentpanel._consent.ids import subject_key
from consentpanel._consent.secret import fingerprint
from consentpanel._exports import name_all
from consentpanel._mixpanel import patience
from consentpanel._mixpanel.hosts import PRIVACY_HOSTS, REGIONS, Region
from consentpanel.errors import ConfigurationError, ConsentPanelError
from consentpanel.policy import FieldPolicy, Identity, plain

if TYPE_CHECKING:
    import requests

ComplianceType = Literal["GDPR", "CCPA"]
DisclosureType = Literal["Data", "Categories", "Sources"]
#: The vendor takes at most so many ids a request.
MAX_IDS = 2_000

_PATHS = {"deletion": "/api/app/data-deletions/v3.0/", "retrieval": "/api/app/data-retrievals/v3.0/"}
_TOO_FAST = 429
# Somebody at a support desk waits for a minute in all, and is then told that requests come too fast.
_TRIES = 6
_LONGEST_WAIT = 60.0


class TaskStatus(str, Enum):
    """How far the vendor is with a request. In its own words."""

    PENDING = "PENDING"
    STAGING = "STAGING"
    STARTED = "STARTED"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"
    NOT_FOUND = "NOT_FOUND"
    UNKNOWN = "UNKNOWN"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will come."""
        return self.value in {"SUCCESS", "FAILURE", "REVOKED", "NOT_FOUND"}


class PrivacyRequestError(ConsentPanelError):
    """The vendor did not take a request. The text quotes neither ids nor the vendor's answer.

    Attributes:
        status: The HTTP status; None when there was no answer, and nobody knows whether the vendor took it.
        created: What the vendor did take before, when there were more ids than fit in one request.
    """

    def __init__(self, text: str, status: int | None = None, created: tuple[PrivacyTask, ...] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.created = created


class VendorBusyError(PrivacyRequestError):
    """The vendor was not asked, because enough of what pages have asked for is on its way."""


@attrs.frozen(kw_only=True)
class PrivacyTask:
    """One request, as the vendor knows it. It names nobody.

    Attributes:
        kind: ``"deletion"`` or ``"retrieval"``.
        task_id: The vendor's number for it, by which it is looked up.
        status: How far it is.
        count: How many of the vendor's ids it names; None where the vendor does not say.
        requested: When it was made, in the vendor's words; None where it does not say.
        link: Where the data of a retrieval can be fetched, once it is there. Whoever has the link has the data, so that
            no `repr` shows it.
    """

    kind: str
    task_id: str
    status: TaskStatus = TaskStatus.PENDING
    count: int | None = None
    requested: str | None = None
    link: str | None = attrs.field(default=None, repr=False)


class PrivacyRequests:
    """Asks the vendor to delete, or to hand out, what it holds about people.

    Ids are mapped as the client maps them, under every secret that `pseudonymous` knows. More than 2,000 ids become
    several requests. When the vendor says that requests come too fast, the next waits as long as it asks.

    Args:
        token: The project token.
        oauth_token: The OAuth token of an owner or admin of the project; valid for a year.
        region: ``"US"``, ``"EU"`` or ``"IN"``, where the project's data is.
        identity: How ids leave, as for `Mixpanel`; as they are when left out. A client that is given this object uses
            its own.
        policy: The policy whose secret `identity` uses, if it has none of its own.
        compliance_type: ``"GDPR"`` or ``"CCPA"``.
        timeout: How long to wait for an answer, in seconds.
        host: The vendor's host instead of that of the region, such as that of a `FakePrivacyAPI`.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        >>> from consentpanel import PrivacyRequests
        >>> from consentpanel.testing import FakePrivacyAPI
        >>> with FakePrivacyAPI() as vendor:
        ...     privacy = PrivacyRequests("TOKEN", "OAUTH", region="EU", host=vendor.url)
        ...     (task,) = privacy.create_deletion(["user-1"])
        ...     vendor.finish(task.task_id)
        ...     privacy.look_up_deletion(task.task_id).status
        <TaskStatus.SUCCESS: 'SUCCESS'>
    """

    def __init__(
        self,
        token: str,
        oauth_token: str,
        region: Region = "US",
        *,
        identity: Identity | None = None,
        policy: FieldPolicy | None = None,
        compliance_type: ComplianceType = "GDPR",
        timeout: float = 30.0,
        host: str | None = None,
    ) -> None:
        for name, text in (("token", token), ("oauth_token", oauth_token)):
            if not isinstance(text, str) or not text:
                raise ConfigurationError(f"{name} must be a non-empty str, not {type(text).__name__}")
        if region not in REGIONS:
            raise ConfigurationError(f"region must be one of {', '.join(REGIONS)}")
        if compliance_type not in ("GDPR", "CCPA"):
            raise ConfigurationError("compliance_type must be 'GDPR' or 'CCPA'")
        if identity is not None and not isinstance(identity, Identity):
            raise ConfigurationError(
                f"identity must be plain(), pseudonymous() or per_subject(store), not {identity!r}"
            )
        if host is not None and not str(host).startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
            raise ConfigurationError("host must be an https:// address, because the requests carry a token")
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout <= 0:
            raise ConfigurationError("timeout must be a number of seconds above 0")
        self._token = token
        self._oauth_token = oauth_token
        self._identity = identity or plain()
        self._keyed = None if policy is None else policy.keyed
        if self._identity.needs_secret and self._keyed is None:
            raise ConfigurationError("identity=pseudonymous() needs a secret: its own, or policy= with one")
        self._compliance_type = compliance_type
        self._timeout = timeout
        self._host = (host or f"https://{PRIVACY_HOSTS[region]}").rstrip("/")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        asked = self._host, self._compliance_type, self._timeout
        return self._token, self._oauth_token, *asked, self._identity, fingerprint(self._keyed)

    @property
    def host(self) -> str:
        """Where the requests go."""
        return self._host

    def create_deletion(self, subject_ids: Any) -> tuple[PrivacyTask, ...]:
        """Asks the vendor to delete all data of some people.

        Args:
            subject_ids: The people: a `str`, `int` or `UUID`, or several.

        Returns:
            The requests, usually one.

        Raises:
            InvalidRecordError: An id is malformed: nothing was asked.
            PrivacyRequestError: The vendor did not take a request; its `created` tells those that it took.
        """
        return self.create_deletion_of(self._mapped(subject_ids))

    def create_deletion_of(self, vendor_ids: Iterable[str], *, waits: bool = True) -> tuple[PrivacyTask, ...]:
        """As `create_deletion`, by the ids that the vendor knows; `waits` says whether for a vendor that is too busy."""
        return self._create("deletion", vendor_ids, {}, waits=waits)

    def look_up_deletion(self, task_id: str, *, within: float | None = None) -> PrivacyTask:
        """How far a deletion is.

        Args:
            task_id: The vendor's number of it.
            within: The most seconds that the vendor's answer is waited for, where somebody waits for a page; then it is not asked a
                second time. When left out, `timeout`.

        Raises:
            PrivacyRequestError: The vendor does not say.
        """
        return self._look_up("deletion", task_id, within)

    def cancel_deletion(self, task_id: str) -> None:
        """Takes a deletion back that the vendor has not begun.

        Raises:
            PrivacyRequestError: The vendor did not take it back.
        """
        self._ask("DELETE", _PATHS["deletion"] + _checked(task_id), expected=204)

    def create_retrieval(self, subject_ids: Any, disclosure_type: DisclosureType = "Data") -> tuple[PrivacyTask, ...]:
        """Asks the vendor for all data of some people.

        Args:
            subject_ids: The people: a `str`, `int` or `UUID`, or several.
            disclosure_type: ``"Data"``, or for CCPA also ``"Categories"`` or ``"Sources"``.

        Returns:
            The requests, usually one.

        Raises:
            ConfigurationError: `disclosure_type` is none of these.
            InvalidRecordError: An id is malformed: nothing was asked.
            PrivacyRequestError: As `create_deletion`.
        """
        return self.create_retrieval_of(self._mapped(subject_ids), disclosure_type)

    def create_retrieval_of(
        self, vendor_ids: Iterable[str], disclosure_type: DisclosureType = "Data", *, waits: bool = True
    ) -> tuple[PrivacyTask, ...]:
        """As `create_retrieval`, by the ids that the vendor knows; `waits` says whether for a vendor that is too busy."""
        if disclosure_type not in ("Data", "Categories", "Sources"):
            raise ConfigurationError("disclosure_type must be 'Data', 'Categories' or 'Sources'")
        more = {"disclosure_type": disclosure_type} if self._compliance_type == "CCPA" else {}
        return self._create("retrieval", vendor_ids, more, waits=waits)

    def look_up_retrieval(self, task_id: str, *, within: float | None = None) -> PrivacyTask:
        """How far a retrieval is, and the link to the data once it is there.

        Args:
            task_id: The vendor's number of it.
            within: The most seconds that the vendor's answer is waited for, where somebody waits for a page; then it is not asked a
                second time. When left out, `timeout`.

        Raises:
            PrivacyRequestError: The vendor does not say.
        """
        return self._look_up("retrieval", task_id, within)

    def _mapped(self, subject_ids: Any) -> list[str]:
        is_one = isinstance(subject_ids, (str, bytes)) or not isinstance(subject_ids, Iterable)
        keys = [subject_key(each) for each in ((subject_ids,) if is_one else subject_ids)]
        return [each for key in keys for each in self._identity.all_of(key, self._keyed)]

    def _create(
        self, kind: str, vendor_ids: Iterable[str], more: Mapping[str, str], *, waits: bool = True
    ) -> tuple[PrivacyTask, ...]:
        ids = list(dict.fromkeys(vendor_ids))
        created: list[PrivacyTask] = []
        for at in range(0, len(ids), MAX_IDS):
            some = ids[at : at + MAX_IDS]
            body = {"distinct_ids": some, "compliance_type": self._compliance_type, **more}
            try:
                results = self._ask("POST", _PATHS[kind], body, expected=201, tries=_TRIES if waits else 1)
                task_id = results.get("task_id") or results.get("tracking_id")
            except PrivacyRequestError as error:
                raise type(error)(str(error), error.status, tuple(created)) from None
            if not isinstance(task_id, (str, int)):
                raise PrivacyRequestError("the vendor's answer has no task_id", 201, tuple(created))
            created.append(PrivacyTask(kind=kind, task_id=str(task_id), count=len(some)))
        return tuple(created)

    def _look_up(self, kind: str, task_id: str, within: float | None) -> PrivacyTask:
        tries = _TRIES if within is None else 1
        results = self._ask("GET", _PATHS[kind] + _checked(task_id), expected=200, tries=tries, timeout=within)
        status, ids, link = results.get("status"), results.get("distinct_ids"), results.get("results")
        known = TaskStatus.__members__.get(str(status).upper(), TaskStatus.UNKNOWN)
        return PrivacyTask(
            kind=kind,
            task_id=task_id,
            status=known,
            count=len(ids) if isinstance(ids, list) else None,
            requested=str(results["date_requested"]) if results.get("date_requested") else None,
            link=link if isinstance(link, str) and link else None,
        )

    def _ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        expected: int,
        tries: int = _TRIES,
        timeout: float | None = None,
    ) -> Mapping[str, Any]:
        patient = patience.current()
        if patient is None:
            return self._ask_now(method, path, body, expected, tries, timeout)
        most = min(each for each in (timeout, patient.left, self._timeout) if each is not None)
        try:
            return patient.ask(lambda: self._ask_now(method, path, body, expected, 1, most))
        except patience.TooBusyError:
            raise VendorBusyError("too many requests to the vendor are on their way: this one was not made") from None
        except patience.TooLateError:
            raise PrivacyRequestError("no answer from the vendor in time") from None

    def _ask_now(
        self, method: str, path: str, body: dict[str, Any] | None, expected: int, tries: int, timeout: float | None
    ) -> Mapping[str, Any]:
        import requests

        waited = 0.0
        for attempt in range(tries):
            answer: requests.Response | None = None
            problem = ""
            try:
                answer = requests.request(
                    method,
                    self._host + path,
                    params={"token": self._token},
                    json=body,
                    auth=self._sign,
                    timeout=self._timeout if timeout is None else min(timeout, self._timeout),
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                problem = type(error).__name__
            if answer is None:
                # Its exception would hold the address with the token, and the ids.
                raise PrivacyRequestError(f"no answer from the vendor: {problem}")
            if answer.status_code != _TOO_FAST or attempt == tries - 1 or waited >= _LONGEST_WAIT:
                return _results(answer, expected)
            pause = min(_seconds(answer.headers.get("Retry-After"), 2.0**attempt), _LONGEST_WAIT - waited)
            waited += pause
            time.sleep(pause)
        raise AssertionError  # the last attempt returns or raises

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # A header alone would be replaced by what a `.netrc` says of the host.
        request.headers["Authorization"] = f"Bearer {self._oauth_token}"
        return request

    def __reduce__(self) -> NoReturn:
        raise TypeError("PrivacyRequests cannot be pickled or copied: it holds a token. Build it in the worker")

    def __repr__(self) -> str:
        return f"<PrivacyRequests {self._host} {self._compliance_type}>"


_MEANINGS = {
    400: "the request is malformed",
    401: "the OAuth token is refused",
    403: "the OAuth token may not do this: it must be an owner's or admin's",
    404: "there is no such request",
    429: "requests come too fast",
}


def _results(answer: requests.Response, expected: int) -> Mapping[str, Any]:
    status = answer.status_code
    if status != expected:
        raise PrivacyRequestError(f"HTTP {status}: {_MEANINGS.get(status, 'the vendor did not take it')}", status)
    if status == 204:
        return {}
    try:
        said = answer.json()
    except ValueError:
        said = None
    results = said.get("results") if isinstance(said, dict) and said.get("status") == "ok" else None
    if not isinstance(results, dict):
        raise PrivacyRequestError("the vendor's answer is not as documented", status)
    return results


def _checked(task_id: object) -> str:
    if not isinstance(task_id, str) or not task_id or not task_id.replace("-", "").replace("_", "").isalnum():
        raise ConfigurationError("task_id must be the vendor's number of a request, a str")
    return task_id


def _seconds(text: str | None, default: float) -> float:
    try:
        return max(0.0, float(text or ""))
    except ValueError:
        return default


__all__ = ["PrivacyRequestError", "PrivacyRequests", "PrivacyTask", "TaskStatus"]
name_all(globals())
