"""What hides a text: other digits, invisible characters, escapes, structures (contract rule 3.7)."""

import json

import pytest

from consentpanel.policy import Finding, detect

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


@pytest.mark.parametrize(("depth", "is_found"), [(1, True), (2, True), (3, True), (4, False)])
def test_structures_inside_structures_are_opened_three_deep(depth, is_found):
    text = "ada\\u0040shop.example"
    structure = f'["{text}"]'
    for _ in range(depth - 1):
        structure = json.dumps([structure])
    assert [each.kind for each in detect(structure)] == (["email"] if is_found else [])


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
