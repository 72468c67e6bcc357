"""What hides a text: other digits, invisible characters, escapes, structures (contract rule 3.7)."""

import html
import itertools
import json
import re
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentpanel.policy import Detector, FieldPolicy, Finding, detect, keep

# The domain is broken by a character that nobody sees, so that the text itself shows no address.
HIDDEN = "ada@sh\u200bop.example"


@pytest.mark.parametrize(
    ("before", "address", "after"),
    [
        ("", HIDDEN, ""),
        ("to ", HIDDEN, "!"),
        ("caf\u00e9 and cafe\u0301: ", HIDDEN, " - cafe\u0301"),
        ("\ufb01ve \u2460\u3000", HIDDEN, ".\u200b"),
        ("to ", f"jose\u0301.{HIDDEN}", "!"),
        ("to ", f"{HIDDEN}\u00ads", "!"),
    ],
)
def test_what_is_seen_only_without_invisible_characters_has_its_place_in_the_text(before, address, after):
    assert detect(before + address + after) == [Finding("email", len(before), len(before + address))]


@pytest.mark.parametrize("dot", ["\u3002", "\uff0e", "\uff61", "\ufe52"])
def test_every_full_stop_that_a_resolver_takes_for_a_dot_is_one(dot):
    # RFC 3490, section 3.1
    assert detect(f"to ada@shop{dot}example!") == [Finding("email", 3, 19)]


def test_a_place_that_cannot_be_told_is_the_whole_text():
    # Two letters of the Korean alphabet that become one syllable.
    text = f"\u1112\u1161 {HIDDEN}!"
    assert detect(text) == [Finding("email", 0, len(text))]


def test_a_plus_of_a_query_is_a_space_in_one_of_the_forms():
    text = "/s%3Fq=030+1234567"
    assert detect(text) == [Finding("phone", 0, len(text))]


PERSONAL = [
    ("email", "ada.lovelace+news@shop.example"),
    ("phone", "+44 20 7946 0958"),
    ("phone", "(555) 123-4567"),
    ("phone", "030 1234567"),
    ("payment_card", "4111 1111 1111 1111"),
    ("payment_card", "4111111111111111"),
    ("iban", "GB29 NWBK 6016 1331 9268 19"),
    ("us_ssn", "123-45-6789"),
    ("ip_address", "203.0.113.7"),
    ("ip_address", "2001:db8::8a2e:370:7334"),
    ("secret", "Bearer 4f9a8b7c6d5e4f3a2b1c"),
]


def escaped(text, pattern, write):
    return re.sub(pattern, lambda found: write(ord(found[0])), text)


HIDDEN_IN = {
    "percent": lambda text: quote(text, safe=""),
    "all of it in percent": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "form": lambda text: "/s?" + urlencode({"page": 2, "q": text}),
    "form alone": lambda text: urlencode({"q": text, "page": 2}),
    "decimal": lambda text: escaped(text, r"\W", "&#{:03};".format),
    "decimal without its end": lambda text: escaped(text, r"\W(?!\d)", "&#{}".format),
    "hexadecimal": lambda text: escaped(text, r"\W", "&#x{:x};".format),
    "capital hexadecimal": lambda text: escaped(text, "[^ ]", "&#X{:04X};".format),
    "JSON escapes": lambda text: escaped(text, r"[^\w ]", "\\u{:04x}".format),
    "JSON": lambda text: json.dumps({"a": [1, {"b": text}]}).replace("@", "\\u0040"),
    "NDJSON": lambda text: json.dumps({"x": 1}) + "\n" + json.dumps({"a": text}).replace(" ", "\\u0020"),
    "full width": lambda text: "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in text),
    "invisible": "\u200b".join,
}


@pytest.mark.parametrize(
    "ways", [*((way,) for way in HIDDEN_IN), *itertools.product(HIDDEN_IN, repeat=2)], ids="+".join
)
def test_each_form_and_each_mixture_of_two_is_judged(ways):
    # rule 3.7
    policy = FieldPolicy(events={"p": keep()})
    for _, text in PERSONAL:
        hidden = text
        for way in ways:
            hidden = HIDDEN_IN[way](hidden)
        assert detect(hidden), ascii(hidden)
        left = policy.apply_event("E", {"p": hidden}).properties["p"]
        assert detect(left) == [], ascii(hidden)


@given(st.sampled_from(PERSONAL), st.sampled_from(sorted(HIDDEN_IN)), st.text(max_size=6), st.text(max_size=6))
def test_what_redaction_leaves_of_any_form_never_detects_again(personal, way, before, after):
    # rule 3.7
    text = f"{before} {HIDDEN_IN[way](personal[1])} {after}"
    kept = FieldPolicy(events={"p": keep()}).apply_event("E", {"p": text}).properties["p"]
    assert detect(kept) == []


@pytest.mark.parametrize(
    "text",
    [
        *(
            "?q=4111+1111+1111+1111",
            "?q=%2B44+20+7946+0958",
            "q=030+1234567",
            "/find?030+1234567",
            "see https://shop.example/?q=030+1234567 there",
        ),
        *(
            "a=1&q=%2B44+%2820%29+7946+0958",
            "to=%2Fs%3Fq%3D%252B44%2B20%2B7946%2B0958",
            "?d=%7B%22t%22:%22%5Cu002b44+20+7946+0958%22}",
        ),
        *("&lt;a href=&quot;?a=1&amp;amp;q=4111+1111+1111+1111&quot;&gt;", "/s%3Fq=030+1234567", "q%3D030%2B1234567"),
    ],
)
def test_a_plus_in_what_has_the_shape_of_a_query_is_a_space(text):
    # rule 3.7
    assert [(each.start, each.end) for each in detect(text)] == [(0, len(text))]


@pytest.mark.parametrize("text", ["030+1234567", "4111+1111+1111+1111", "4111+1111+1111+1111=?", "x = 1 + 2"])
def test_a_plus_elsewhere_is_a_plus(text):
    assert detect(text) == []


@pytest.mark.parametrize(
    "text",
    [
        *(
            "ada&#64;shop.example",
            "ada&#064;shop.example",
            "ada&#x40;shop.example",
            "ada&#X40;shop.example",
            "ada&#64shop.example",
        ),
        *(
            "ada&commat;shop&period;example",
            "ada&amp;#64;shop.example",
            "ada%26%2364%3Bshop.example",
            "ada&#37;40shop.example",
        ),
        *(
            "ada\\u0040shop.example",
            "ada\\\\u0040shop.example",
            "ada&#92;u0040shop.example",
        ),
        *(
            "\\ud835\\udfd2111111111111111",
            "order\\n4111111111111111",
            "4111&nbsp;1111&nbsp;1111&nbsp;1111",
            "ada%EF%BC%85%34%30shop.example",
        ),
    ],
)
def test_escapes_of_html_and_json_are_read(text):
    # rule 3.7
    assert [(each.start, each.end) for each in detect(text)] == [(0, len(text))]


@pytest.mark.parametrize("layers", range(8))
@pytest.mark.parametrize(
    ("text", "wrap"),
    [
        ("ada\\u0040shop.example", lambda text: json.dumps(text)[1:-1]),
        ("ada&#64;shop.example", html.escape),
        ("ada%40shop.example", quote),
    ],
)
def test_layers_of_escapes_are_read_or_told_as_encoded(text, wrap, layers):
    # rule 3.7
    for _ in range(layers):
        text = wrap(text)
    kinds = [each.kind for each in detect(text)]
    assert kinds == (["email"] if layers < 3 else ["encoded"])


@pytest.mark.parametrize(
    "text",
    [
        *(
            "Q&A; R&D",
            "a=1&copy=2&region=x",
            "&#;",
            "&#x;",
            "&#99999999;",
            "&nosuchname;",
            f"&#{'0' * 5000};",
            f"&#{'9' * 5000};",
        ),
        *("C:\\Users\\new\\table", "\\u12", "\\", "\\ud835", "\\udfd2\\ud835", "AT&amp;T"),
    ],
)
def test_broken_and_harmless_escapes_do_no_harm(text):
    assert detect(text) == []


@pytest.mark.parametrize(
    "text",
    [
        *(
            '{"password": "x"}',
            '{"userApiKey": null}',
            '[1, {"a": {"X-CSRF-Token": []}}]',
            ' {"session_id" : 5}',
            '{"pass\\u0077ord": 1}',
        ),
        *(
            '{"a": 1}\n{"token": 2}\n',
            '1\n{"token": 2}',
            quote('{"otp": 1}'),
            "?data=" + quote('{"cvv": 1}'),
            "{&quot;ssn&quot;: 1}",
        ),
        *(
            json.dumps([json.dumps({"iban": 1})]),
            '{"a": 1, "secret": "cut off',
            f'{{"n": {"1" * 5000}, "jwt": 1}}',
            '{"cookie":1,"cookie":2}',
        ),
    ],
)
def test_a_sensitive_name_in_a_structure_is_a_secret_and_takes_the_whole_text(text):
    # rules 3.7, 3.11
    assert detect(text) == [Finding("secret", 0, len(text))]
    assert FieldPolicy(events={"p": keep()}).apply_event("E", {"p": text}).properties == {"p": "[redacted]"}


@pytest.mark.parametrize(
    "text",
    ['{"author": 1, "secretary": 2, "is_authenticated": true}', '{"a": "token"}', '["password", "secret"]', "token: x"],
)
def test_another_name_in_a_structure_or_such_a_word_elsewhere_is_none(text):
    # rule 3.11
    assert detect(text) == []


def test_a_sensitive_name_is_a_secret_only_where_secrets_are_looked_for():
    text = '{"password": "x"}'
    for detectors in (["-secret"], ["email"], [Detector("secret", re.compile("never"))]):
        policy = FieldPolicy(events={"p": keep()}, detectors=detectors)
        assert policy.apply_event("E", {"p": text}).properties == {"p": text}


@pytest.mark.parametrize(
    "structure",
    [
        *(
            '1\n["x"]\n[4.111111111111111e15]',
            '{"a": 4.111111111111111e15, "a": 1}',
            f"[{'1' * 5000}, 4.111111111111111e15]",
        ),
        *(
            'not JSON\n {"a": 4.111111111111111e15}',
            '{"a": 1} broken\n[4.111111111111111e15]\r\n',
            "[NaN, 4.111111111111111e15]",
        ),
    ],
)
def test_every_line_that_is_a_structure_is_one_and_every_value_in_it_counts(structure):
    # rule 3.7: NDJSON
    assert detect(structure) == [Finding("payment_card", 0, len(structure))]


@pytest.mark.parametrize("count", [30, 31, 100])
def test_marks_without_end_hide_nothing(count):
    # UAX 15, section 13
    text = "x" + "\u0300\u0316" * count + f" to {HIDDEN}"
    assert [each.kind for each in detect(text)] == ["email"]


@pytest.mark.parametrize("text", ["100%", "%", "50% off", "%zz", "a%2", "%%%"])
def test_a_percent_sign_alone_is_no_escape(text):
    assert detect(text) == []


@pytest.mark.parametrize(
    "structure",
    [
        '{"ada\\u0040shop.example": 1}',
        '{"a": {"b": ["ada\\u0040shop.example"]}}',
        ' [true, null, "ada\\u0040shop.example"]',
        '["%61da%40shop.example"]',
        '["ada\\u0040sh\u200bop.example"]',
    ],
)
def test_the_strings_and_keys_of_a_structure_are_searched(structure):
    assert detect(structure) == [Finding("email", 0, len(structure))]


@pytest.mark.parametrize("structure", ["[4.111111111111111e15]", '{"a": [1, 4.111111111111111E15]}'])
def test_the_numbers_of_a_structure_are_searched_as_json_writes_them(structure):
    assert detect(structure) == [Finding("payment_card", 0, len(structure))]


@pytest.mark.parametrize("structure", ["[true, false, null, 1, 2.5]", "[", "{", "{}", '{"a": "b"', "[1] and more"])
def test_a_structure_without_personal_data_or_a_broken_one_is_clean(structure):
    assert detect(structure) == []


@pytest.mark.parametrize("depth", range(1, 8))
def test_structures_inside_structures_are_opened_and_those_too_deep_are_a_hit(depth):
    # rule 3.7
    text = "ada\\u0040shop.example"
    structure = f'["{text}"]'
    for _ in range(depth - 1):
        structure = json.dumps([structure])
    assert {each.kind for each in detect(structure)} <= {"email", "encoded"}
    assert detect(structure)


@pytest.mark.parametrize(
    "parameter", ["age=30", "gender=f", "gclid=x", "utm-email=x", "[]=x", "page_address=x", "token_name=x"]
)
def test_a_harmless_parameter_is_none(parameter):
    assert detect(f"/a?page=2&{parameter}&b=c") == []


@pytest.mark.parametrize(
    "parameter", ["user_age=30", "age_token=x", "customer_name=x", "my.phpsessid=x", "ga_session=1"]
)
def test_a_personal_parameter_is_one(parameter):
    assert [each.kind for each in detect(f"/a?page=2&{parameter}&b=c")] == ["url_parameter"]


@pytest.mark.parametrize(
    "text",
    [
        'What is a "token": a beginner\'s guide',
        'He asked: "Where is my session id": no answer',
        f'Review: "{"x" * 300}": great',
    ],
)
def test_a_word_in_quotes_before_a_colon_is_prose(text):
    # rule 3.7: a structure is what parses as one, or begins like one
    assert detect(text) == []


@pytest.mark.parametrize("text", ['{"password": "hunter2"', 'log {"a":1, "api_key" : "x"}'])
def test_a_sensitive_key_of_a_structure_that_is_cut_off_is_a_hit(text):
    # rule 3.7
    assert [each.kind for each in detect(text)] == ["secret"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (quote(quote(quote("ada&#64;shop.example", safe=""), safe=""), safe=""), "email"),
        (quote(quote(quote("ada\\u0040shop.example", safe=""), safe=""), safe=""), "email"),
        (quote(quote("ada&#92;u0040shop.example", safe=""), safe=""), "email"),
        ('\r\n{"card":\r\n 411111111111111100e-2}', "payment_card"),
        (json.dumps({"a": quote('{"card": 411111111111111100e-2}')}), "payment_card"),
        ("ada@\u4f8b\u5b50.\u4e2d\u56fd" + "\u8bf7" * 70, "email"),
        ("log_84.132.7.9_txt", "ip_address"),
    ],
)
def test_layers_of_several_kinds_are_taken_off(text, kind):
    # rule 3.7
    assert [each.kind for each in detect(text)] == [kind]


@pytest.mark.parametrize("depth", [20, 1_500, 50_000])
def test_what_is_nested_deeper_than_an_interpreter_reads_is_a_hit_too(depth):
    # rule 3.7
    (found,) = detect("a\n" + "[" * depth + "411111111111111100e-2" + "]" * depth)
    assert found.kind in {"payment_card", "encoded"}


@pytest.mark.parametrize("around", ["_{}_", "x_{}", "{}_x"])
@pytest.mark.parametrize(
    "value",
    [
        *("4111111111111111", "+442079460958", "078-05-1120", "DE89370400440532013000", "84.132.7.9", "2001:db8::17"),
        *("ghp_" + "a1B2" * 9, "ada@shop.example"),
    ],
)
def test_an_underscore_ends_a_word(value, around):
    # rule 3.7
    assert detect(around.format(value))
