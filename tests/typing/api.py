# pyright: reportUnnecessaryTypeIgnoreComment=true
"""The public names as strict type checkers see them. Read by mypy and pyright, never run."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

from opentelemetry.metrics import get_meter
from prometheus_client import REGISTRY
from typing_extensions import assert_type

import consentpanel
from consentpanel import (
    AsyncMixpanel,
    BackgroundConsumer,
    BufferedConsumer,
    Cause,
    ConsentPanelError,
    ConsentRecord,
    ConsentStatus,
    Consumer,
    Decision,
    FieldPolicy,
    MessageError,
    Mixpanel,
    Outcome,
    PrivacyRequests,
    PrivacyTask,
    Purpose,
    Reason,
    Regime,
    SpoolConsumer,
    SQLAlchemyOutbox,
    TaskStatus,
    Withdrawal,
    by_country,
    carry_over,
    configure,
    drop,
    generalize,
    keep,
    mask,
    per_subject,
    plain,
    pseudonymize,
    pseudonymous,
    redact,
    refuse,
    reset,
    subject_key,
    transform,
    truncate,
    url,
)
from consentpanel.asgi import ConsentMiddleware, PanelApp, RequestConsent, current_consent
from consentpanel.cmp import TCF, Answers, OneTrust
from consentpanel.flask import current_consent as flask_consent
from consentpanel.flask import mixpanel as flask_mixpanel
from consentpanel.observers import opentelemetry, prometheus
from consentpanel.panel import ConsentSummary, Panel, Rate, Request, VendorRequest
from consentpanel.policy import Detector, Finding, Identity, detect, from_environment
from consentpanel.registry import (
    AsyncConsentRegistry,
    CachedRegistry,
    CallableRegistry,
    ConsentRegistry,
    MemoryRegistry,
    SQLiteRegistry,
    Standing,
    Verification,
    ask_again_at,
    standing_of,
)
from consentpanel.testing import ConsentPanelTestMixin, FakeTransport, RegistryContract
from consentpanel.transparency import (
    Breach,
    FoundCall,
    Notice,
    Promises,
    Vendor,
    audit,
    compare,
    notice,
    scan,
)
from consentpanel.wsgi import PanelApp as WSGIPanelApp

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


class OwnRegistry:
    """A registry by its methods alone: it inherits nothing."""

    def status(self, subject_id: str, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        return ConsentStatus.UNKNOWN

    def statuses(self, subject_ids: object, purpose: str, *, at: datetime | None = None) -> dict[str, ConsentStatus]:
        return {}

    def record(self, record: ConsentRecord) -> None: ...

    def history(self, subject_id: str) -> list[ConsentRecord]:
        return []

    def forget(self, subject_id: str) -> None: ...


class HalfARegistry:
    """Not a registry: it has one of five methods."""

    def status(self, subject_id: str, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        return ConsentStatus.UNKNOWN


def says_yes(subject_id: str, purpose: Purpose) -> bool:
    return True


def watch(decision: Decision) -> None: ...


own: ConsentRegistry = OwnRegistry()
memory: ConsentRegistry = MemoryRegistry(required_policy_version="2")
sqlite: ConsentRegistry = SQLiteRegistry("consent.db")
called: ConsentRegistry = CallableRegistry(says_yes)
half: ConsentRegistry = HalfARegistry()  # type: ignore[assignment]

policy = FieldPolicy(
    events={
        "plan": keep(),
        "address.city": drop(),
        "items[].sku": truncate(8),
        "note": redact(text="[gone]"),
        "card": mask(),
        "email": pseudonymize(),
        "seen": generalize(time="day"),
        "size": transform(len),
        "password": refuse(),
    },
    people={"plan": keep(deep=True)},
    groups={},
    flags={},
    secret=b"a key that stays on this machine",
)
assert_type(policy.for_event("Paid", {"total": keep()}), FieldPolicy)
assert_type(FieldPolicy.keep_all(), FieldPolicy)
FieldPolicy(events={"plan": "keep"})  # type: ignore[dict-item]
FieldPolicy({"plan": keep()}, {}, {}, {}, b"secret")  # type: ignore[call-arg]

mp = Mixpanel(
    "TOKEN",
    Consumer(),
    registry=own,
    policy=policy,
    regime=Regime.OPT_IN,
    purposes={"Targeted": "targeting"},
    on_error="drop",
    observers=[watch],
)
Mixpanel("TOKEN", registry=own, observers=[prometheus(REGISTRY), opentelemetry(get_meter("shop"))])
Mixpanel("TOKEN", registry=own, observers=prometheus(REGISTRY))  # type: ignore[arg-type]
Mixpanel("TOKEN", registry=says_yes, regime=by_country({"user-1": "US"}.get, opt_out=("US",)))
Mixpanel("TOKEN", registry=HalfARegistry())  # type: ignore[arg-type]
Mixpanel("TOKEN", on_error="ignore")  # type: ignore[arg-type]
Mixpanel("TOKEN", regime="opt_in")  # type: ignore[arg-type]

assert_type(mp.track("user-1", "Paid", {"plan": "pro"}), Decision)
assert_type(mp.track(42, "Paid"), Decision)
assert_type(mp.track(UUID(int=1), "Paid", None, {"$ip": "0"}), Decision)
assert_type(mp.import_data("api key", "user-1", "Paid", 1_777_000_000), Decision)
assert_type(mp.alias("user-2", "user-1"), Decision)
assert_type(mp.merge("api key", "user-1", "user-2"), Decision)
assert_type(mp.people_set("user-1", {"plan": "pro"}), Decision)
assert_type(mp.people_update({"$distinct_id": "user-1", "$set": {"plan": "pro"}}), Decision)
assert_type(mp.group_set("company", "acme", {"plan": "pro"}), Decision)
assert_type(mp.group_update({"$group_key": "company", "$group_id": "acme", "$set": {}}), Decision)
mp.track("user-1")  # type: ignore[call-arg]

decision = mp.track("user-1", "Paid")
assert_type(decision.outcome, Outcome)
assert_type(decision.reason, Reason)
assert_type(decision.reason.is_error, bool)
assert_type(decision.status, "ConsentStatus | None")
assert_type(decision.purpose, "Purpose | None")
assert_type(decision.dropped, Mapping[str, Cause])
assert_type(decision.dropped["email"].meaning, str)
assert_type(decision.as_dict(), dict[str, Any])
decision.outcome = Outcome.SENT  # type: ignore[misc]

assert_type(own.status("user-1", Purpose.ANALYTICS), ConsentStatus)
assert_type(own.history("user-1"), list[ConsentRecord])
MemoryRegistry().grant("user-1", Purpose.ANALYTICS, "targeting", source="signup-form", recorded_at=NOON)
MemoryRegistry().deny("user-1")

record = ConsentRecord("user-1", "analytics", ConsentStatus.GRANTED, expires_at=NOON)
assert_type(record.purpose, Purpose)
assert_type(record.recorded_at, datetime)
record.status = ConsentStatus.DENIED  # type: ignore[misc]

configure(registry=memory, policy=policy, regime=Regime.OPT_OUT)
configure(MemoryRegistry())  # type: ignore[call-arg]
reset()
assert_type(consentpanel.__version__, str)

transport = FakeTransport()
guarded = Mixpanel("TOKEN", transport, registry=memory)
transport.assert_tracked("Paid", distinct_id="user-1", properties={"plan": "pro"})
transport.assert_nothing_sent()
assert_type(transport.decisions, list[Decision])

buffered = BufferedConsumer(max_size=50)
buffered.flush()
buffered.purge("user-1")


def handle(error: MessageError) -> tuple[ConsentPanelError, Decision]:
    return error, error.decision


class OwnRegistryTest(RegistryContract): ...


class SignUpTest(ConsentPanelTestMixin): ...


def delivery_and_withdrawal(mp: Mixpanel) -> None:
    assert_type(SpoolConsumer("spool.db", durability="full", keep_for=86_400).waiting, int)
    assert_type(SQLAlchemyOutbox("sqlite:///shop.db", keep_for=86_400, connections=2).waiting, int)
    assert_type(BackgroundConsumer(50, api_host="api-eu.mixpanel.com", linger=0.1).purge("user-1"), int)
    assert_type(BufferedConsumer(50, gzip_imports=True).purge(7), int)
    assert_type(mp.withdraw("user-1", ["profiles"], source="settings-page"), Withdrawal)
    assert_type(mp.opt_out("user-1").discarded, int)
    assert_type(mp.opt_in("user-1", "analytics"), Decision)
    assert_type(mp.flush(), None)
    assert_type(CachedRegistry(MemoryRegistry(), ttl=30).status("user-1", "analytics"), ConsentStatus)


async def without_blocking(registry: AsyncConsentRegistry) -> None:
    async with AsyncMixpanel("TOKEN", registry=registry) as mp:
        assert_type(await mp.track("user-1", "Signed up", {"plan": "pro"}), Decision)
        assert_type(await mp.people_set("user-1", {"plan": "pro"}), Decision)
        assert_type(await mp.withdraw("user-1", source="settings"), Withdrawal)
        assert_type(await mp.flush(), None)


def at_log_in(registry: ConsentRegistry) -> None:
    assert_type(carry_over(registry, "visitor-7", 42), list[ConsentRecord])
    memory = MemoryRegistry()
    memory.record_many([ConsentRecord("user-1", "analytics", ConsentStatus.DENIED)])
    assert_type(memory.ends_at("user-1", "analytics"), "datetime | None")
    assert_type(ask_again_at(memory, "user-1", "analytics"), "datetime | None")
    assert_type(memory.verify("user-1"), Verification)
    assert_type(memory.scoped("tenant"), MemoryRegistry)
    assert_type(ConsentRecord.from_dict({}), ConsentRecord)
    assert_type(standing_of([]), Standing)
    assert_type(subject_key(42), str)
    memory.grant("user-1", language="de", event_type="explicit", actor="guardian")
    CallableRegistry(says_yes, record_many=lambda records: records.clear())
    assert_type(BufferedConsumer().purge("user-1", ["analytics"]), int)


def rules_and_ids() -> None:
    policy = FieldPolicy(
        events={"plan": keep(type=str, one_of=["free", "pro"], purpose="targeting"), "page": url(path="ids")},
        unplanned_events="drop",
        planned_events=["Signed up"],
    )
    assert_type(plain(), Identity)
    assert_type(per_subject({}).of("user-1", None), str)
    Mixpanel("TOKEN", policy=policy, identity=pseudonymous(b"s" * 32))


def detection() -> None:
    assert_type(detect("text"), list[Finding])
    policy = FieldPolicy(
        events={"query": keep(detect=["email"], on_detect={"email": "drop"}), "note": keep(detect=False)},
        detectors=[Detector("member", re.compile("M-[0-9]+")), "-phone"],
        on_detect="report",
        detect_allow=["*@shop.example"],
    )
    assert_type(policy.apply_event("E", {}).detected, dict[str, str])
    assert_type(policy.warnings, tuple[str, ...])
    assert_type(FieldPolicy.no_personal_data(["plan"], secret=from_environment("SECRET")), FieldPolicy)
    FieldPolicy(on_detect="hide")  # type: ignore[arg-type]


def transparent(mp: Mixpanel, policy: FieldPolicy) -> None:
    page = notice(
        policy, contact="privacy@shop.example", purposes={"analytics": "to improve"}, vendor=Vendor(region="EU")
    )
    assert_type(page, Notice)
    assert_type(page.to_html(), str)
    assert_type(compare(page, page.to_json()).needs_consent, bool)
    assert_type(audit(mp, Promises(consent={"EU": "opt_in"})), list[Breach])
    assert_type(scan("src").calls, tuple[FoundCall, ...])


def taking_it_back(mp: Mixpanel) -> None:
    privacy = PrivacyRequests("TOKEN", "OAUTH", region="EU")
    assert_type(privacy.create_deletion(["user-1", 7]), tuple[PrivacyTask, ...])
    assert_type(privacy.look_up_retrieval("1").status, TaskStatus)
    assert_type(mp.withdraw("user-1", erase=True).erasure, tuple[PrivacyTask, ...])
    PrivacyRequests("TOKEN", "OAUTH", region="DE")  # type: ignore[arg-type]


def answers_of_a_banner(header: bytes) -> None:
    answers = OneTrust({"C0002": "analytics", "C0003": ["analytics", "profiles"]})(header)
    assert_type(answers, Answers)
    assert_type(answers.purposes, Mapping[Purpose, "bool | None"])
    assert_type(answers.given_at, "datetime | None")
    TCF({1: "analytics"}, vendor=10, cmp=99)("euconsent-v2=")
    OneTrust({"C0002": "analytics"}, "OptanonConsent")  # type: ignore[call-arg]


ASGIApplication = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[MutableMapping[str, Any]], Awaitable[None]]],
    Awaitable[None],
]


async def in_a_request(consent: RequestConsent, mp: AsyncMixpanel, app: ASGIApplication) -> None:
    assert_type(await consent.status("analytics"), ConsentStatus)
    assert_type(await consent.subject_id(), "str | None")
    assert_type(await consent.answer(analytics=True, source="form", language="de"), None)
    assert_type(await consent.track("Paid", {"total": 9}), Decision)
    assert_type((await consent.withdraw(delete_profile=True)).discarded, int)
    assert_type(await current_consent(), RequestConsent)
    ConsentMiddleware(app, client=mp, secret_key=["a secret", b"an old one"], subject=lambda scope: scope["user"])
    ConsentMiddleware(app, client=mp, answers=[OneTrust({"C0002": "analytics"})], gpc=["analytics"], language="de")
    ConsentMiddleware(app, client="TOKEN")  # type: ignore[arg-type]
    await consent.answer(analytics="yes")  # type: ignore[arg-type]


def a_panel(mp: Mixpanel, app: ASGIApplication) -> None:
    panel = Panel(lambda language: notice(mp, contact="privacy@shop.example", language=language), rate=Rate(burst=5))
    Panel(languages=("en",), contact="privacy@shop.example", offers_export=False)
    ConsentMiddleware(PanelApp(panel), client=mp)
    assert_type(WSGIPanelApp(mp, panel, subject=lambda environ: environ.get("REMOTE_USER")).panel, Panel)
    assert_type(flask_consent.summary(["analytics"]), ConsentSummary)
    assert_type(flask_consent.summary(["analytics"]).requests, tuple[VendorRequest, ...])
    assert_type(panel.respond(Request(path="/notice"), flask_consent).status, int)
    Panel(lambda: None)  # type: ignore[arg-type]
    PanelApp(lambda language: None)  # type: ignore[arg-type]


def in_a_flask_view() -> None:
    assert_type(flask_consent.status("analytics"), ConsentStatus)
    assert_type(flask_consent.subject_id, "str | None")
    assert_type(flask_consent.track("Paid"), Decision)
    assert_type(flask_mixpanel.track("user-1", "Paid"), Decision)
    flask_consent.answer(analytics="yes")  # type: ignore[arg-type]
