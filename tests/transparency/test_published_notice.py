"""A notice that is fit to publish (contract rules 12.5 and 12.7)."""

import datetime as dt
import json
import logging
import re

import pytest

from consentpanel import (
    ConfigurationError,
    FieldPolicy,
    Mixpanel,
    PrivacyRequests,
    Regime,
    by_country,
    per_subject,
    pseudonymous,
)
from consentpanel.policy import drop, generalize, keep, mask, pseudonymize, redact, transform, truncate, url
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport
from consentpanel.transparency import LANGUAGES, Controller, Transfer, Vendor, compare, notice

SECRET = b"0" * 32
POLICY = FieldPolicy(
    events={"product": keep(label={"en": "what you bought", "de": "was Sie gekauft haben", "fr": "vos achats"})}
)
VENDOR = Vendor(
    region="EU",
    role="processor",
    transfer=Transfer(
        countries=("US",),
        safeguard={"en": "standard clauses", "de": "Standardvertragsklauseln", "fr": "clauses types"},
        link="https://vendor.example/dpa",
    ),
    retention_days=730,
    profiles_kept_until={"en": "you close your account", "de": "Sie Ihr Konto schließen", "fr": "la clôture du compte"},
    targets_behaviour=False,
    uses_cookies={"consentpanel": 180},
    in_browser=False,
)
WHYS = {"analytics": {"en": "to order enough tea", "de": "um genug Tee zu bestellen", "fr": "pour commander du thé"}}
WHOLE = {
    "contact": "privacy@teahouse.example",
    "purposes": {**WHYS, "feature_flags": WHYS["analytics"]},
    "vendor": VENDOR,
    "publish": True,
    "service": "Teahouse",
    "controller": Controller(name="Teahouse Ltd", address="1 Leaf Street, Dublin 2, Ireland"),
    "legal_bases": {
        "analytics": {
            "en": "Article 6(1)(a) GDPR.",
            "de": "Artikel 6 Absatz 1 Buchstabe a DSGVO.",
            "fr": "RGPD, 6(1)a.",
        },
        "feature_flags": "Article 6(1)(a) GDPR.",
    },
    "authority": "the Data Protection Commission",
    "date": dt.date(2026, 11, 1),
    "choices_url": "https://teahouse.example/privacy/",
    "is_required": False,
    "records_kept": 1095,
    "automated_decisions": False,
}


def whole(policy=POLICY, **more):
    return notice(policy, **{**WHOLE, **more})


def without(name):
    return {key: value for key, value in WHOLE.items() if key != name}


# rule 12.5: what the library cannot know is a required argument


@pytest.mark.parametrize(
    "name",
    [
        "controller",
        "authority",
        "date",
        "choices_url",
        "is_required",
        "automated_decisions",
        "legal_bases",
        "records_kept",
    ],
)
def test_a_published_notice_needs_what_no_program_can_know(name):
    with pytest.raises(ConfigurationError, match=f"{name}(=|\\[)"):
        notice(POLICY, **without(name))


@pytest.mark.parametrize(
    "name", ["region", "role", "transfer", "retention_days", "targets_behaviour", "uses_cookies", "profiles_kept_until"]
)
def test_a_published_notice_needs_what_is_done_with_the_data(name):
    import attrs

    policy = FieldPolicy(events=POLICY.rules("events"), people={"plan": keep(reason="x")})
    more = {
        "purposes": {**WHOLE["purposes"], "profiles": "x"},
        "legal_bases": {**WHOLE["legal_bases"], "profiles": "x"},
    }
    assert whole(policy, **more)
    with pytest.raises(ConfigurationError, match=rf"Vendor\({name}="):
        whole(policy, vendor=attrs.evolve(VENDOR, **{name: None}), **more)


def test_everything_that_is_missing_is_named_at_once():
    with pytest.raises(ConfigurationError) as caught:
        notice(POLICY, contact="x", publish=True)
    for name in (
        "controller=",
        "authority=",
        "date=",
        "Vendor(role=)",
        "purposes['analytics']",
        "legal_bases['analytics']",
    ):
        assert name in str(caught.value)


def test_cookies_that_are_not_named_are_not_enough():
    import attrs

    with pytest.raises(ConfigurationError, match="uses_cookies"):
        whole(vendor=attrs.evolve(VENDOR, uses_cookies=True))


@pytest.mark.parametrize(
    ("regime", "needs"),
    [
        (Regime.OPT_IN, False),
        (Regime.OPT_OUT, True),
        (by_country({}.get, opt_out=("US",)), True),
        (by_country({}.get, opt_out=("US-CA",)), True),
        (by_country({}.get, opt_out=("JP",)), False),
    ],
)
def test_california_is_asked_for_where_silence_is_no_no_there(regime, needs):
    if needs:
        with pytest.raises(ConfigurationError, match="sells_or_shares="):
            whole(regime=regime)
    assert whole(regime=regime, sells_or_shares=False)


def test_what_logs_people_in_is_not_announced_but_refused():
    with pytest.raises(ConfigurationError, match=r"events\['password'\] sends what logs people in"):
        whole(FieldPolicy(events={"password": keep(personal=True, detect=False)}))


def test_sensitive_data_is_named_and_needs_consent():
    policy = FieldPolicy(events={"religion": keep(personal=True, label="your religion")})
    page = whole(policy)
    (use,) = (use for use in page.uses if use.purpose == "analytics")
    assert use.sensitive is not None
    assert "your religion" in use.sensitive
    with pytest.raises(ConfigurationError, match="needs consent"):
        whole(policy, regime=Regime.OPT_OUT, sells_or_shares=False)


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_that_was_given_stands_on_the_page(language):
    text = whole(language=language).to_html()
    for said in (
        "Teahouse Ltd",
        "1 Leaf Street, Dublin 2, Ireland",
        '<a href="mailto:privacy@teahouse.example">',
        '<a href="https://teahouse.example/privacy/">',
        '<a href="https://vendor.example/dpa">',
        "the Data Protection Commission",
        {"en": "1 November 2026", "de": "1. November 2026", "fr": "1er novembre 2026"}[language],
        {"en": "2 years", "de": "2 Jahre", "fr": "2 ans"}[language],
        {"en": "180 days", "de": "180 Tage", "fr": "180 jours"}[language],
        {"en": "European Union", "de": "Europäische", "fr": "européenne"}[language],
        {"en": "United States", "de": "Vereinigte Staaten", "fr": "États-Unis"}[language],
        "consentpanel",
        WHYS["analytics"][language],
        WHOLE["legal_bases"]["analytics"][language],
    ):
        assert said in text, said
    assert not re.search(r"{\w+}", text)


def test_nothing_is_said_that_nobody_said():
    # rule 12.5: None says nothing, a claim is never a default
    text = notice(POLICY, contact="x").to_markdown()
    for claim in (
        "cookie",
        "device: ",
        "stored in",
        "Stored in",
        "we choose what you are shown",
        "deletes the data after",
        "automat",
    ):
        assert claim not in text
    assert "United States" not in text


def test_no_name_of_the_program_stands_on_the_page_unless_asked_for():
    policy = FieldPolicy(
        events={"utm_source": keep(), "$browser": keep(), "cart": keep(deep=True), "cart.note": drop()},
        people={"$email": keep(detect=False, personal=True)},
    ).for_event("$create_alias", {"alias": keep()})
    text = notice(policy, contact="x").to_markdown()
    for name in (
        "utm_source",
        "$browser",
        "$email",
        "$create_alias",
        "distinct_id",
        "$insert_id",
        "mp_lib",
        "cart.note",
    ):
        assert name not in text.replace("\\", "")
    shown = notice(policy, contact="x", names=True).to_markdown().replace("\\", "")
    assert all(name in shown for name in ("`utm_source`", "`$email`", "`distinct_id`"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_label_of_the_rule_goes_before_one_of_ours(language):
    policy = FieldPolicy(events={"plan": keep(label={"en": "your tea", "de": "Ihr Tee", "fr": "votre thé"})})
    text = notice(policy, contact="x", language=language).to_markdown()
    assert {"en": "your tea", "de": "Ihr Tee", "fr": "votre thé"}[language] in text


# Forms, in words that people use


FORMS = [
    (keep(), "exactly as it is"),
    (keep(one_of=["free", "pro"]), "exactly as it is; possible are: free and pro"),
    (keep(type=int), "only a whole number"),
    (keep(type=bool), "only yes or no"),
    (keep(deep=True), "with everything that is inside it"),
    (redact("gone"), "“gone”"),
    (mask(4), "except for at most the last 4 characters"),
    (mask(0), "hidden completely"),
    (mask(categories=["user.contact.email"]), "after the @"),
    (truncate(3), "only the first 3 characters"),
    (truncate(1), "only the first character"),
    (generalize(time="day"), "only the day, without the time of day"),
    (generalize(time="month"), "only the month and year"),
    (generalize(time="year"), "only the year"),
    (generalize(bucket=10), "in steps of 10"),
    (generalize(ip=True), "only its first part"),
    (generalize(decimals=0), "rounded to a whole number"),
    (generalize(decimals=2), "rounded to 2 decimal places"),
    (generalize(decimals=2, categories=["user.location.precise"]), "to about 600 m"),
    (generalize(bands=(18, 25, 35), categories=["user.demographic"]), "only your age group, such as 25-34"),
    (generalize(bands=(0, 10)), "only a range, such as 10+"),
    (pseudonymize(), "always the same one for the same value"),
    (url(params=()), "without what follows the question mark"),
    (url(params=("ref",)), "except: ref"),
    (url(path="ids"), "become a star"),
    (url(fragment=True), "and also what follows the # sign"),
    (transform(len), "something we work out from it"),
    (keep(detect=False), "we do not check what it says"),
]


@pytest.mark.parametrize(("action", "said"), FORMS, ids=[said for _, said in FORMS])
def test_each_form_is_told_in_plain_words(action, said):
    page = notice(FieldPolicy(events={"thing": action}, secret=SECRET), contact="x")
    (entry,) = (each for each in page.uses[0].entries if each.form)
    assert said in entry.form
    assert not re.search(r"{\w+}", entry.form)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_form_leaves_a_place_open(language):
    for action, _ in FORMS:
        page = notice(FieldPolicy(events={"thing": action}, secret=SECRET), contact="x", language=language)
        assert not re.search(r"{\w+}", page.to_markdown())


@pytest.mark.parametrize(
    ("action", "example"),
    [
        (keep(example="Darjeeling, 100 g"), "Darjeeling, 100 g"),
        (keep(one_of=["free", "pro"]), "free"),
        (generalize(bucket=10, example=37.5), "30"),
        (generalize(bucket=10), "30"),
        (generalize(time="month", example="2024-02-29"), "2024-02"),
        (generalize(ip=True), "203.0.113.0"),
        (mask(4), "****4242"),
        (redact("gone"), "gone"),
        (url(path="ids"), "https://shop.example/orders/*?utm_source=newsletter"),
        (transform(len, example="tea"), "3"),
        (keep(), None),
    ],
)
def test_an_example_is_what_the_rule_makes_of_it(action, example):
    # rule 12.1: in which form, with an example
    page = notice(FieldPolicy(events={"thing": action}), contact="x")
    (entry,) = (each for each in page.uses[0].entries if each.form)
    assert entry.example == example


def test_an_example_of_a_pseudonym_is_none_that_the_secret_has_made():
    policy = FieldPolicy(events={"mail": pseudonymize(example="ada@mail.example")}, secret=SECRET)
    (entry,) = (each for each in notice(policy, contact="x").uses[0].entries if each.form)
    real = policy.apply_event("E", {"mail": "ada@mail.example"}).properties["mail"]
    assert entry.example not in (None, real)
    assert entry.example.startswith("psn_")


def test_an_example_that_does_not_pass_its_own_rule_is_refused():
    policy = FieldPolicy(events={"plan": keep(one_of=["free"], example="for ada@mail.example")})
    with pytest.raises(ConfigurationError, match=r"events\['plan'\]: the example does not pass its own rule") as caught:
        notice(policy, contact="x")
    assert "ada" not in str(caught.value)


@pytest.mark.parametrize("name", ["label", "reason"])
@pytest.mark.parametrize("wrong", ["", {}, {"en": ""}, {"en": 5}, 5, {5: "x"}])
def test_words_of_a_rule_are_checked(name, wrong):
    with pytest.raises(ConfigurationError, match=f"{name} must be a non-empty str"):
        keep(**{name: wrong})


# By region


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_countries_of_a_regime_are_named_and_people_there_read_that_they_can_object(language):
    page = notice(POLICY, contact="x@y.example", regime=by_country({}.get, opt_out=("US", "JP")), language=language)
    assert page.facts["opt_out_countries"] == ["JP", "US"]
    text = page.to_markdown()
    assert "Japan" in text or "Japon" in text
    assert {"en": "without giving a reason", "de": "ohne Angabe von Gründen", "fr": "sans donner de raison"}[
        language
    ] in text


def test_of_a_regime_that_is_a_function_no_country_is_claimed():
    page = notice(POLICY, contact="x", regime=lambda _: Regime.OPT_OUT)
    assert page.facts["opt_out_countries"] is None
    assert not re.search(r"{\w+}", page.to_markdown())


# rule 12.7: the version


def version(policy=POLICY, **more):
    return notice(policy, **{**WHOLE, **more}).version


def test_the_version_is_the_same_in_every_language():
    assert len({version(language=language) for language in LANGUAGES}) == 1


def test_a_translation_more_is_no_other_version():
    one = FieldPolicy(events={"plan": keep(reason={"en": "to plan"}, label="your plan")})
    two = FieldPolicy(
        events={"plan": keep(reason={"en": "to plan", "fr": "pour planifier"}, label={"en": "your plan"})}
    )
    assert version(one) == version(two)


@pytest.mark.parametrize(
    "more",
    [
        {"contact": "other@teahouse.example"},
        {"date": dt.date(2027, 1, 1)},
        {"choices_url": "https://teahouse.example/choices"},
        {"authority": "another authority"},
        {"controller": Controller(name="Teahouse Ltd", address="2 Leaf Street")},
        {"service": "The Teahouse"},
        {"names": True},
    ],
)
def test_the_frame_is_no_other_version(more):
    assert version(**more) == version()


@pytest.mark.parametrize(
    "more",
    [
        {"texts": {"basis.none": "Another sentence."}},
        {"regime": by_country({}.get, opt_out=("JP",))},
        {"controller": Controller(name="Coffeehouse Ltd", address="1 Leaf Street, Dublin 2, Ireland")},
        {"identity": per_subject({})},
        {"is_required": "the law asks for it; without it you cannot order"},
        {"automated_decisions": "prices"},
        {"legal_bases": {"analytics": "Article 6(1)(f).", "feature_flags": "Article 6(1)(a) GDPR."}},
        {"purposes": {**WHOLE["purposes"], "analytics": "for something else"}},
    ],
)
def test_what_it_means_is_another_version(more):
    assert version(**more) != version()


def test_other_countries_of_a_regime_are_another_version():
    japan, peru = (by_country({}.get, opt_out=(code,)) for code in ("JP", "PE"))
    assert version(regime=japan) != version(regime=peru)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (keep(reason="x"), keep(reason="y")),
        (keep(label="x"), keep(label="y")),
        (generalize(bucket=10), generalize(bucket=5)),
        (truncate(2), truncate(3)),
        (mask(2), mask(4)),
        (keep(one_of=["a"]), keep(one_of=["a", "b"])),
        (url(params=()), url(params=("a",))),
    ],
)
def test_another_rule_is_another_version(before, after):
    one, two = (FieldPolicy(events={"thing": action}) for action in (before, after))
    assert version(one) != version(two)


# compare


def changes(before, after, **more):
    one, two = (FieldPolicy(events={"thing": action}) for action in (before, after))
    compared = compare(notice(one, contact="x"), notice(two, **{"contact": "x", **more}))
    return {change.text: change.needs_consent for change in compared.changes}


@pytest.mark.parametrize(
    ("before", "after", "needs"),
    [
        (generalize(bucket=10), generalize(bucket=5), True),
        (generalize(bucket=10), generalize(bucket=20), False),
        (generalize(time="month"), generalize(time="day"), True),
        (generalize(time="month"), generalize(time="year"), False),
        (generalize(ip=True), generalize(ip=(32, 48)), True),
        (generalize(ip=True), generalize(ip=(16, 32)), False),
        (generalize(decimals=1), generalize(decimals=2), True),
        (generalize(bands=(1, 5, 9)), generalize(bands=(1, 9)), False),
        (generalize(bands=(1, 9)), generalize(bands=(1, 5, 9)), True),
        (generalize(bands=(1, 9)), generalize(bucket=9), True),
        (truncate(2), truncate(3), True),
        (truncate(3), truncate(2), False),
        (mask(2), mask(4), True),
        (keep(one_of=["a"]), keep(one_of=["a", "b"]), True),
        (keep(one_of=["a", "b"]), keep(one_of=["a"]), False),
        (keep(one_of=[1]), keep(one_of=[True]), True),
        (keep(type=int), keep(), True),
        (keep(), keep(type=int), False),
        (keep(match="a+"), keep(match="b+"), True),
        (url(params=("a",)), url(params=("a", "b")), True),
        (url(params=("a", "b")), url(params=("a",)), False),
        (url(path="ids"), url(), True),
        (url(), url(path="ids"), False),
        (url(), url(fragment=True), True),
        (redact("a"), redact("b"), False),
    ],
)
def test_more_of_a_value_needs_consent_anew_and_less_does_not(before, after, needs):
    found = changes(before, after)
    assert list(found.values()) == [needs]


def test_another_reason_or_recipient_is_another_purpose():
    assert changes(keep(reason="for receipts"), keep(reason="for advertising")) == {
        "analytics: events['thing'] is sent for another reason": True
    }
    assert changes(keep(), keep(), vendor="Other") == {"vendor: the name Mixpanel became Other": True}


def test_what_was_never_said_and_is_said_now_is_no_change_of_it():
    assert changes(keep(), keep(reason="for receipts")) == {
        "analytics: events['thing'] is sent for another reason": False
    }
    said = changes(
        keep(), keep(), vendor=Vendor(region="EU", role="processor"), controller=Controller(name="A", address="B")
    )
    assert not any(said.values())


@pytest.mark.parametrize(
    ("before", "after", "needs"),
    [
        ({"a": 30}, {"a": 30, "b": 1}, True),
        ({"a": 30}, {"a": 60}, True),
        ({"a": 30}, {"a": 10}, False),
        (True, {"a": 30}, False),
        (False, {"a": 30}, True),
        (None, True, True),
        ({"a": 30}, False, False),
    ],
)
def test_more_that_is_stored_on_devices_needs_consent(before, after, needs):
    one, two = (notice(POLICY, contact="x", vendor=Vendor(uses_cookies=each)) for each in (before, after))
    assert compare(one, two).needs_consent is needs


def test_a_country_more_where_silence_is_no_no_needs_consent():
    one, two = (
        notice(POLICY, contact="x", regime=by_country({}.get, opt_out=each)) for each in (("JP",), ("JP", "PE"))
    )
    assert [(change.text, change.needs_consent) for change in compare(one, two).changes] == [
        ("regime: silence is no no in PE now", True)
    ]
    assert not compare(two, one).needs_consent


def test_a_notice_of_before_is_compared_by_what_it_told():
    published = json.loads(notice(POLICY, contact="x").to_json())
    for name in ("format", "opt_out_countries", "texts", "controller_name"):
        del published["facts"][name]
    for item in published["facts"]["items"]:
        item.pop("label", None)
        item.pop("detail", None)
    for name in ("role", "transfer", "profiles_kept_until"):
        del published["facts"]["vendor"][name]
    assert compare(published, whole(publish=False, purposes={}, contact="x")).changes[0].text.startswith("vendor")
    assert compare(published, notice(POLICY, contact="x")).changes == ()


# Words in another language


def test_words_without_a_translation_are_warned_of_in_strict_mode(caplog):
    policy = FieldPolicy(events={"plan": keep(reason={"en": "to plan"}, label={"en": "your plan", "de": "Ihr Tarif"})})
    given = {
        "contact": "x",
        "purposes": {"analytics": "to improve", "feature_flags": {"de": "zum Testen"}},
        "strict": True,
    }
    with caplog.at_level(logging.WARNING, "consentpanel"):
        notice(policy, language="de", **given)
    (said,) = (record.getMessage() for record in caplog.records)
    assert "reason of events['plan']" in said
    assert "purposes['analytics']" in said
    assert "label of" not in said
    assert "feature_flags" not in said
    caplog.clear()
    with caplog.at_level(logging.WARNING, "consentpanel"):
        notice(policy, contact="x", language="de", purposes={"analytics": "zum Verbessern"})
        notice(
            FieldPolicy(events={"plan": keep(reason="a")}),
            language="de",
            written_in="de",
            **{**given, "purposes": {"analytics": "b"}},
        )
    assert not caplog.records


def test_a_name_that_means_many_things_needs_a_label(caplog):
    policy = FieldPolicy(
        events={"status": keep(reason="x"), "utm_source": keep(reason="x"), "frobnicated": keep(reason="x")}
    )
    with caplog.at_level(logging.WARNING, "consentpanel"):
        notice(policy, contact="x", purposes={"analytics": "y"}, strict=True)
    (said,) = (record.getMessage() for record in caplog.records)
    assert "events['status']" in said
    assert "events['frobnicated']" in said
    assert "utm_source" not in said


# What a client works with is known


def test_of_a_client_everything_is_known_that_it_works_with():
    mp = Mixpanel(
        "TOKEN",
        FakeTransport(),
        registry=MemoryRegistry(),
        policy=POLICY,
        identity=pseudonymous(SECRET),
        purposes={"Ad seen": "targeting"},
        privacy=PrivacyRequests("TOKEN", "OAUTH", identity=pseudonymous(SECRET)),
    )
    facts = notice(mp, contact="x").facts
    assert facts["identity"] == "pseudonymous"
    assert facts["regime"] == "opt_in"
    assert {each["purpose"] for each in facts["purposes"]} == {"analytics", "targeting"}
    assert notice(mp, contact="x", regime=Regime.OPT_OUT).facts["regime"] == "opt_out"


def test_the_region_of_a_client_is_where_it_sends():
    from consentpanel import Consumer

    mp = Mixpanel("TOKEN", Consumer(api_host="api-eu.mixpanel.com"), registry=MemoryRegistry(), policy=POLICY)
    assert notice(mp, contact="x").facts["vendor"]["region"] == "EU"


def test_neither_a_client_nor_a_policy_is_refused():
    with pytest.raises(ConfigurationError, match=r"notice\(\) takes a Mixpanel client or a FieldPolicy, not str"):
        notice("plan", contact="x")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"date": "2026-11-01"}, "date must be a datetime.date"),
        ({"date": dt.datetime(2026, 11, 1, tzinfo=dt.timezone.utc)}, "date must be a datetime.date"),
        ({"controller": "Teahouse"}, "controller must be a Controller"),
        ({"choices_url": ""}, "choices_url must be a URL"),
        ({"is_required": True}, "is_required must say in words"),
        ({"sells_or_shares": 1}, "sells_or_shares must be a non-empty str"),
        ({"automated_decisions": True}, "automated_decisions must say in words"),
        ({"authority": ""}, "authority must be a non-empty str"),
        ({"legal_bases": {"analytics": ""}}, "legal_bases"),
    ],
)
def test_wrong_arguments_are_refused(more, message):
    with pytest.raises(ConfigurationError, match=message):
        whole(**more)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("role", "friend"),
        ("transfer", True),
        ("uses_cookies", {}),
        ("uses_cookies", {"a": -1}),
        ("uses_cookies", "a"),
        ("profiles_kept_until", ""),
        ("targets_behaviour", "no"),
    ],
)
def test_a_vendor_is_checked(field, value):
    with pytest.raises(ConfigurationError, match=field):
        Vendor(**{field: value})


def test_a_controller_and_a_transfer_are_checked():
    with pytest.raises(ConfigurationError, match="name must be"):
        Controller(name=" ", address="x")
    with pytest.raises(ConfigurationError, match="countries"):
        Transfer(countries="US", safeguard="x", link="y")
    with pytest.raises(ConfigurationError, match="countries"):
        Transfer(countries=(), safeguard="x", link="y")


# What has changed, as a visitor is told it


@pytest.mark.parametrize(
    ("language", "told"),
    [
        (
            "en",
            {
                "now also sent: the voucher code you used",
                "another reason for sending: your tea",
                "another recipient: Other",
            },
        ),
        (
            "de",
            {
                "jetzt auch gesendet: der Gutscheincode, den Sie eingelöst haben",
                "ein anderer Grund für das Senden: Ihr Tee",
            },
        ),
    ],
)
def test_what_needs_consent_anew_is_told_in_words(language, told):
    # rule 12.1
    label = {"en": "your tea", "de": "Ihr Tee"}
    before = FieldPolicy(events={"tea": keep(label=label, reason="to order")})
    after = FieldPolicy(events={"tea": keep(label=label, reason="to advertise"), "coupon": keep()})
    new = notice(after, contact="x", language=language, vendor="Other")
    found = compare(notice(before, contact="x"), new).in_words(new)
    assert told <= set(found)
    assert not any("['" in each or re.search(r"{\w+}", each) for each in found)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_change_that_needs_consent_has_words(language):
    before = notice(
        POLICY, contact="x", identity=per_subject({}), vendor=Vendor(region="EU", retention_days=30, role="processor")
    )
    policy = FieldPolicy(events={"product": keep(deep=True), "card": mask()}, people={"plan": keep()})
    for vendor in (Vendor(region="US", retention_days=90, role="controller"), Vendor()):
        new = notice(policy, contact="x", regime=Regime.OPT_OUT, vendor=vendor, language=language, hold_for=60)
        found = compare(before, new).in_words(new)
        assert len(found) > 5
        assert not any(re.search(r"{\w+}", each) for each in found)


# rule 12.5, in set-ups of other kinds


def test_what_lies_outside_of_the_union_needs_a_safeguard():
    import attrs

    for transfer, fits in ((False, False), (VENDOR.transfer, True)):
        vendor = attrs.evolve(VENDOR, region="US", transfer=transfer)
        if fits:
            text = whole(vendor=vendor).to_markdown()
            assert "That it is kept there is covered by standard clauses" in text
            assert "accessed from" not in text
        else:
            with pytest.raises(ConfigurationError, match="transfer=Transfer"):
                whole(vendor=vendor)


def test_a_purpose_of_your_own_needs_a_title():
    policy = FieldPolicy(events={"plan": keep(label="x", purpose="newsletter")})
    more = {"purposes": {**WHOLE["purposes"], "newsletter": "to write to you"}}
    more["legal_bases"] = {**WHOLE["legal_bases"], "newsletter": "Consent."}
    with pytest.raises(ConfigurationError, match=r"texts\['purpose.newsletter'\]"):
        whole(policy, **more)
    page = whole(policy, texts={"purpose.newsletter": "Our newsletter"}, **more)
    assert [use.title for use in page.uses if use.purpose == "newsletter"] == ["Our newsletter"]
    assert "Our newsletter" in page.to_markdown()


@pytest.mark.parametrize("regime", [Regime.OPT_OUT, by_country({}.get), lambda _: Regime.OPT_IN])
def test_the_right_to_object_stands_apart_and_first(regime):
    page = notice(POLICY, contact="x", regime=regime)
    assert page.sections[1].heading == "Your right to object"
    assert [section.heading for section in notice(POLICY, contact="x").sections].count("Your right to object") == 0


def test_of_a_browser_that_sends_by_itself_no_address_is_denied():
    import attrs

    text = whole(vendor=attrs.evolve(VENDOR, in_browser=True)).to_markdown()
    assert "Your browser also sends data to Mixpanel directly" in text
    assert "We do not send your IP address" not in text


def test_everybody_who_is_responsible_is_named():
    who = Controller(
        name="A",
        address="B",
        representative="Rep GmbH, Berlin",
        data_protection_officer="dpo@x.example",
        person_in_charge="C. D., director",
    )
    text = whole(controller=who).to_markdown()
    assert "Representative: Rep GmbH, Berlin" in text
    assert "personal information: C. D., director" in text
    assert not re.search(r"{\w+}", text)


@pytest.mark.parametrize(
    ("name", "more", "sensitive"),
    [
        ("religion", {}, True),
        ("ethnic_origin", {}, True),
        ("tradeUnionMembership", {"categories": ["user.demographic.profile"]}, True),
        ("genome", {}, True),
        ("thing", {"categories": ["user.health_and_medical.genetic"]}, True),
        ("thing", {"categories": ["user.biometric"]}, True),
        ("race", {"categories": ["user.behavior"]}, False),
        ("plan", {}, False),
    ],
)
def test_sensitive_data_is_known_by_kind_and_by_name(name, more, sensitive):
    page = notice(
        FieldPolicy(events={name: keep(label="x", **more, **({} if more else {"personal": True}))}), contact="x"
    )
    assert (page.uses[0].sensitive is not None) is sensitive


def test_under_opt_out_nobody_is_told_that_sensitive_data_needs_a_yes():
    policy = FieldPolicy(events={"religion": keep(label="your faith", personal=True)})
    said = notice(policy, contact="x", regime=Regime.OPT_OUT).uses[0].sensitive
    assert said == "This includes sensitive data: your faith."
    for regime in (Regime.OPT_OUT, by_country({}.get), lambda _: Regime.OPT_IN):
        with pytest.raises(ConfigurationError, match="needs consent"):
            whole(policy, regime=regime, sells_or_shares=False)


def test_the_order_of_the_code_is_no_other_version():
    one = FieldPolicy(events={"a": keep(), "b": keep()})
    two = FieldPolicy(events={"b": keep(), "a": keep()})
    whys = {"analytics": "x", "profiles": "y"}
    assert (
        notice(one, contact="x", purposes=whys).version
        == notice(two, contact="x", purposes=dict(reversed(whys.items()))).version
    )


def test_the_version_goes_by_the_language_that_is_written_in():
    one = FieldPolicy(events={"a": keep(reason={"en": "why", "de": "warum"})})
    two = FieldPolicy(events={"a": keep(reason={"de": "warum", "en": "why"})})
    assert version(one) == version(two)
    assert version(one, written_in="de") != version(one)


def test_a_client_without_flags_tells_of_none():
    mp = Mixpanel("TOKEN", FakeTransport(), registry=MemoryRegistry(), policy=POLICY)
    assert "version of a feature" not in notice(mp, contact="x").to_markdown()
    assert "version of a feature" in notice(POLICY, contact="x").to_markdown()
    assert "version of a feature" not in notice(POLICY, contact="x", uses_flags=False).to_markdown()


def test_a_kind_that_is_sensitive_now_needs_consent():
    assert changes(keep(), keep(categories=["user.health_and_medical"])) == {
        "analytics: events['thing'] is called otherwise": True
    }
    assert changes(keep(), keep(categories=["user.behavior"])) == {
        "analytics: events['thing'] is called otherwise": False
    }
