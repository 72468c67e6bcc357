"""The notice to visitors says what the policy does, and nothing else (contract rule 6.1)."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from consentpanel import ConfigurationError, FieldPolicy, Mixpanel, Regime, by_country, per_subject, pseudonymous
from consentpanel.policy import drop, generalize, keep, mask, pseudonymize, redact, refuse, transform, truncate, url
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport
from consentpanel.transparency import LANGUAGES, TEXTS, Vendor, compare, notice

SECRET = b"0" * 32
GOLDEN = Path(__file__).parent / "golden"
WRITERS = {"md": "to_markdown", "html": "to_html", "json": "to_json"}

POLICY = FieldPolicy(
    events={
        "product": keep(categories=["user.behavior.purchase_history"], reason="to see what is bought"),
        "page": url(reason="to see where people come from"),
        "cart": keep(deep=True, reason="to see what is left in carts"),
        "cart.note": drop(),
        "ip": generalize(ip=True, reason="to count by country"),
        "coupon": pseudonymize(reason="to count coupons & <offers>"),
        "card": mask(reason="to find double payments"),
        "born": generalize(time="year", reason="to know the age of our customers"),
    },
    people={
        "$email": keep(detect=False, categories=["user.contact.email"], reason="to write to you", purpose="marketing"),
        "city": truncate(3, reason="to count by region"),
    },
    groups={"industry": keep(reason="to count by industry")},
    flags={"plan": keep(reason="to choose features")},
    secret=SECRET,
).for_event("Order placed", {"total": keep(reason="to add up"), "coupon": drop()})


def page(policy=POLICY, **more):
    given = {
        "contact": "privacy@shop.example",
        "purposes": {"analytics": "to improve the shop", "profiles": "to know our customers", "marketing": "for news"},
        "vendor": Vendor(region="EU", retention_days=365),
    }
    return notice(policy, **{**given, **more})


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("form", WRITERS)
def test_the_notice_is_the_one_that_was_read_and_approved(language, form):
    # CONSENTPANEL_WRITE_GOLDEN=1 writes the files anew; read them before you commit them.
    text = getattr(page(language=language, identity=pseudonymous(SECRET)), WRITERS[form])()
    file = GOLDEN / f"notice.{language}.{form}"
    if os.environ.get("CONSENTPANEL_WRITE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text


def test_the_version_is_of_the_facts_and_equal_in_all_languages():
    versions = {page(language=language).version for language in LANGUAGES}
    assert len(versions) == 1
    assert re.fullmatch("n2_[0-9a-f]{16}", versions.pop())


@pytest.mark.parametrize(
    "other",
    [
        {"policy": FieldPolicy(events={"product": keep()})},
        {"regime": Regime.OPT_OUT},
        {"identity": per_subject({})},
        {"vendor": Vendor()},
        {"purposes": {"analytics": "for other things"}},
        {"purpose_map": {"Order placed": "targeting"}},
        {"hold_for": 600},
    ],
)
def test_another_fact_is_another_version(other):
    assert page(**other).version != page().version


def test_the_version_is_what_a_consent_record_holds():
    registry = MemoryRegistry(required_policy_version=page().version)
    registry.grant("user-1", policy_version=page().version)
    assert registry.status("user-1", "analytics") == "granted"


def test_a_user_s_own_texts_take_the_place_of_ours():
    text = page(texts={"title": "Analytics at our shop", "technical.time": "the minute"}).to_markdown()
    assert text.startswith("# Analytics at our shop\n")
    assert "**the minute**" in text
    with pytest.raises(ConfigurationError, match=r"texts\['headline'\]"):
        page(texts={"headline": "x"})


@pytest.mark.parametrize(
    ("more", "said", "unsaid"),
    [
        ({"regime": Regime.OPT_IN}, TEXTS["basis.opt_in"], TEXTS["basis.opt_out"]),
        ({"regime": Regime.OPT_OUT}, TEXTS["basis.opt_out"], TEXTS["choices.opt_in"]),
        ({"regime": by_country({}.get)}, TEXTS["basis.by_region"], TEXTS["basis.opt_in"]),
        ({"hold_for": 1750}, "waits for at most 30 minutes.", "random number"),  # rule 8.10
        ({"hold_for": None}, TEXTS["choices.no"], "before you have answered"),
        ({"identity": None}, "the same ID that we use for you", "random code"),
        ({"identity": pseudonymous(SECRET)}, "We can work the code out again", "the same ID"),
        ({"identity": per_subject({})}, "random code", "the same ID"),
        ({"vendor": Vendor(targets_behaviour=True)}, TEXTS["targeting.yes"], TEXTS["targeting.no"]),
        ({"vendor": Vendor(uses_cookies=True)}, TEXTS["cookies.some"], TEXTS["cookies.no"]),
        ({"vendor": Vendor(uses_cookies={"id": 30})}, "It is called “id” and stays for 30 days.", TEXTS["cookies.no"]),
        ({"vendor": Vendor(uses_cookies=False)}, TEXTS["cookies.no"], "in a cookie"),
        ({"vendor": Vendor()}, TEXTS["choices"], "cookie"),
        ({"vendor": Vendor(allows_erasure=False)}, TEXTS["rights"], "delete your data, both with us and at"),
        ({"vendor": Vendor(allows_erasure=True)}, "delete your data, both with us and at Mixpanel", "random code"),
        ({"vendor": "Another vendor"}, "Another vendor receives the data", "Mixpanel"),
        ({"vendor": Vendor(retention_days=90)}, "After 90 days", "how long"),
        ({"vendor": Vendor(region="IN")}, "India", "European Union"),
        ({"policy": FieldPolicy()}, TEXTS["ip.no"], TEXTS["ip.yes"]),
        ({"policy": FieldPolicy()}, TEXTS["detectors"], "We do not look into these"),
        ({"policy": FieldPolicy(events={"q": keep(detect=False)})}, "We do not look into these: q", TEXTS["ip.yes"]),
        (
            {"policy": FieldPolicy(events={"q": keep(on_detect="report")})},
            "We do not look into these: q",
            TEXTS["ip.yes"],
        ),
        ({"policy": FieldPolicy(on_detect="report")}, TEXTS["ip.no"], "we look in it for e-mail addresses"),
        ({"policy": FieldPolicy(detectors=["email"])}, TEXTS["ip.no"], "we look in it for e-mail addresses"),
        ({"policy": FieldPolicy(on_detect={"phone": "report"})}, TEXTS["ip.no"], "we look in it for e-mail addresses"),
        ({"policy": FieldPolicy(events={"client_ip": keep()})}, TEXTS["ip.yes"], TEXTS["ip.no"]),
        ({"policy": FieldPolicy(events={"ip": keep()})}, TEXTS["ip.yes"], TEXTS["ip.no"]),
        ({"policy": FieldPolicy(events={"ip": generalize(ip=True)})}, TEXTS["ip.coarse"], TEXTS["ip.yes"]),
    ],
)
def test_it_says_what_holds_and_not_what_does_not(more, said, unsaid):
    text = page(**more).to_markdown()
    assert said.split("{")[0].strip() in text
    assert unsaid.split("{")[0].strip() not in text


def test_planned_events_are_named():
    policy = FieldPolicy(unplanned_events="drop", planned_events=["Viewed"]).for_event("Paid", {"total": keep()})
    text = page(policy).to_markdown()
    assert "and nothing else" in text
    assert "Paid" in text
    assert "Viewed" in text
    assert "such as “Order placed”" not in text


def test_strict_mode_names_everything_that_lacks_a_reason():
    policy = FieldPolicy(events={"plan": keep(), "total": keep(reason="to add up")}, people={"city": keep()})
    with pytest.raises(ConfigurationError) as caught:
        page(policy.for_event("Paid", {"sum": keep()}), purposes={"analytics": "to improve"}, strict=True)
    expected = ["events['plan']", "people['city']", "for_event('Paid')['sum']", "purposes['profiles']"]
    assert all(each in str(caught.value) for each in expected)
    assert "events['total']" not in str(caught.value)
    assert page(strict=True, purposes={"analytics": "a", "profiles": "b", "feature_flags": "c", "marketing": "d"})


def test_a_policy_that_keeps_everything_has_no_notice():
    with pytest.raises(ConfigurationError, match="nobody can say what that is"):
        page(FieldPolicy.keep_all())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"policy": "plan"}, "takes a Mixpanel client or a FieldPolicy"),
        ({"contact": " "}, "contact must say"),
        ({"language": "es"}, "language must be one of en, de, fr"),
        ({"purposes": "analytics"}, "purposes must be a mapping"),
        ({"hold_for": -1}, "hold_for must be a number of seconds"),
    ],
)
def test_wrong_arguments_are_refused(more, message):
    with pytest.raises(ConfigurationError, match=message):
        page(**more)


@pytest.mark.parametrize(
    ("field", "value"), [("region", "DE"), ("name", ""), ("retention_days", 0), ("retention_days", "1")]
)
def test_a_vendor_is_checked(field, value):
    with pytest.raises(ConfigurationError, match=field):
        Vendor(**{field: value})


# What the application says cannot break out of the page


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag != "a":
            self.seen.append(tag)
            return
        # What looks like an address may be followed, and nothing else.
        ((name, address),) = attrs
        assert name == "href"
        assert re.match(r"https://|mailto:[^:]+@", address)


@given(st.text(min_size=1, max_size=40))
def test_no_text_of_the_application_becomes_markup(text):
    plain = page(FieldPolicy(events={"plan": keep(reason="x")}))
    shown = page(FieldPolicy(events={"plan": keep(reason=text, categories=[text])}), contact="a" + text)
    before, after = Tags(), Tags()
    before.feed(plain.to_html())
    after.feed(shown.to_html())
    assert after.seen == before.seen
    assert "<script" not in shown.to_html()
    assert shown.to_markdown().count("\n#") == plain.to_markdown().count("\n#")


# rule 6.1: no path, name, reason or label becomes anything else than text

HOSTILE = st.text(
    st.one_of(st.sampled_from("`*_[]()<>|~#&;!\\-+=1.:/@\"' \t\n\r$%{}"), st.characters(exclude_categories=())),
    min_size=1,
)
BREAKING = ["a`b", "``", "`", "a\n\n# b", "a\r- b", "a|b|c", "[a](http://b.example)", "<http://b.example>", "![a](b)"]
BREAKING += [
    "<script>",
    "&lt;b&gt;",
    "1. a",
    "- a",
    "---",
    "===",
    "+ a",
    "a\u202eb",
    "a\x1b[31mb",
    "\ud800",
    "\u2028# a",
    "\u200b",
]
BREAKING += ["~~a~~", "**a**", "\\", "a``\n\n***", "\u00a0a", "{vendor}"]


def structure(text):
    """What a reader of Markdown sees in a text, without its words."""
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    found = [each for token in reader.parse(text) for each in (token, *(token.children or ()))]
    return [(each.type, each.tag, each.nesting) for each in found if each.type != "text"]


def notice_of(text):
    # A purpose is printable anyway.
    purpose = f"own {''.join(filter(str.isprintable, text))}"[:64].strip()
    path = "'" + text.replace("'", "''") + "'"
    policy = FieldPolicy(
        events={path: keep(deep=True, reason=text), f"{path}.{path}": drop(), "b": keep(categories=[text])},
        planned_events=[text],
        unplanned_events="drop",
    ).for_event(text, {"c": keep(purpose=purpose)})
    more = {"purposes": {"analytics": text, purpose: text}, "vendor": Vendor(name=text)}
    return notice(policy, contact=f"a{text}", texts={"basis.opt_in": text, "title": text}, **more)


def check_text_stays_text(text):
    plain, made = notice_of("x"), notice_of(text)
    assert structure(made.to_markdown()) == structure(plain.to_markdown())
    before, after = Tags(), Tags()
    before.feed(plain.to_html())
    after.feed(made.to_html())
    assert after.seen == before.seen
    for written in (made.to_markdown(), made.to_html(), made.to_json()):
        assert not set(written) & set("\x1b\x00\x85\u061c\u200f\u2028\u202e\u2066\ud800\ufeff")
        assert len(written.splitlines()) == written.count("\n")
        written.encode()
    assert json.loads(made.to_json())["facts"]["contact"] == f"a{text}"


@pytest.mark.parametrize("text", BREAKING)
def test_text_of_the_application_breaks_out_of_no_form_of_the_notice(text):
    # rule 6.1
    check_text_stays_text(text)


@given(HOSTILE)
def test_any_text_of_the_application_stays_text(text):
    # rule 6.1
    # A plain name may be one of the vendor's, which rules cannot have.
    assume(text.strip() and text != "[]" and re.search(r"[^\w$]", text, re.ASCII))
    check_text_stays_text(text)


def test_a_path_stands_in_the_notice_as_it_is():
    # rule 6.1
    made = notice(FieldPolicy(events={"a`b``c": keep(), "`": keep()}), contact="x", names=True).to_markdown()
    shown = [
        each.content
        for token in MarkdownIt().parse(made)
        for each in token.children or ()
        if each.type == "code_inline"
    ]
    assert shown[:2] == ["a`b``c", "`"]


# The notice names every property that a call can send, and no other


NAMES = ["plan", "query", "cart", "total", "$city", "a b", "x"]
ACTIONS = st.sampled_from(
    [
        keep(),
        keep(deep=True),
        redact(),
        mask(),
        truncate(2),
        pseudonymize(),
        transform(len),
        drop(),
        drop(),
        keep(purpose="more"),
    ]
)
RULES = st.dictionaries(st.sampled_from(NAMES), ACTIONS, max_size=5)


@given(events=RULES, for_paid=RULES, people=RULES)
def test_it_names_every_property_that_can_be_sent_and_no_other(events, for_paid, people):
    policy = FieldPolicy(events=events, people=people, secret=SECRET).for_event("Paid", for_paid)
    said = page(policy).facts["items"]
    registry, vendor = MemoryRegistry(), FakeTransport()
    registry.grant("user-1", "analytics", "profiles", "more")
    mp = Mixpanel("T", vendor, registry=registry, policy=policy)
    properties = dict.fromkeys(NAMES, "text")
    for event in ("Paid", "Viewed"):
        mp.track("user-1", event, properties)
        named = {
            item["path"]
            for item in said
            if item["scope"] == "events"
            and item.get("event") in (None, event)
            and event not in item.get("not_with", ())
        }
        assert set(vendor.events[-1].properties) & set(NAMES) == named
    mp.people_set("user-1", properties)
    sent = vendor.people[-1].properties.get("$set", {}) if vendor.people else {}
    assert set(sent) == {item["path"] for item in said if item["scope"] == "people"}
    for path in {item["path"] for item in said}:
        assert path not in NAMES or f"`{path}`" in page(policy, names=True).to_markdown()


def test_what_another_spelling_closes_is_told_to_be_left_out():
    # rule 6.1
    policy = FieldPolicy(events={"cart": keep(deep=True), "Cart.note": drop(), "plan": keep()})
    items = notice(policy.for_event("E", {"PLAN": drop()}), contact="x").facts["items"]
    assert [item.get("exceptions") for item in items if item["path"] == "cart"] == [["Cart.note"]]
    assert [item.get("not_with") for item in items if item["path"] == "plan"] == [["E"]]


def test_a_rule_that_refuses_is_no_property_that_is_sent():
    assert page(FieldPolicy(events={"diagnosis": refuse()})).properties.isdisjoint({"diagnosis"})


def test_events_that_serve_another_purpose_stand_under_it():
    policy = FieldPolicy(events={"plan": keep()}).for_event("Ad seen", {"ad": keep()})
    items = page(policy, purpose_map={"Ad seen": "targeting", "people_set": ["profiles", "more"]}).facts["items"]
    purposes = {item["path"]: item["purposes"] for item in items}
    assert purposes["ad"] == ["targeting"]
    assert purposes["plan"] == ["analytics", "targeting"]


# Comparing


def changes(before, after, **more):
    return {change.text: change.needs_consent for change in compare(page(**before), page(**after)).changes}


BASE = FieldPolicy(events={"plan": truncate(2), "cart": keep(deep=True), "cart.note": drop()})


@pytest.mark.parametrize(
    ("rules", "text", "needs"),
    [
        ({"coupon": keep()}, "events['coupon'] is sent now", True),
        ({"plan": keep()}, "events['plan'] is sent in another form: shortened became as_is", True),
        ({"plan": pseudonymize()}, "events['plan'] is sent in another form: shortened became pseudonymous", False),
        ({"plan": drop()}, "events['plan'] is no longer sent", False),
        ({"cart.sku": drop()}, "events['cart']: cart.sku is left out now", False),
        ({"plan": truncate(2, reason="x")}, "events['plan'] is sent for another reason", False),
    ],
)
def test_more_data_needs_consent_anew_and_less_does_not(rules, text, needs):
    after = FieldPolicy(events={**BASE.rules("events"), **rules}, secret=SECRET)
    found = changes({"policy": BASE}, {"policy": after})
    assert found == {f"analytics: {text}": needs}
    assert compare(page(BASE), page(after)).needs_consent is needs


def test_another_purpose_is_new_and_narrows_what_is_sent():
    after = FieldPolicy(events={**BASE.rules("events"), "plan": truncate(2, purpose="more")})
    assert changes({"policy": BASE}, {"policy": after}) == {
        "more: the purpose is new": True,
        "analytics: events['plan'] needs consent for other purposes": False,
    }


def test_what_was_left_out_and_is_not_needs_consent():
    after = FieldPolicy(events={"plan": truncate(2), "cart": keep(deep=True)})
    assert changes({"policy": BASE}, {"policy": after}) == {
        "analytics: events['cart']: cart.note is no longer left out": True
    }


@pytest.mark.parametrize(
    ("more", "text", "needs"),
    [
        ({"regime": Regime.OPT_OUT}, "regime: opt_in became opt_out", True),
        ({"identity": pseudonymous(SECRET)}, "identity: plain became pseudonymous", False),
        ({"vendor": Vendor(region="US", retention_days=365)}, "vendor: the region EU became US", True),
        ({"vendor": Vendor(region="EU", retention_days=400)}, "vendor: 365 days became 400", True),
        ({"vendor": Vendor(region="EU", retention_days=30)}, "vendor: 365 days became 30", False),
        ({"vendor": Vendor(region="EU", retention_days=None)}, "vendor: 365 days became None", True),
        (
            {"vendor": Vendor(name="Other", region="EU", retention_days=365)},
            "vendor: the name Mixpanel became Other",
            True,
        ),
        (
            {"vendor": Vendor(region="EU", retention_days=365, uses_cookies=True)},
            "vendor: uses_cookies became True",
            True,
        ),
        (
            {"vendor": Vendor(region="EU", retention_days=365, allows_erasure=False)},
            "vendor: allows_erasure became False",
            True,
        ),
        ({"contact": "x"}, "the contact is another", False),
        ({"hold_for": 600}, "what people do before they have answered is kept for another time, or no longer", True),
    ],
)
def test_other_facts_that_change_are_told(more, text, needs):
    assert changes({}, more) == {text: needs}


def test_purposes_that_come_and_go_are_told():
    before, after = {"analytics": "to improve"}, {"analytics": "to sell", "ads": "to sell"}
    policy = FieldPolicy()
    found = changes({"policy": policy, "purposes": before}, {"policy": policy, "purposes": after})
    assert found == {"analytics: another reason is given": True, "ads: the purpose is new": True}
    found = changes({"policy": policy, "purposes": after}, {"policy": policy, "purposes": before})
    assert found["ads: the purpose is gone"] is False


def test_a_rule_for_one_event_that_the_scope_covered_is_nothing_new():
    before = FieldPolicy(events={"plan": keep()})
    assert changes({"policy": before}, {"policy": before.for_event("Paid", {"plan": truncate(2)})}) == {
        "analytics: for_event('Paid')['plan'] is sent in another form: as_is became shortened": False
    }


@pytest.mark.parametrize(
    "said", ["[" * 20_000, "\x00", '{"facts": []}', '{"facts": {"purposes": [{"purpose": [], "why": ""}]}}']
)
def test_what_is_no_notice_is_not_compared(said):
    # rule 6.1
    with pytest.raises(ConfigurationError):
        compare(said, page())
    other = page().to_json().replace('"as_is"', '"no such form"')
    with pytest.raises(ConfigurationError):
        compare(other, page())


def test_notices_are_compared_as_they_were_published():
    before = page(BASE).to_json()
    assert compare(before, json.loads(before)).changes == ()
    for wrong in ("{}", "no JSON", {"facts": 5}, {"facts": {"purposes": 5}}):
        with pytest.raises(ConfigurationError, match="compare\\(\\) takes notices"):
            compare(wrong, page())


NOT_SENT = "We do not send your IP address."


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (FieldPolicy(events={"plan": keep()}), NOT_SENT),
        (FieldPolicy(events={"count": keep(type=int, detect=False)}), NOT_SENT),
        (FieldPolicy(events={"email": keep(detect=False, personal=True)}), NOT_SENT),
        (
            FieldPolicy(events={"client": generalize(ip=True)}),
            "Of your IP address we send only the first part, which many connections share.",
        ),
        (FieldPolicy(events={"client": keep(detect=["-ip_address"])}), "We send your IP address."),
        (FieldPolicy(events={"ip": keep(personal=True)}), "We send your IP address."),
        (FieldPolicy(events={"request": keep(deep=True, detect=False)}), None),
        (FieldPolicy(events={"note": keep()}, detectors=["-ip_address"]), None),
        (FieldPolicy(events={"note": keep()}, on_detect={"ip_address": "report"}), None),
        (FieldPolicy(events={"ip": pseudonymize()}, secret=SECRET), None),
    ],
)
def test_the_notice_says_of_ip_addresses_what_the_policy_does(policy, said):
    # rule 6.1: and nothing where the policy cannot tell
    text = notice(policy, contact="c").to_markdown()
    assert [
        line for line in text.splitlines() if "IP address" in line and line.endswith(".") and not line.startswith("- ")
    ] == [said] * (said is not None)


def test_what_a_flag_writes_is_told_beside_rules_for_its_event():
    # rule 1.7: the built-in rules hold for what no rule of that event names
    policy = FieldPolicy(events={"plan": keep()}).for_event(
        "$experiment_started", {"plan": keep(), "variant name": drop()}
    )
    sent = policy.apply_event(
        "$experiment_started", {"Experiment name": "x", "Variant name": "v", "plan": 1}
    ).properties
    assert sent.keys() <= notice(policy, contact="c").properties
    assert "Variant name" not in notice(policy, contact="c").properties


def test_the_notice_claims_no_removal_where_addresses_are_exempt():
    policy = FieldPolicy(events={"note": keep()}, detect_allow=["*@gmail.com"])
    assert "take out those we recognise" not in notice(policy, contact="c").to_markdown()


def test_a_notice_of_a_policy_without_personal_data_says_that_ids_are_pseudonyms():
    assert notice(FieldPolicy.no_personal_data(secret=SECRET), contact="c").facts["identity"] == "pseudonymous"
