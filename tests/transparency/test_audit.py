"""The configuration is held to what the published policy promises (contract rule 6.2)."""

import json

import pytest

from consentpanel import (
    BufferedConsumer,
    ConfigurationError,
    Consumer,
    FieldPolicy,
    Mixpanel,
    PrivacyRequests,
    Regime,
    RemoteFlagsConfig,
    by_country,
    per_subject,
    plain,
    pseudonymous,
)
from consentpanel._cli import main
from consentpanel.policy import generalize, keep, pseudonymize, redact, transform
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport, assert_keeps_promises
from consentpanel.transparency import Promises, Vendor, audit

SECRET = b"0" * 32
EMAIL = keep(detect=False, personal=True)


def places(target, promise, **more):
    name, value = promise
    return [(breach.place, breach.severity) for breach in audit(target, Promises(**{name: value}), **more)]


NOT_SHARED = ("shares_personal_data_with_third_parties", False)
PSEUDONYMOUS = {"identity": pseudonymous(SECRET)}


@pytest.mark.parametrize("name", ["shares_personal_data_with_third_parties", "staff_only_access"])
def test_personal_data_that_is_not_to_be_shared_is_found(name):
    promise = (name, name == "staff_only_access")
    policy = FieldPolicy(
        events={"plan": keep(), "user_email": keep(), "card": keep(categories=["user.financial"])},
        people={"$email": EMAIL, "dob": generalize(time="year"), "phone": pseudonymize(), "$name": redact()},
        secret=SECRET,
    )
    found = places(policy, promise, **PSEUDONYMOUS)
    assert found == [("events['user_email']", "error"), ("events['card']", "error"), ("people['$email']", "error")]


def test_a_field_that_no_detector_looks_into_is_warned_of():
    assert places(FieldPolicy(events={"plan": keep(detect=False)}), NOT_SHARED, **PSEUDONYMOUS) == [
        ("events['plan']", "warning")
    ]


def test_plain_ids_are_warned_of_where_nothing_is_to_be_shared():
    mp = Mixpanel("T", FakeTransport(), registry=MemoryRegistry(), policy=FieldPolicy())
    assert places(mp, NOT_SHARED) == places(FieldPolicy(), NOT_SHARED, identity=plain()) == [("identity", "warning")]
    assert places(FieldPolicy(), NOT_SHARED) == []
    assert places(FieldPolicy(), NOT_SHARED, identity=per_subject({})) == []


def test_a_policy_that_keeps_all_breaks_what_it_may():
    for promise in (
        NOT_SHARED,
        ("discloses_ip_address", False),
        ("identifies_visitors", False),
        ("uses_free_text", False),
    ):
        assert ("policy", "error") in places(FieldPolicy.keep_all(), promise)


def test_no_personal_data_keeps_the_strictest_promises():
    policy = FieldPolicy.no_personal_data({"plan": keep(), "email": keep()}, secret=SECRET)
    mp = Mixpanel("T", FakeTransport(), registry=MemoryRegistry(), policy=policy)
    promises = Promises(shares_personal_data_with_third_parties=False, identifies_visitors=False, consent="opt_in")
    assert audit(mp, promises) == []


def test_profiles_and_targeting_need_to_be_disclosed():
    policy = FieldPolicy(people={"city": keep()}, events={"ad": keep(purpose="targeting")})
    assert places(policy, ("discloses_behavioural_targeting", False)) == [
        ("events['ad']", "error"),
        ("people['city']", "error"),
    ]
    assert places(policy, ("discloses_behavioural_targeting", True)) == []
    vendor = Vendor(targets_behaviour=True)
    assert places(FieldPolicy(), ("discloses_behavioural_targeting", False), vendor=vendor) == [("vendor", "error")]


@pytest.mark.parametrize(
    ("regime", "promise", "found"),
    [
        (Regime.OPT_IN, "opt_in", []),
        (Regime.OPT_IN, "opt_out", []),
        (Regime.OPT_OUT, "opt_out", []),
        (Regime.OPT_OUT, "opt_in", [("regime", "error")]),
        (Regime.OPT_OUT, {"EU": "opt_in", "US": "opt_out"}, [("regime", "error")]),
        (Regime.OPT_OUT, {"US": "opt_out"}, []),
        (by_country({}.get), {"EU": "opt_in", "US": "opt_out"}, []),
        (by_country({}.get, opt_out=["US-TX", "AU"]), {"EU": "opt_in", "US": "opt_out"}, [("regime: AU", "error")]),
        (by_country({}.get, opt_out=["AU"]), {"EU": "opt_in", "*": "opt_out"}, []),
        (by_country({}.get), "opt_in", [("regime: US", "error")]),
        (lambda _: Regime.OPT_IN, "opt_in", [("regime", "warning")]),
    ],
)
def test_opt_out_where_opt_in_was_promised_is_found(regime, promise, found):
    assert places(FieldPolicy(), ("consent", promise), regime=regime) == found


def test_addresses_need_to_be_disclosed():
    policy = FieldPolicy(events={"ip": generalize(ip=True)}, people={"$ip": EMAIL})
    assert places(policy, ("discloses_ip_address", False)) == [("events['ip']", "error"), ("people['$ip']", "error")]
    assert places(policy, ("discloses_ip_address", True)) == []


@pytest.mark.parametrize(
    ("consumer", "found"),
    [
        (None, [("consumer", "error")]),
        (Consumer(api_host="api-eu.mixpanel.com"), []),
        (Consumer(api_host="api-in.mixpanel.com"), [("consumer", "error")]),
        (BufferedConsumer(api_host="api-eu.mixpanel.com"), []),
        (Consumer(events_url="https://proxy.shop.example/track"), [("consumer", "warning")]),
        (FakeTransport(), [("consumer", "warning")]),
    ],
    ids=["default", "EU", "IN", "buffered", "proxy", "fake"],
)
def test_the_region_is_that_of_the_consumer(consumer, found):
    mp = Mixpanel("T", consumer, registry=MemoryRegistry(), policy=FieldPolicy())
    assert places(mp, ("data_region", "EU")) == found


def test_the_region_of_privacy_requests_is_looked_at_too():
    privacy = PrivacyRequests("T", "O", region="US")
    consumer = Consumer(api_host="api-eu.mixpanel.com")
    mp = Mixpanel("T", consumer, registry=MemoryRegistry(), policy=FieldPolicy(), privacy=privacy)
    assert places(mp, ("data_region", "EU")) == [("privacy", "error")]
    assert places(FieldPolicy(), ("data_region", "EU"), vendor=Vendor(region="US")) == [("vendor", "error")]


def test_who_is_not_identified_has_no_plain_id_and_no_name():
    policy = FieldPolicy(people={"$name": EMAIL, "plan": keep()})
    assert places(policy, ("identifies_visitors", False)) == [("identity", "error"), ("people['$name']", "error")]


def test_free_text_is_known_by_its_name_unless_it_is_constrained():
    policy = FieldPolicy(
        events={"query": keep(), "note": keep(one_of=["a", "b"]), "comment": transform(len), "cart.message": keep()}
    )
    assert places(policy, ("uses_free_text", False)) == [
        ("events['query']", "error"),
        ("events['cart.message']", "error"),
    ]


def test_erasure_needs_a_way_to_ask_for_it():
    registry, policy = MemoryRegistry(), FieldPolicy()
    assert places(Mixpanel("T", registry=registry, policy=policy), ("allows_erasure", True)) == [("privacy", "error")]
    mp = Mixpanel("T", registry=registry, policy=policy, privacy=PrivacyRequests("T", "O"))
    assert places(mp, ("allows_erasure", True)) == []
    assert places(mp, ("allows_erasure", True), vendor=Vendor(allows_erasure=False)) == [("vendor", "error")]


@pytest.mark.parametrize(
    ("promise", "vendor", "found"),
    [
        (("discloses_cookies", False), Vendor(uses_cookies=True), [("vendor", "error")]),
        (("discloses_cookies", True), Vendor(uses_cookies=True), []),
        (("retention_days", 365), Vendor(retention_days=400), [("vendor", "error")]),
        (("retention_days", 365), Vendor(retention_days=365), []),
        (("retention_days", 365), Vendor(), [("vendor", "warning")]),
        (("retention_days", 365), None, []),
    ],
)
def test_what_no_program_sees_is_taken_from_the_vendor_s_facts(promise, vendor, found):
    assert places(FieldPolicy(), promise, vendor=vendor) == found


def test_flags_send_attributes_only_where_they_are_remote():
    policy = FieldPolicy(flags={"email": EMAIL})
    registry = MemoryRegistry()
    given = {"registry": registry, "policy": policy, **PSEUDONYMOUS}
    assert places(Mixpanel("T", FakeTransport(), **given), NOT_SHARED) == []
    mp = Mixpanel("T", FakeTransport(), remote_flags_config=RemoteFlagsConfig(), **given)
    assert places(mp, NOT_SHARED) == [("flags['email']", "error")]


def test_rules_of_one_event_are_named_by_it():
    policy = FieldPolicy().for_event("Paid", {"email": EMAIL})
    assert places(policy, NOT_SHARED, **PSEUDONYMOUS) == [("for_event('Paid')['email']", "error")]


def test_what_is_not_promised_is_not_held_to():
    policy = FieldPolicy(people={"$email": EMAIL, "$ip": EMAIL})
    assert audit(policy, Promises()) == []
    assert audit(policy, Promises(honours_global_privacy_control=True)) == []


@pytest.mark.parametrize(("target", "promises"), [("policy", Promises()), (FieldPolicy(), {"consent": "opt_in"})])
def test_wrong_arguments_are_refused(target, promises):
    with pytest.raises(ConfigurationError):
        audit(target, promises)


# Promises


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("consent", "maybe"),
        ("consent", {"EU": "maybe"}),
        ("consent", {}),
        ("data_region", "DE"),
        ("retention_days", 0),
        ("retention_days", True),
        ("identifies_visitors", "no"),
    ],
)
def test_a_malformed_promise_is_refused(field, value):
    with pytest.raises(ConfigurationError, match=field.split("_")[0]):
        Promises(**{field: value})


def test_every_promise_knows_its_sentence():
    given = {
        field: True for field in Promises.__annotations__ if field not in {"consent", "retention_days", "data_region"}
    }
    promises = Promises(**given, consent={"eu": "opt_in", "us": "opt_out"}, retention_days=365, data_region="EU")
    sentences = promises.sentences()
    assert sentences.keys() == Promises.__annotations__.keys()
    assert all(sentence.endswith(".") for sentence in sentences.values())
    assert "EU: Nothing is sent before somebody has agreed to it." in sentences["consent"]
    assert promises.not_checked == ("honours_global_privacy_control",)


TOML = """\
# What https://shop.example/privacy says.
[promises]
shares_personal_data_with_third_parties = false
retention_days = 365
consent = { EU = "opt_in", US = "opt_out" }
honours_global_privacy_control = true
"""


@pytest.fixture
def shop(tmp_path, monkeypatch):
    (tmp_path / "promises.toml").write_text(TOML)
    (tmp_path / "audited_shop.py").write_text(
        "from consentpanel import FieldPolicy, Mixpanel, keep, pseudonymous\n"
        "from consentpanel.registry import MemoryRegistry\n"
        "from consentpanel.testing import FakeTransport\n"
        "from consentpanel.transparency import Vendor, notice\n"
        "GOOD = FieldPolicy(events={'plan': keep(reason='to see which plans are used')}, secret=b'0' * 32)\n"
        "BAD = FieldPolicy(people={'$email': keep(detect=False, personal=True)}, secret=b'0' * 32)\n"
        "VENDOR = Vendor(retention_days=30)\n"
        "def client(policy):\n"
        "    return Mixpanel('T', FakeTransport(), registry=MemoryRegistry(), policy=policy, identity=pseudonymous())\n"
        "good, bad = client(GOOD), client(BAD)\n"
        "def page(language='en'):\n"
        "    return notice(GOOD, contact='x@shop.example', language=language, purposes={'analytics': 'to improve'})\n"
        "fixed = page()\n"
        "def worse():\n"
        "    return notice(BAD, contact='x@shop.example')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_promises_are_read_from_toml(shop):
    promises = Promises.from_toml(shop / "promises.toml")
    assert promises.consent == {"EU": "opt_in", "US": "opt_out"}
    (shop / "flat.toml").write_text("retention_days = 5\n")
    assert Promises.from_toml(shop / "flat.toml") == Promises(retention_days=5)
    for text, message in (
        ("a = ", "not TOML"),
        ("sells = true", "there are no promises sells"),
        ("promises = 5", "table"),
    ):
        (shop / "wrong.toml").write_text(text)
        with pytest.raises(ConfigurationError, match=message):
            Promises.from_toml(shop / "wrong.toml")


def test_the_command_passes_a_client_that_keeps_its_promises(shop, capsys):
    command = [
        "audit",
        "--client",
        "audited_shop:good",
        "--promises",
        "promises.toml",
        "--vendor",
        "audited_shop:VENDOR",
    ]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "0 broken, of 3 promises that could be checked" in out
    assert "not checked, look yourself: The browser's Global Privacy Control" in out


def test_the_command_fails_a_client_that_breaks_one_and_says_how_to_mend_it(shop, capsys):
    assert main(["audit", "--client", "audited_shop:bad", "--promises", "promises.toml"]) == 1
    out = capsys.readouterr().out
    assert "error: people['$email']" in out
    assert "promised:  No personal data is shared with third parties." in out
    assert "mend:      Drop it" in out


def test_the_command_prints_json_and_sarif(shop, capsys):
    command = ["audit", "--policy", "audited_shop:BAD", "--promises", "promises.toml"]
    assert main([*command, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["breaches"][0]["place"] == "people['$email']"
    assert main([*command, "--sarif"]) == 1
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    result = run["results"][0]
    assert result["ruleId"] == run["tool"]["driver"]["rules"][0]["id"] == "shares_personal_data_with_third_parties"
    location = result["locations"][0]["physicalLocation"]
    assert (location["artifactLocation"]["uri"], location["region"]["startLine"]) == ("promises.toml", 3)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["--client", "audited_shop:GOOD", "--promises", "promises.toml"], "must be a Mixpanel"),
        (["--client", "audited_shop:good", "--promises", "none.toml"], "No such file"),
        (["--client", "audited_shop:good", "--promises", "audited_shop.py"], "not TOML"),
        (["--client", "audited_shop:nobody", "--promises", "promises.toml"], "has no 'nobody'"),
    ],
)
def test_wrong_usage_is_told(shop, capsys, command, message):
    assert main(["audit", *command]) == 2
    assert message in capsys.readouterr().err


def test_one_assertion_does_the_same():
    policy = FieldPolicy(people={"$email": EMAIL})
    assert_keeps_promises(policy, Promises(consent="opt_in"))
    with pytest.raises(AssertionError, match=r"promises are broken:\n  people\['\$email'\]: It is personal data"):
        assert_keeps_promises(policy, Promises(shares_personal_data_with_third_parties=False), **PSEUDONYMOUS)


# python -m consentpanel notice


def test_the_notice_is_written_and_checked(shop, capsys):
    files = ["notice.html", "notice.md", "notice.json"]
    assert main(["notice", "audited_shop:page", "--write", *files]) == 0
    assert main(["notice", "audited_shop:page", "--check", *files]) == 0
    assert capsys.readouterr().out.count("says what the policy does") == 3
    assert main(["notice", "audited_shop:worse", "--check", *files]) == 1
    out = capsys.readouterr().out
    assert out.count("does not say what the policy does") == 3
    assert "needs consent anew: profiles: people['$email'] is sent now" in out
    assert "needs no consent: analytics: events['plan'] is no longer sent" in out


def test_the_notice_is_printed_in_a_language_and_form(shop, capsys):
    assert main(["notice", "audited_shop:page", "--language", "de"]) == 0
    assert capsys.readouterr().out.startswith("# Welche Daten wir an Mixpanel senden")
    assert main(["notice", "audited_shop:fixed", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["language"] == "en"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["audited_shop:fixed", "--language", "de"], "needs a function"),
        (["audited_shop:GOOD"], "must be a Notice or make one"),
        (["audited_shop:worse", "--language", "de"], "made no notice"),
        (["audited_shop:page", "--write", "notice.txt"], "the suffix must be one of .html, .md, .json"),
        (["audited_shop:page", "--check", "none.md"], "No such file"),
        (["audited_shop:page", "--write", "no/such/place.md"], "No such file"),
    ],
)
def test_wrong_usage_of_the_notice_is_told(shop, capsys, command, message):
    assert main(["notice", *command]) == 2
    assert message in capsys.readouterr().err


def test_an_address_under_another_name_breaks_the_promise_too():
    # rule 6.2
    policy = FieldPolicy(events={"client": generalize(ip=True), "req": keep(deep=True, detect=False), "plan": keep()})
    assert places(policy, ("discloses_ip_address", False)) == [
        ("events['client']", "error"),
        ("events['req']", "warning"),
    ]
