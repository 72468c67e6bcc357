"""Rules 1.2, 1.8 and 4.3: what a client works with, who is told, and what raises when."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import mixpanel
import pytest

import consentpanel
from consentpanel import (
    ConfigurationError,
    ConsentStatus,
    Decision,
    FieldPolicy,
    MessageError,
    Mixpanel,
    Outcome,
    PrivacyRequests,
    Reason,
    Regime,
    by_country,
    configure,
    generalize,
    keep,
    per_subject,
    plain,
    pseudonymize,
    pseudonymous,
    redact,
    reset,
)
from consentpanel.registry import MemoryRegistry, SQLiteRegistry
from consentpanel.testing import FakeTransport

SECRET = "ann.4711@b.example"


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    reset()
    yield
    reset()


@pytest.fixture
def registry() -> MemoryRegistry:
    found = MemoryRegistry()
    found.grant("ann")
    return found


@pytest.fixture
def vendor() -> FakeTransport:
    return FakeTransport()


KEEPS_PLAN = FieldPolicy(events={"plan": keep()})


# rule 1.2


def test_what_the_constructor_is_not_given_comes_from_configure(registry, vendor):
    configure(registry=registry, policy=KEEPS_PLAN)
    assert Mixpanel("TOKEN", vendor).track("ann", "Signed up", {"plan": "pro"})
    assert vendor.events[0].properties["plan"] == "pro"


def test_the_constructor_wins_over_configure_one_keyword_at_a_time(registry, vendor):
    configure(registry=lambda subject_id, purpose: False, policy=KEEPS_PLAN)
    assert (
        Mixpanel("TOKEN", vendor, registry=registry).track("ann", "Signed up", {"plan": "pro"}).outcome is Outcome.SENT
    )
    decision = Mixpanel("TOKEN", vendor, registry=registry, policy=FieldPolicy()).track("ann", "E", {"plan": "pro"})
    assert dict(decision.dropped) == {"plan": "unnamed"}


def test_an_observer_of_the_constructor_stands_in_for_those_of_configure(registry, vendor):
    shared: list[Decision] = []
    own: list[Decision] = []
    configure(registry=registry, observers=[shared.append])
    Mixpanel("TOKEN", vendor, observers=[own.append]).track("ann", "Signed up")
    assert (len(shared), len(own)) == (0, 1)
    Mixpanel("TOKEN", vendor).track("ann", "Signed up")
    assert len(shared) == 1


def test_an_empty_list_of_observers_silences_those_of_configure(registry, vendor):
    shared: list[Decision] = []
    configure(registry=registry, observers=[shared.append])
    Mixpanel("TOKEN", vendor, observers=[]).track("ann", "Signed up")
    assert shared == []


def test_an_empty_map_of_purposes_wins_over_that_of_configure(registry, vendor):
    configure(registry=registry, purposes={"track": "targeting"})
    assert not Mixpanel("TOKEN", vendor).track("ann", "Signed up")
    assert Mixpanel("TOKEN", vendor, purposes={}).track("ann", "Signed up")


def test_an_empty_registry_is_a_registry(vendor):
    class Counted(MemoryRegistry):
        def __len__(self) -> int:
            return 0

    registry = Counted()
    registry.grant("ann")
    configure(registry=registry)
    assert Mixpanel("TOKEN", vendor).track("ann", "Signed up")
    assert Mixpanel("TOKEN", vendor, registry=registry).track("ann", "Signed up")


def test_configure_twice_is_a_configuration_error_and_changes_nothing(registry, vendor):
    configure(registry=registry)
    with pytest.raises(ConfigurationError, match="reset"):
        configure(registry=lambda subject_id, purpose: False)
    assert Mixpanel("TOKEN", vendor).track("ann", "Signed up")


def test_configure_again_with_equal_arguments_changes_nothing(registry, vendor):
    # rule 1.2: an application factory that runs twice
    configure(registry=registry, policy=KEEPS_PLAN, observers=[vendor.observe])
    assert Mixpanel("TOKEN", vendor).track("ann", "Signed up")
    configure(registry=registry, policy=KEEPS_PLAN, observers=[vendor.observe])
    assert Mixpanel("TOKEN", vendor).track("ann", "Signed up")
    with pytest.raises(ConfigurationError, match="other arguments"):
        configure(registry=registry, policy=KEEPS_PLAN)


def test_an_application_factory_that_builds_all_anew_may_run_twice(tmp_path, vendor):
    # rule 1.2
    def create_app(secret=b"0" * 32, **given):
        policy = FieldPolicy(
            events={"plan": keep(one_of=["pro"]), "age": generalize(bucket=10), "email": pseudonymize()},
            people={"$city": keep(), "note": keep(detect=["-phone"])},
            secret=secret,
            on_detect={"email": "drop"},
            detect_allow=["*@shop.example"],
        ).for_event("Paid", {"amount": keep()})
        configure(
            registry=SQLiteRegistry(tmp_path / "consent.db"),
            policy=policy,
            identity=pseudonymous(rotate_from=[b"1" * 32]),
            purposes={"Ad clicked": ["targeting"]},
            regime=by_country(country, opt_out=["US"]),
            privacy=PrivacyRequests("T", "OAUTH"),
            **given,
        )

    def country(subject_id):
        return "DE"

    create_app()
    create_app()
    for other in ({"secret": b"2" * 32}, {"observers": [print]}):
        with pytest.raises(ConfigurationError, match="other arguments"):
            create_app(**other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (FieldPolicy(), FieldPolicy.keep_all()),
        (FieldPolicy(), FieldPolicy(detectors=["email"])),
        (FieldPolicy(), FieldPolicy(on_detect="drop")),
        (FieldPolicy(), FieldPolicy(detect_allow=["a@b.example"])),
        (FieldPolicy(), FieldPolicy(unplanned_events="drop")),
        (FieldPolicy(unplanned_events="drop"), FieldPolicy(unplanned_events="drop", planned_events=["Paid"])),
        (FieldPolicy(events={"plan": keep()}), FieldPolicy(people={"plan": keep()})),
        (FieldPolicy(events={"plan": keep()}), FieldPolicy(events={"plan": redact()})),
        (FieldPolicy(events={"plan": keep(one_of=[True])}), FieldPolicy(events={"plan": keep(one_of=[1])})),
        (FieldPolicy(events={"n": generalize(bucket=10)}), FieldPolicy(events={"n": generalize(bucket=5)})),
        (FieldPolicy(), FieldPolicy().for_event("Paid", {"plan": keep()})),
        (FieldPolicy(), FieldPolicy.no_personal_data()),
        (FieldPolicy(secret=b"0" * 32), FieldPolicy(secret=b"1" * 32)),
        (pseudonymous(), plain()),
        (pseudonymous(b"0" * 32), pseudonymous(b"1" * 32)),
        (pseudonymous(b"0" * 32), pseudonymous(b"0" * 32, rotate_from=[b"1" * 32])),
        (per_subject({}), per_subject({})),
        (PrivacyRequests("T", "OAUTH"), PrivacyRequests("T", "OAUTH", region="EU")),
    ],
)
def test_settings_that_do_something_else_are_not_equal(one, other):
    assert one != other


def test_a_registry_that_cannot_be_compared_is_another_one(vendor):
    class Odd:
        def __eq__(self, other):
            raise RuntimeError

        __hash__ = None

        def status(self, subject_id, purpose, *, at=None):
            return ConsentStatus.GRANTED

    configure(registry=Odd())
    with pytest.raises(ConfigurationError, match="other arguments"):
        configure(registry=Odd())


def test_configure_works_again_after_reset(registry, vendor):
    configure(registry=lambda subject_id, purpose: False)
    reset()
    configure(registry=registry)
    assert Mixpanel("TOKEN", vendor).track("ann", "Signed up")


def test_a_configure_that_failed_was_none(registry, vendor):
    with pytest.raises(ConfigurationError):
        configure(registry=registry, policy="keep everything")  # type: ignore[arg-type]
    configure(registry=registry)
    assert Mixpanel("TOKEN", vendor).track("ann", "Signed up")


def test_configure_after_the_first_message_is_refused_until_reset(registry, vendor):
    # rule 1.2
    assert Mixpanel("TOKEN", vendor).track("ann", "Signed up").reason is Reason.NOT_CONFIGURED
    with pytest.raises(ConfigurationError, match="after the first message"):
        configure(registry=registry)
    reset()
    configure(registry=registry)
    assert Mixpanel("TOKEN", vendor).track("ann", "Signed up")


def test_a_client_built_before_configure_works_after_it_and_is_closed_again_by_reset(registry, vendor):
    # rule 1.2: a module-level client is imported before the framework's start-up hook
    mp = Mixpanel("TOKEN", vendor)
    configure(registry=registry)
    assert mp.track("ann", "Signed up")
    reset()
    assert mp.track("ann", "Signed up").reason is Reason.NOT_CONFIGURED


PERSONAL: dict[str, Callable[[Mixpanel], Any]] = {
    "track": lambda mp: mp.track("ann", "Signed up"),
    "import_data": lambda mp: mp.import_data(None, "ann", "Signed up", 1_600_000_000),
    "alias": lambda mp: mp.alias("ann", "bob"),
    "merge": lambda mp: mp.merge(None, "ann", "bob"),
    "people_set": lambda mp: mp.people_set("ann", {"plan": "pro"}),
    "people_append": lambda mp: mp.people_append("ann", {"plan": "pro"}),
    "people_track_charge": lambda mp: mp.people_track_charge("ann", 1),
}


@pytest.mark.parametrize("regime", [None, Regime.OPT_OUT])
@pytest.mark.parametrize("call", PERSONAL)
def test_an_unconfigured_client_sends_nothing_that_needs_consent(vendor, call, regime):
    # rule 1.2: fail-closed under each regime
    assert PERSONAL[call](Mixpanel("TOKEN", vendor, regime=regime)).reason is Reason.NOT_CONFIGURED
    assert vendor.messages == []


def test_an_unconfigured_client_says_once_at_warning_what_to_configure(vendor, caplog):
    # rule 1.2
    caplog.set_level(logging.DEBUG)
    for _ in range(2):
        mp = Mixpanel("TOKEN", vendor)
        for call in PERSONAL.values():
            call(mp)
    (record,) = [each for each in caplog.records if each.name != "mixpanel"]  # the vendor's own deprecations
    assert (record.name, record.levelno) == ("consentpanel", logging.WARNING)
    for word in ("registry", "policy", "consentpanel.configure("):
        assert word in record.getMessage()


def test_a_client_without_a_policy_drops_every_property_and_says_so_once(registry, vendor, caplog):
    # rules 1.2 and 3.1
    mp = Mixpanel("TOKEN", vendor, registry=registry)
    for _ in range(2):
        assert dict(mp.track("ann", "Signed up", {"plan": SECRET}).dropped) == {"plan": "unnamed"}
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "no field policy is configured" in record.getMessage()


def test_a_drop_for_want_of_consent_is_logged_at_debug_without_whom(registry, vendor, caplog):
    # rules 4.1 and 4.2
    caplog.set_level(logging.DEBUG)
    Mixpanel("TOKEN", vendor, registry=registry, policy=KEEPS_PLAN).track("bob", "Signed up")
    said = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert said == [(logging.DEBUG, "dropped a message to events: no_consent")]


# rule 1.8: wrong configuration


class NoStatus:
    def record(self, record: Any) -> None: ...


class Later:
    async def status(self, subject_id: str, purpose: str, *, at: Any = None) -> Any: ...


async def coroutine(subject_id: str, purpose: str) -> bool:
    return True


WRONG = {
    "a registry's class": ({"registry": MemoryRegistry}, "MemoryRegistry"),
    "a registry that cannot answer": ({"registry": NoStatus()}, "status"),
    "a registry that answers later": ({"registry": Later()}, "coroutine"),
    "a mapping as registry": ({"registry": {"ann": True}}, "dict"),
    "text as registry": ({"registry": "consent.db"}, "str"),
    "True as registry": ({"registry": True}, "bool"),
    "a coroutine as registry": ({"registry": coroutine}, "coroutine"),
    "a mapping as policy": ({"policy": {"plan": keep()}}, "policy must be a FieldPolicy, not dict"),
    "the class of policies": ({"policy": FieldPolicy}, "policy must be a FieldPolicy"),
    "an identity": ({"identity": lambda subject_id: subject_id}, "identity"),
    "text as regime": ({"regime": "opt_in"}, "regime"),
    "the class of regimes": ({"regime": Regime}, "regime"),
    "True as regime": ({"regime": True}, "regime"),
    "another on_error": ({"on_error": "ignore"}, "on_error must be 'drop' or 'raise'"),
    "True as on_error": ({"on_error": True}, "on_error"),
    "one observer": ({"observers": print}, "observers"),
    "text as observers": ({"observers": "print"}, "observers"),
    "a number as observers": ({"observers": 3}, "observers"),
    "an observer that cannot be called": ({"observers": [print, "x"]}, "observers"),
    "purposes that are no map": ({"purposes": ["track"]}, "purposes"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_argument_is_a_configuration_error_at_construction(vendor, wrong):
    # rule 1.8
    given, text = WRONG[wrong]
    with pytest.raises(ConfigurationError, match=text) as raised:
        Mixpanel("TOKEN", vendor, **given)
    assert isinstance(raised.value, ValueError)
    with pytest.raises(ConfigurationError, match=text):
        configure(**given)


def test_a_configuration_error_names_the_type_and_not_the_value(vendor):
    # rule 4.2
    with pytest.raises(ConfigurationError) as raised:
        Mixpanel("TOKEN", vendor, policy=SECRET)  # type: ignore[arg-type]
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_ours_cannot_be_given_by_position(registry, vendor):
    # rule 1.1
    with pytest.raises(TypeError):
        Mixpanel("TOKEN", vendor, mixpanel.DatetimeSerializer, None, None, None, registry)  # type: ignore[misc]


@pytest.mark.skipif(hasattr(mixpanel, "ServiceAccountCredentials"), reason="only before mixpanel 5.2")
def test_credentials_that_the_vendor_does_not_know_are_a_configuration_error(vendor):
    with pytest.raises(ConfigurationError, match=r"credentials needs mixpanel 5\.2"):
        Mixpanel("TOKEN", vendor, credentials=object())


# rule 1.8: on_error


class Failing(dict[str, Any]):
    """A mapping that says what it holds when it is read."""

    def items(self) -> Any:
        raise RuntimeError(SECRET)

    keys = __iter__ = items


def fail(subject_id: str, purpose: str) -> bool:
    raise RuntimeError(SECRET)


def answer_text(subject_id: str, purpose: str) -> Any:
    return SECRET


FAULTS: dict[str, tuple[Reason, dict[str, Any], Callable[[Mixpanel], Any]]] = {
    "a registry that raises": (Reason.REGISTRY_ERROR, {"registry": fail}, lambda mp: mp.track(SECRET, "E")),
    "a registry that answers text": (
        Reason.REGISTRY_ERROR,
        {"registry": answer_text},
        lambda mp: mp.people_set(SECRET, {"plan": SECRET}),
    ),
    "no registry": (Reason.NOT_CONFIGURED, {"registry": None}, lambda mp: mp.track(SECRET, "E")),
    "an id that is none": (Reason.INVALID_ID, {}, lambda mp: mp.track({"id": SECRET}, "E")),
    "an alias that is none": (Reason.INVALID_ID, {}, lambda mp: mp.alias("ann", [SECRET])),
    "a time that is none": (Reason.INVALID_TIME, {}, lambda mp: mp.track("ann", "E", {"time": SECRET})),
    "properties that are none": (Reason.INVALID_MESSAGE, {}, lambda mp: mp.track("ann", "E", SECRET)),
    "properties that raise": (Reason.INVALID_MESSAGE, {}, lambda mp: mp.track("ann", "E", Failing(a=SECRET))),
    "meta that raises": (Reason.INVALID_MESSAGE, {}, lambda mp: mp.track("ann", "E", None, Failing(a=SECRET))),
    "a charge whose properties raise": (
        Reason.INVALID_MESSAGE,
        {},
        lambda mp: mp.people_track_charge("ann", 1, Failing(a=SECRET)),
    ),
    "a message by hand": (Reason.INVALID_MESSAGE, {}, lambda mp: mp._consumer.send("events", SECRET)),
    "an endpoint by hand": (Reason.UNKNOWN_ENDPOINT, {}, lambda mp: mp._consumer.send(SECRET, "{}")),
    "too many properties": (
        Reason.TOO_LARGE,
        {"policy": FieldPolicy.keep_all()},
        lambda mp: mp.track("ann", "E", {f"{SECRET}{n}": n for n in range(300)}),
    ),
}


def _reachable(error: BaseException) -> str:
    chain = []
    step: BaseException | None = error
    while step is not None:
        chain.append(f"{step!s} {step!r} {vars(step)!r}")
        step = step.__cause__ or step.__context__
    return "\n".join(chain) + "".join(traceback.format_exception(error))


@pytest.mark.parametrize("fault", FAULTS)
def test_by_default_what_fails_is_dropped_counted_and_logged(registry, vendor, caplog, fault):
    # rules 1.8 and 4.2
    caplog.set_level(logging.DEBUG)
    reason, keywords, call = FAULTS[fault]
    mp = Mixpanel("TOKEN", vendor, **{"registry": registry, "policy": KEEPS_PLAN, **keywords})
    decision = call(mp)
    assert (decision.outcome, decision.reason) == (Outcome.DROPPED, reason)
    assert mp.stats() == {"dropped": {reason: 1}}
    assert vendor.messages == []
    assert [record.levelno for record in caplog.records if record.name == "consentpanel"][-1] == logging.WARNING
    assert SECRET not in caplog.text + repr(decision) + str([record.args for record in caplog.records])


@pytest.mark.parametrize("fault", FAULTS)
def test_with_raise_what_fails_raises_its_decision_and_no_value(registry, vendor, fault):
    # rules 1.8 and 4.2
    reason, keywords, call = FAULTS[fault]
    told: list[Decision] = []
    given = {"registry": registry, "policy": KEEPS_PLAN, "on_error": "raise", "observers": [told.append], **keywords}
    mp = Mixpanel("TOKEN", vendor, **given)
    with pytest.raises(MessageError) as raised:
        call(mp)
    assert raised.value.decision.reason is reason
    assert told == [raised.value.decision]
    assert mp.stats() == {"dropped": {reason: 1}}
    assert SECRET not in _reachable(raised.value)


@pytest.mark.parametrize("on_error", ["drop", "raise"])
def test_a_no_of_the_person_or_of_the_policy_never_raises(registry, vendor, on_error):
    # rule 1.8: neither is a fault
    registry.deny("cat")
    policy = FieldPolicy(events={"plan": consentpanel.refuse()})
    mp = Mixpanel("TOKEN", vendor, registry=registry, policy=policy, on_error=on_error)
    assert mp.track("bob", "E").reason is Reason.NO_CONSENT
    assert mp.track("cat", "E").reason is Reason.WITHDRAWN
    assert mp.track("ann", "E", {"plan": "pro"}).reason is Reason.REFUSED_BY_POLICY
    assert mp.people_set("ann", {"plan": "pro"}).reason is Reason.NOTHING_LEFT


@pytest.mark.parametrize("on_error", ["drop", "raise"])
def test_the_transports_exception_passes_through_as_it_is(registry, vendor, on_error):
    # rule 1.8
    error = consentpanel.MixpanelException("no route")
    vendor.fail(times=1, error=error)
    mp = Mixpanel("TOKEN", vendor, registry=registry, on_error=on_error)
    with pytest.raises(mixpanel.MixpanelException) as raised:
        mp.track("ann", "Signed up")
    assert raised.value is error


def test_configure_can_make_every_client_raise(vendor):
    configure(on_error="raise")
    with pytest.raises(MessageError):
        Mixpanel("TOKEN", vendor).track("ann", "Signed up")
    assert not Mixpanel("TOKEN", vendor, on_error="drop").track("ann", "Signed up")


# rule 4.3


def test_each_observer_gets_each_decision_in_order(registry, vendor):
    # rule 4.3
    told: list[tuple[int, Decision]] = []
    observers = [lambda decision, n=n: told.append((n, decision)) for n in (1, 2)]
    mp = Mixpanel("TOKEN", vendor, registry=registry, policy=KEEPS_PLAN, observers=observers)
    made = [
        mp.track("ann", "One", {"plan": "pro"}),
        mp.track("bob", "Two"),
        mp.people_delete("bob"),
        mp.group_delete("company", "acme"),
        mp.alias("ann", "bob"),
    ]
    assert told == [(n, decision) for decision in made for n in (1, 2)]
    assert [decision.outcome for decision in made] == ["sent", "dropped", "sent", "sent", "dropped"]


def test_an_observer_that_raises_is_logged_by_type_and_ignored(registry, vendor, caplog):
    # rules 4.2 and 4.3
    def loud(decision: Decision) -> None:
        raise RuntimeError(SECRET)

    told: list[Decision] = []
    mp = Mixpanel("TOKEN", vendor, registry=registry, policy=KEEPS_PLAN, observers=[loud, told.append])
    assert mp.track("ann", "Signed up")
    assert len(vendor.events) == len(told) == 1
    (record,) = caplog.records
    assert (record.name, record.getMessage().partition(" at ")[0]) == ("consentpanel", "observer failed: RuntimeError")
    assert record.exc_info is None


def test_observers_are_taken_once_so_that_a_generator_serves_every_call(registry, vendor):
    told: list[Decision] = []
    mp = Mixpanel("TOKEN", vendor, registry=registry, observers=(each for each in [told.append]))
    mp.track("ann", "One")
    mp.track("ann", "Two")
    assert len(told) == 2


def test_stats_count_outcomes_by_reason_for_each_client_alone(registry, vendor):
    # rule 4.3
    first, second = (Mixpanel("TOKEN", vendor, registry=registry, policy=KEEPS_PLAN) for _ in range(2))
    assert first.stats() == {}
    first.track("ann", "One", {"plan": "pro"})
    first.track("ann", "One", {"email": SECRET})
    first.track("bob", "One")
    first.track("bob", "Two")
    first.people_delete("bob")
    assert first.stats() == {
        "sent": {"consent_granted": 1, "removal": 1},
        "redacted": {"consent_granted": 1},
        "dropped": {"no_consent": 2},
    }
    assert first.stats()[Outcome.DROPPED][Reason.NO_CONSENT] == 2
    assert second.stats() == {}


def test_stats_are_a_copy(registry, vendor):
    mp = Mixpanel("TOKEN", vendor, registry=registry)
    mp.track("ann", "One")
    mp.stats()["sent"].clear()
    assert mp.stats() == {"sent": {"consent_granted": 1}}


@pytest.mark.parametrize("token", ["", "  ", None, b"TOKEN", 7])
def test_a_token_that_is_none_is_refused_at_construction(token):
    # rule 1.8
    with pytest.raises(ConfigurationError, match=r"token must be the project's token, a non-empty str, not "):
        Mixpanel(token)


@pytest.mark.parametrize("api_host", ["https://api-eu.mixpanel.com", "api-eu.mixpanel.com/track", ""])
def test_a_url_in_the_place_of_a_host_is_refused_at_construction(api_host):
    # rule 1.8
    for build in (
        lambda: consentpanel.BufferedConsumer(api_host=api_host),
        lambda: consentpanel.BackgroundConsumer(api_host=api_host),
        lambda: Mixpanel("TOKEN", remote_flags_config=consentpanel.RemoteFlagsConfig(api_host=api_host)),
    ):
        with pytest.raises(ConfigurationError, match="api_host must be a host"):
            build()
    with pytest.raises(ConfigurationError, match="api_host must be a host"):
        Mixpanel("TOKEN", consentpanel.Consumer(api_host="https://api-eu.mixpanel.com"))
