"""A letter of a script that is written without spaces ends a word as a space does (contract rule 3.7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentpanel.policy import FieldPolicy, Finding, detect, keep

# Chinese, Japanese in its two syllabaries, Korean, Thai, Lao, Khmer, Burmese, Tibetan, Javanese, Yi and Zhuang's old characters.
SCRIPTS = {
    "chinese": "\u53f7\u7801\u8bf7",
    "hiragana": "\u3067\u3093\u308f",
    "katakana": "\u30ab\u30fc\u30c9",
    "half-width": "\uff76\uff70\uff84",
    "korean": "\uc804\ud654\ub85c",
    "thai": "\u0e42\u0e17\u0e23",
    "lao": "\u0ec0\u0e9a\u0eb5",
    "khmer": "\u179b\u17c1\u1781",
    "burmese": "\u1016\u102f\u1014",
    "tibetan": "\u0f41\u0f0b\u0f54",
    "javanese": "\ua9b2\ua9a4\ua98f",
    "yi": "\ua188\ua320\ua20d",
    "rare": "\U00020000\U0002a700\U00030000",
}
PERSONAL = [
    ("phone", "03-1234-5678"),
    ("phone", "+49 30 1234567"),
    ("phone", "(555) 123-4567"),
    ("phone", "0049 30 1234567"),
    ("payment_card", "4111111111111111"),
    ("payment_card", "4111 1111 1111 1111"),
    ("iban", "DE89370400440532013000"),
    ("iban", "GB29 NWBK 6016 1331 9268 19"),
    ("us_ssn", "123-45-6789"),
    ("ip_address", "203.0.113.7"),
    ("ip_address", "2001:db8::8a2e:370:7334"),
    ("secret", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"),
    ("secret", "AKIAIOSFODNN7EXAMPLE"),
    ("secret", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"),
    ("email", "ada@shop.example"),
    ("url_parameter", "https://shop.example/?page=2&email=unknown"),
]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(("kind", "text"), PERSONAL)
def test_it_is_found_between_letters_that_need_no_space(script, kind, text):
    # rule 3.7
    letters = SCRIPTS[script]
    for around in (f"{letters}{text}", f"{text}{letters}", f"{letters}{text}{letters}"):
        assert kind in {each.kind for each in detect(around)}, ascii(around)
        left = FieldPolicy(events={"p": keep()}).apply_event("E", {"p": around}).properties["p"]
        assert text not in left
        assert detect(left) == []


def test_the_place_is_the_number_s_own():
    # rule 3.7
    assert detect("\u96fb\u8a7103-1234-5678\u3067\u3059") == [Finding("phone", 2, 14)]
    assert detect("\u5361\u53f74111111111111111") == [Finding("payment_card", 2, 18)]


@pytest.mark.parametrize("letters", ["\u0438\u0432\u0430\u043d", "caf\u00e9", "\u05e9", "\u0645", "\u0915"])
def test_other_letters_go_on_with_the_word(letters):
    assert detect(f"{letters}4111111111111111") == []


def test_a_letter_between_digits_is_no_gap():
    # A date and an amount of money, whose groups would be a telephone number's with spaces between.
    assert detect("2026\u5e7405\u670801\u65e5") == detect("123\u5e74456\u6708789\u65e5") == []


def test_an_address_may_be_in_such_a_script_itself():
    # RFC 6531
    for address in ("\u540d\u524d@\u4f8b\u3048.\u30c6\u30b9\u30c8", "ada@\u4f8b\u3048.\u30c6\u30b9\u30c8"):
        assert detect(f"to {address}!") == [Finding("email", 3, 3 + len(address))]


@pytest.mark.parametrize("count", [1, 63, 64, 200])
def test_an_address_in_a_long_sentence_without_spaces_is_found(count):
    sentence = "\u8b1d" * count
    assert [each.kind for each in detect(f"{sentence}ada@shop.example{sentence}")] == ["email"]


@pytest.mark.parametrize("word", ["tel", "T", "tel.", "\u0442\u0435\u043b", "\u96fb\u8a71"])
def test_a_plus_after_a_letter_begins_an_international_number(word):
    # rule 3.7
    assert detect(f"{word}+442079460958") == [Finding("phone", len(word), len(word) + 13)]
    assert detect(f"{word}+44 20 7946 0958") == [Finding("phone", len(word), len(word) + 16)]


@pytest.mark.parametrize(
    "text", ["1+442079460958", "1.0.0-rc+20130313144700", "utm_campaign=summer+20260501", "v2+build.12345678", "C++11"]
)
def test_a_plus_in_a_sum_a_version_or_a_campaign_begins_none(text):
    assert detect(text) == []


@given(
    st.sampled_from(PERSONAL),
    st.text(st.sampled_from("".join(SCRIPTS.values())), min_size=1, max_size=8),
    st.text(st.sampled_from("".join(SCRIPTS.values())), min_size=1, max_size=8),
)
def test_mixed_scripts_hide_nothing(personal, before, after):
    # rule 3.7
    kind, text = personal
    assert kind in {each.kind for each in detect(f"{before}{text}{after}")}
