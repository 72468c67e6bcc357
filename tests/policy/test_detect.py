"""Personal data is found in whatever form it is written (contract rule 3.7)."""

import json
import re
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentpanel.errors import ConfigurationError
from consentpanel.policy import KINDS, Detector, FieldPolicy, Finding, detect, generalize, keep
from consentpanel.policy._detect.detection import Detection

ADA = "ada@shop.example"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PERSONAL = [
    ("email", ADA),
    ("email", "ada.lovelace+news@mail.shop.example"),
    ("email", "o'brian@shop.example"),
    ("email", '"ada lovelace"@shop.example'),
    ("email", "ada@münchen.example"),
    ("email", "ада@почта.рф"),
    ("email", "ada@xn--mnchen-3ya.xn--p1ai"),
    ("email", "ada@उदाहरण.भारत"),
    ("phone", "+49 30 1234567"),
    ("phone", "+4930123456"),
    ("phone", "+49(0)30 123456"),
    ("phone", "+1-555-555-5555x123"),
    ("phone", "001-555-555-5555"),
    ("phone", "(555) 123-4567"),
    ("phone", "(555)123-4567"),
    ("phone", "555.123.4567"),
    ("phone", "030 1234567"),
    ("phone", "(01234) 56789"),
    ("phone", "06 12 34 56 78"),
    ("phone", "06.12.34.56.78"),
    ("phone", "0123-456 78 90"),
    ("phone", "090-1234-5678"),
    ("phone", "123 456 789"),
    ("phone", "11 91234-5678"),
    ("phone", "8 (912) 345-67-89"),
    ("payment_card", "4111111111111111"),
    ("payment_card", "4111 1111 1111 1111"),
    ("payment_card", "5500-0000-0000-0004"),
    ("payment_card", "3782 822463 10005"),
    ("payment_card", "378282246310005"),
    ("payment_card", "30569309025904"),
    ("payment_card", "6011111111111117"),
    ("payment_card", "3530111333300000"),
    ("payment_card", "2223003122003222"),
    ("iban", "DE89370400440532013000"),
    ("iban", "GB29 NWBK 6016 1331 9268 19"),
    ("iban", "fr1420041010050500013m02606"),
    ("iban", "NO93 8601 1117 947"),
    ("ip_address", "203.0.113.7"),
    ("ip_address", "2001:db8::8a2e:370:7334"),
    ("ip_address", "2001:0db8:85a3:0000:0000:8a2e:0370:7334"),
    ("ip_address", "::ffff:192.0.2.1"),
    ("ip_address", "fe80::1"),
    ("us_ssn", "123-45-6789"),
    ("us_ssn", "123 45 6789"),
    ("us_ssn", "899.12.3456"),
    ("secret", JWT),
    ("secret", "Bearer 4f9a8b7c6d5e4f3a2b1c"),
    ("secret", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"),
    ("secret", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
    ("secret", "AKIAIOSFODNN7EXAMPLE"),
    ("secret", "xoxb-123456789012-abcdefGHIJKL"),
    ("secret", "AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe"),
    ("secret", "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"),
    ("secret", "-----BEGIN PGP PRIVATE KEY BLOCK-----\nMIIEow\n-----END PGP PRIVATE KEY BLOCK-----"),
    ("secret", "api_key: 0123456789abcdef0123"),
    ("url_parameter", "https://shop.example/?page=2&email=unknown"),
    ("url_parameter", "/find?user[name]=Ada"),
    ("url_parameter", "/cb#access_token=abc"),
    ("url_parameter", "/a;jsessionid=0f3d"),
]
HARMLESS = (
    """
pro|Signed up|a@b|user@|@ada.lovelace|icon@2x.png|react@18.2.0|@scope/package|1.2.3|102.0.4051.143|v1.2.3.4
version 1.2.3.4|Chrome/1.2.3.4|10.0.19041.1|256.1.1.1|1.2.3.4.5|04.12.2024.1123|10:20:30|std::cout|std::vector::iterator|add::face|::|1:2
2026-05-01|2026-05-01T10:00:00+02:00|2026-05-01 10:00:00.123456|01.02.2026|01/02/2026 10:30|20260501103000
09:00-17:30|0900-1730|2020-2026|2026-05-01/2026-06-01|1714557600|1714557600000|1764000000000|4711|0612345678
ORD-2026-000123|112-3456789-1234567|100123456-1|978-3-16-148410-0|490154203237518|35-209900-176148-1|AB-1234-567
1,234.56|1 234,56|$1,234,567.00|1'234'567.00|52.520008, 13.404954|-122.419416,37.774929|0.4111111111111111
1920x1080|10 x 20 x 30|16:9|3f2504e0-4f89-11d3-9a0c-0305e82c3301|d41d8cd98f00b204e9800998ecf8427e|00:1b:44:11:3a:b7
utm_source=news&utm_medium=email|/products/shoes?page=2&sort=name|color=red|com.example.app.Main|20% off|100%|50%25
000-12-3456|666-12-3456|900-12-3456|123-00-4567|123-45-0000|123-45.6789|4111111111111112|1234567812345678|0000000000000000
DE89370400440532013001|AA89370400440532013000|password: required|bearer of news|the secret=no|std::chrono::seconds
Mozilla/5.0 (X11; Linux x86_64; rv:1.9.2.20) Gecko/20100101 Firefox/3.6.1
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


@pytest.mark.parametrize(("kind", "text"), PERSONAL)
def test_personal_data_is_found_alone_in_a_sentence_and_in_a_url(kind, text):
    assert [finding.kind for finding in detect(text)] == [kind]
    assert kind in {finding.kind for finding in detect(f"please note {text}, thanks")}
    for encoded in (quote(text, safe=""), quote(quote(text, safe=""), safe="")):
        assert kind in {finding.kind for finding in detect(f"https://shop.example/s?q={encoded}&page=2")}


@pytest.mark.parametrize(("kind", "text"), [each for each in PERSONAL if each[0] != "url_parameter"])
def test_the_place_is_the_one_in_the_text(kind, text):
    before, after = "note: ", " (today)"
    (found,) = [each for each in detect(before + text + after) if each.kind == kind]
    assert (before + text + after)[found.start : found.end] == text


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_personal_is_not_found(text):
    assert detect(text) == []


@pytest.mark.parametrize(("kind", "text"), PERSONAL)
def test_text_is_seen_through_what_hides_it(kind, text):
    wide = "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in text)
    split = "\u200b".join(text[:6]) + "\u00ad" + text[6:]
    structure = json.dumps({"a": [text]}, ensure_ascii=True).replace("@", "\\u0040")
    for hidden in (wide, split, structure):
        assert kind in {finding.kind for finding in detect(hidden)}, hidden.encode("unicode_escape")


def test_any_decimal_digit_is_a_digit():
    # rule 3.7: Arabic-Indic, Devanagari and full-width digits
    for zero in "\u0660\u0966\uff10":
        text = re.sub("[0-9]", lambda digit, zero=zero: chr(ord(zero) + int(digit[0])), "call +49 30 1234567 now")
        assert detect(text) == [Finding("phone", 5, 19)]


def test_the_place_is_told_in_the_original_text_when_characters_are_hidden_in_it():
    text = "x ad\u200ba@sh\u00adop.example y"
    assert detect(text) == [Finding("email", 2, len(text) - 2)]


def test_what_is_seen_only_after_decoding_is_the_whole_text():
    text = "/s?q=ada%40shop.example"
    assert detect(text) == [Finding("email", 0, len(text))]


def test_a_text_that_goes_on_changing_after_three_rounds_is_a_finding_of_its_own():
    text = quote(quote(quote(quote("a b"))))
    assert detect(text) == [Finding("encoded", 0, len(text))]
    assert detect(quote(quote(quote("a b")))) == []


@pytest.mark.parametrize("text", ["%", "%%%", "%zz", "100%", "%4", "%E0%A4%A", "%ff%fe", "\ud800%41", "a%"])
def test_broken_escapes_are_kept_and_never_raise(text):
    assert detect(text) == []


@pytest.mark.parametrize(
    "text", ["\u00b2" * 16, "\u2460" * 16, "4111\u00b2111111111111", "\u0663\u00b2" * 8, "\U0001f51f" * 16]
)
def test_digits_that_are_no_decimal_digits_do_no_harm(text):
    assert isinstance(detect(text), list)


def test_a_text_inside_a_structure_may_be_encoded_too_often_as_well():
    text = json.dumps({"a": quote(quote(quote(quote("a b"))))})
    assert detect(text) == [Finding("encoded", 0, len(text))]


def test_overlapping_places_are_one_of_the_longest_one_s_kind():
    # rule 3.7
    text = f"https://shop.example/?email={ADA}&page=2"
    assert detect(text) == [Finding("url_parameter", 22, 22 + len(f"email={ADA}"))]


def test_a_query_alone_begins_with_its_first_parameter():
    assert detect("first_name=Ada&page=2") == [Finding("url_parameter", 0, 14)]
    assert detect("first_name=Ada") == detect("page=2&sort=name") == []


def test_what_is_hidden_is_found_beside_what_is_not():
    assert [each.kind for each in detect(f"{ADA} and DE89%2037040044%200532013000")] == ["iban"]
    assert [each.kind for each in detect(f"{ADA} 100%25")] == ["email"]


def test_a_finding_says_where_and_not_what():
    assert ADA not in repr(detect(ADA)) + repr(Detection().judge(ADA))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"{ADA} 100%25", Finding("email", 0, 16)),
        (f'["{ADA}"]', Finding("email", 2, 18)),
        ("/a?page=1&email=ada%40shop.example&b=c", Finding("url_parameter", 10, 34)),
        ("/a?email=ada%40shop.example%26x=1", Finding("url_parameter", 3, 33)),
        (f'["/a?email={ADA}"]', Finding("url_parameter", 5, 27)),
        (f"caf\u00e9\u00ad {ADA}", Finding("email", 6, 22)),
    ],
)
def test_what_is_redacted_in_its_place_is_not_found_once_more_in_another_form(text, place):
    assert detect(text) == [place]


def test_a_text_in_a_structure_is_encoded_too_often_though_the_structure_is_not():
    structure = '["\\u002525252541"]'
    assert detect(structure) == [Finding("encoded", 0, len(structure))]


@pytest.mark.parametrize("text", [None, 5, b"ada@shop.example"])
def test_only_text_can_be_searched(text):
    with pytest.raises(TypeError, match="text must be a str"):
        detect(text)


PIECES = st.one_of(
    st.sampled_from([text for _, text in PERSONAL]), st.text(max_size=12), st.sampled_from(HARMLESS), st.just("%40")
)
texts = st.lists(PIECES, max_size=4).map(" ".join)


@given(texts)
def test_places_are_inside_the_text_in_order_and_apart(text):
    found = detect(text)
    ends = [0, *(each.end for each in found)]
    assert all(end <= each.start < each.end <= len(text) for end, each in zip(ends, found, strict=False))
    assert all(each.kind in {*KINDS, "encoded"} for each in found)


@given(texts)
def test_what_redaction_leaves_never_detects_again(text):
    # rule 3.7
    kept = FieldPolicy(events={"p": keep()}).apply_event("E", {"p": text}).properties["p"]
    assert detect(kept) == []
    assert FieldPolicy(events={"p": keep()}).apply_event("E", {"p": kept}).properties["p"] == kept


@given(st.lists(texts, max_size=5))
def test_texts_that_are_clean_together_are_clean_one_by_one(values):
    if Detection().are_clean(values):
        assert [detect(value) for value in values] == [[] for _ in values]


@given(st.sampled_from(PERSONAL), st.text(max_size=6), st.text(max_size=6))
def test_text_around_it_hides_nothing(personal, before, after):
    kind, text = personal
    if kind not in {"iban", "phone", "us_ssn", "payment_card", "ip_address", "url_parameter", "secret"}:
        around = unicodedata.normalize("NFKC", f"{before} {text} {after}")
        assert kind in {finding.kind for finding in detect(around)}


SLOW = (
    "a@",
    "4",
    "4 ",
    ":",
    ".",
    "1.",
    "%",
    "%25",
    "[",
    '{"a":',
    "DE89 ",
    "eyJaaaaaaaa.",
    "+1 ",
    "01 ",
    "(01) ",
    "\u200b",
)


@pytest.mark.parametrize("piece", SLOW)
def test_no_text_is_slow(piece):
    # rule 3.8: a search that is not linear would not end within the test run's patience
    assert isinstance(detect(piece * (1_000_000 // len(piece))), list)


def found(text, **options):
    return [each.kind for each in Detection(**options).find(text)]


def test_kinds_are_chosen_or_left_out():
    text = f"{ADA} +49 30 1234567"
    assert found(text) == ["email", "phone"]
    assert found(text, detectors=["phone"]) == ["phone"]
    assert found(text, detectors=["-phone"]) == ["email"]
    assert found(text, detectors=[]) == []


def test_a_detector_of_one_s_own_is_added_or_takes_the_place_of_a_kind():
    member = Detector("member", re.compile("M-[0-9]{6}"))
    phone = Detector("phone", lambda text: [(0, 3)] if text.startswith("tel") else [])
    assert found(f"M-123456 {ADA}", detectors=[member]) == ["member", "email"]
    assert found(f"M-123456 {ADA}", detectors=[member, "-email"]) == ["member"]
    assert found("+49 30 1234567", detectors=[phone]) == []
    assert found("tel. unknown", detectors=[phone]) == ["phone"]
    assert found("M%2D123456", detectors=[member]) == ["member"]
    assert found('["M\\u002d123456"]', detectors=[member]) == ["member"]


@pytest.mark.parametrize(
    "find",
    [
        lambda text: [(0, len(text) + 1)],
        lambda text: [(-1, 2)],
        lambda text: [(2, 2)],
        lambda text: [("0", 1)],
        lambda text: [5],
        lambda text: 1 / 0,
        lambda text: None,
    ],
    ids=["beyond", "before", "empty", "text", "number", "raises", "nothing"],
)
def test_a_detector_that_fails_drops_the_property(find):
    # rule 3.7
    policy = FieldPolicy(events={"p": keep(), "q": keep(detect=["email"])}, detectors=[Detector("mine", find)])
    result = policy.apply_event("E", {"p": "some text", "q": "x"})
    assert (result.properties, result.dropped) == ({"q": "x"}, {"p": "detector_failed"})


def test_a_pattern_that_matches_nothing_somewhere_finds_nothing_there():
    # rule 3.7
    assert Detection([Detector("vowels", re.compile("[ae]*"))]).find("baab") == [Finding("vowels", 1, 3)]


def test_places_side_by_side_are_two_and_of_equal_ones_the_first_detector_s_is_told():
    one, two = Detector("one", re.compile("aa")), Detector("two", re.compile("bb|aa"))
    assert Detection([one, two]).find("aabb") == [Finding("one", 0, 2), Finding("two", 2, 4)]
    assert found(ADA, detectors=[Detector("member", re.compile(re.escape(ADA)))]) == ["member"]


def test_what_is_not_looked_for_or_exempt_is_so_in_a_structure_too():
    structure = '["ada\\u0040shop.example", "M\\u002d123456"]'
    member = Detector("member", re.compile("M-[0-9]{6}"))
    assert found(structure, detectors=[member]) in (["email"], ["member"])
    assert found(structure, detectors=["phone"]) == []
    assert found(structure, allow=[ADA]) == found(structure, allow=["*@shop.example"]) == []
    assert found(structure, detectors=[member, "-email"], allow=["M-123456"]) == []
    assert found("M-123456", detectors=[member], allow=["M-123456"]) == []


def test_the_place_of_an_own_detector_in_a_structure_is_its_own():
    member = Detector("member", re.compile("M-[0-9]{6}"))
    assert Detection([member]).find('["M-123456"]') == [Finding("member", 2, 10)]


def test_what_redaction_would_leave_to_be_found_again_is_redacted_whole():
    # rule 3.7
    odd = Detector("odd", re.compile(r"x \["))
    hit = Detection([odd, "email"]).judge(f"x {ADA}")
    assert hit is not None
    assert (hit.kind, hit.text) == ("email", "[redacted]")


def test_what_takes_the_place_of_a_kind_may_find_anything():
    email = Detector("email", re.compile("mail"))
    assert found("a mail", detectors=[email], allow=["*@shop.example"]) == ["email"]


@pytest.mark.parametrize("detectors", [[], ["email"], ["-ip_address"]])
def test_a_rule_may_leave_out_what_the_policy_does_not_look_for(detectors):
    policy = FieldPolicy(events={"ip": generalize(ip=True), "q": keep(detect=["-phone"])}, detectors=detectors)
    assert policy.apply_event("E", {"ip": "203.0.113.7", "q": "+49 30 1234567"}).properties == {
        "ip": "203.0.113.0",
        "q": "+49 30 1234567",
    }


def test_exact_texts_and_a_domain_s_addresses_can_be_exempt():
    allow = ["support@other.example", "*@shop.example", "203.0.113.7"]
    for text in ("ada@shop.example", "ADA@SHOP.EXAMPLE", "support@other.example", "from 203.0.113.7"):
        assert found(f"mail {text}", allow=allow) == []
    assert found("mail ada@shop.example", allow=["x@shop.example"]) == ["email"]
    for text in ("ada@shop.example.evil.example", "ada@sub.shop.example", "xsupport@other.example", "203.0.113.77"):
        assert found(f"mail {text}", allow=allow) != []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detectors": ["mail"]}, "detectors are named by their kinds"),
        ({"detectors": "email"}, "detectors must be several values"),
        ({"detectors": [5]}, "detectors are named by their kinds"),
        ({"detectors": {"event": []}}, "by scope are named by"),
        ({"on_detect": "hide"}, "on_detect must be"),
        ({"on_detect": {"mail": "drop"}}, "on_detect names no kind 'mail'"),
        ({"on_detect": {"email": "hide"}}, "on_detect must be"),
        ({"detect_allow": "a@b.example"}, "detect_allow must be several values"),
        ({"detect_allow": [5]}, "detect_allow must hold"),
        ({"events": {"p": keep(detect=["mail"])}}, "detectors are named by their kinds"),
        ({"events": {"p": keep(on_detect="hide")}}, "on_detect must be"),
    ],
)
def test_wrong_settings_are_refused_at_once(options, message):
    with pytest.raises(ConfigurationError, match=message):
        FieldPolicy(**options)


@pytest.mark.parametrize(
    ("name", "find", "message"),
    [
        ("My kind", re.compile("x"), "a detector's name must be a word"),
        ("encoded", re.compile("x"), "a detector's name must be a word"),
        ("mine", re.compile(b"x"), "find must be a pattern for str"),
        ("mine", "x", "find must be a compiled pattern or a callable"),
    ],
)
def test_a_detector_is_checked(name, find, message):
    with pytest.raises(ConfigurationError, match=message):
        Detector(name, find)
