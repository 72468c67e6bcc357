"""Telephone, card and account numbers, at the edges of what counts as one (contract rule 3.7)."""

import sys

import pytest

from consentpanel.policy import Finding, detect


@pytest.fixture(params=["installed", "absent"])
def library(request, monkeypatch):
    monkeypatch.setattr("consentpanel.policy._detect.numbers._library", None)
    if request.param == "absent":
        monkeypatch.setitem(sys.modules, "phonenumbers", None)
    else:
        pytest.importorskip("phonenumbers")
    return request.param


def test_phonenumbers_confirms_numbers_with_a_plus_where_it_is_installed(library):
    assert [each.kind for each in detect("+49 30 1234567")] == ["phone"]
    assert [each.kind for each in detect("030 1234567")] == ["phone"]
    assert [each.kind for each in detect("+1 234 56789")] == ([] if library == "installed" else ["phone"])


TELEPHONES = """
+49 123456|+49 30 1234567|+49(0)30 123456|+7(0)4951234567|+1 (0)2025550123|+351(0)211234567|+1-555-555-5555x123|001-555-555-5555
0049 30 1234567|(555) 123-4567|555.123.4567|030 123456|030 1234567890|0123.456.7890|06.12.34.56.78|08-12 34 56|01-32-2026 10
(0123) 456789|(12) 345678|(1234) 1234 1234|20 12 34 56|123 456 789|12 345 67 89|8 912 345-67-89|00999 123456|00999 12345678|030 123 (4567)|0123 45 67 89
532 123 45 67|57 302 319 48 75|404 55 853|19/093 7865|14/014-1931|2310 859 979|6983 016613|02157 71280 387|(02157) 08931 942
"""


@pytest.mark.parametrize("text", [text.strip() for text in TELEPHONES.replace("\n", "|").split("|") if text.strip()])
def test_telephone_numbers_are_found_with_the_library_and_without(library, text):
    assert detect(text) == [Finding("phone", 0, len(text))]
    assert detect(f"({text})") == [Finding("phone", 1, len(text) + 1)]


OTHER_NUMBERS = """
+49 12345|030 12345|030 12345678901|08 12 34 56|08-123 456|010.20.30.40|06.12-34.56.78|030.1234567|0.123.456789
01-02-2026 10|01-31-2026 10|01 02 2026 10|(12) 34567|(1234) 12345 1234|+999 12345678
2026 000123|2026 859 979|104 55 853|404 55 853 1|1 404 55 853|12.404 55 853|19/093/7865|1234 5678|0900 1730|1,301 417 05 86|0-09-883181-X
"""


@pytest.mark.parametrize("text", [text.strip() for text in OTHER_NUMBERS.replace("\n", "|").split("|") if text.strip()])
def test_a_number_with_too_many_or_too_few_digits_or_the_shape_of_another_is_no_telephone_number(library, text):
    assert "phone" not in {each.kind for each in detect(text)}


@pytest.mark.parametrize(
    ("text", "is_found"),
    [("+1 2345 0678", False), ("+1 555123456789", False), ("+1 5551234567890", True), ("+388 123 45678", False)],
)
def test_only_the_library_knows_which_numbers_a_country_has(library, text, is_found):
    assert [each.kind for each in detect(text)] == (["phone"] if is_found or library == "absent" else [])


def test_a_bracket_that_the_number_did_not_open_is_not_its_own():
    assert detect("(tel. 030 1234567)") == [Finding("phone", 6, 17)]


# The tables of numbers: one account number of each country (examples of the ISO 13616 registry), one card of each issuer

IBANS = """
AD1200012030200359100100 AE070331234567890123456 AL47212110090000000235698741 AT611904300234573201
AZ21NABZ00000000137010001944 BA391290079401028494 BE68539007547034 BG80BNBG96611020345678 BH67BMAG00001299123456
BR1800360305000010009795493C1 BY13NBRB3600900000002Z00AB00 CH9300762011623852957 CR05015202001026284066
CY17002001280000001200527600 CZ6508000000192000145399 DE89370400440532013000 DK5000400440116243
DO28BAGR00000001212453611324 EE382200221020145685 EG380019000500000000263180002 ES9121000418450200051332
FI2112345600000785 FO6264600001631634 FR1420041010050500013M02606 GB29NWBK60161331926819 GE29NB0000000101904917
GI75NWBK000000007099453 GL8964710001000206 GR1601101250000000012300695 GT82TRAJ01020000001210029690
HR1210010051863000160 HU42117730161111101800000000 IE29AIBK93115212345678 IL620108000000099999999
IQ98NBIQ850123456789012 IS140159260076545510730339 IT60X0542811101000000123456 JO94CBJO0010000000000131000302
KW81CBKU0000000000001234560101 KZ86125KZT5004100100 LB62099900000001001901229114 LC55HEMM000100010012001200023015
LI21088100002324013AA LT121000011101001000 LU280019400644750000 LV80BANK0000435195001 LY83002048000020100120361
MC5811222000010123456789030 MD24AG000225100013104168 ME25505000012345678951 MK07250120000058984
MT84MALT011000012345MTLCAST001S MU17BOMM0101101030300200000MUR NL91ABNA0417164300 NO9386011117947
PK36SCBL0000001123456702 PL61109010140000071219812874 PS92PALS000000000400123456702 PT50000201231234567890154
QA58DOHB00001234567890ABCDEFG RO49AAAA1B31007593840000 RS35260005601001611379 SA0380000000608010167519
SC18SSCB11010000000000001497USD SE4550000000058398257466 SI56263300012039086 SK3112000000198742637541
SM86U0322509800000000270100 SV62CENR00000000000000700025 TL380080012345678910157 TN5910006035183598478831
TR330006100519786457841326 UA213223130000026007233566001 VA59001123000012345678 VG96VPVG0000012345678901
XK051212012345678906 RU0304452522540817810538091310419
""".split()


@pytest.mark.parametrize("number", IBANS)
def test_an_account_number_has_its_country_s_length(number):
    assert [(each.kind, each.start, each.end) for each in detect(number)] == [("iban", 0, len(number))]
    grouped = " ".join(number[at : at + 4] for at in range(0, len(number), 4))
    assert "iban" in {each.kind for each in detect(f"to {grouped}, please")}
    assert "iban" not in {each.kind for each in detect(f"to {number}x, please")}
    # A digit more or less is another country's length, and no account's.
    assert "iban" not in {each.kind for each in detect(f"{number}0")} | {each.kind for each in detect(number[:-1])}


def test_an_account_number_is_found_behind_what_only_begins_like_one():
    assert detect("AA12 3456 7890, DE89370400440532013000") == [Finding("iban", 16, 38)]


def luhn(prefix, length):
    digits = prefix + "7" * (length - len(prefix) - 1)
    total = sum(int(each) for each in digits[-2::-2]) + sum(sum(divmod(2 * int(each), 10)) for each in digits[::-2])
    return digits + str(-total % 10)


CARDS = {
    **dict.fromkeys(("4",), (13, 16, 19)),
    **dict.fromkeys(("51", "55", "2221", "2720", "3500", "3599", "2200", "2204", "9792", "6060", "6099", "508"), (16,)),
    **dict.fromkeys(("34", "37", "2131", "1800"), (15,)),
    **dict.fromkeys(("300", "305", "309", "36", "38", "39"), (14,)),
    **dict.fromkeys(("6011", "644", "659"), (16, 19)),
    "62": (16, 17, 18, 19),
    **dict.fromkeys(("5018", "5020", "5038", "5893", "6304", "6759", "6763"), (12, 13, 14, 15, 16, 18, 19)),
    **dict.fromkeys(("56", "58"), (12, 13)),
    **dict.fromkeys(("6390", "0604"), (12, 13, 14, 15, 16)),
}


@pytest.mark.parametrize(
    ("prefix", "length"), [(prefix, length) for prefix, lengths in CARDS.items() for length in lengths]
)
def test_a_card_has_an_issuer_with_its_length(prefix, length):
    number = luhn(prefix, length)
    assert detect(number) == [Finding("payment_card", 0, length)]
    assert detect(f"pay {number} now") == [Finding("payment_card", 4, 4 + length)]
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert detect(wrong) == []


@pytest.mark.parametrize("prefix", CARDS)
def test_another_length_is_no_card(prefix):
    for length in {12, 13, 14, 15, 16, 17, 18, 19} - set(CARDS[prefix]):
        assert detect(luhn(prefix, length)) == []


@pytest.mark.parametrize(
    "prefix", ["1234", "2199", "2205", "2220", "2721", "306", "308", "50", "5017", "5021", "5037", "66", "70"]
)
def test_a_number_of_no_issuer_is_no_card(prefix):
    assert detect(luhn(prefix, 16)) == []


@pytest.mark.parametrize(
    "number", ["+1 202 555 0123", "+44 20 7946 0123", "+351 21 123 4567", "+389 2 123 4567", "+998 71 123 4567"]
)
def test_country_codes_have_one_to_three_digits(library, number):
    assert [each.kind for each in detect(number)] == ["phone"]


def test_the_country_codes_are_those_of_the_world(monkeypatch):
    # ITU-T E.164; the library leaves out 379, which is reserved, and 388, which was shared
    library = pytest.importorskip("phonenumbers")
    monkeypatch.setattr("consentpanel.policy._detect.numbers._library", False)
    known = {*map(str, library.COUNTRY_CODE_TO_REGION_CODE), "379", "388"}
    for code in range(1, 1000):
        number = f"+{code} 55555 55"
        has_country = any(f"{code}55"[:length] in known for length in (1, 2, 3))
        assert [each.kind for each in detect(number)] == (["phone"] if has_country else []), number


@pytest.mark.parametrize("code", ["210", "214", "292", "999"])
def test_a_number_of_no_country_is_no_telephone_number(library, code):
    assert detect(f"+{code}-00000-000") == []


@pytest.mark.parametrize(
    ("low", "high", "length"), [("510000", "559999", 16), ("340000", "349999", 15), ("220000", "220499", 16)]
)
def test_the_range_of_an_issuer_has_both_its_ends(low, high, length):
    for prefix in (low, high):
        assert [each.kind for each in detect(luhn(prefix, length))] == ["payment_card"]
    for prefix in (str(int(low) - 1), str(int(high) + 1)):
        assert detect(luhn(prefix, length)) == []


def test_a_card_is_found_before_and_behind_digits_that_are_not_its_own():
    card = "4111 1111 1111 1111"
    assert detect(f"{card} 123") == [Finding("payment_card", 0, 19)]
    assert detect(f"{card} 12") == [Finding("payment_card", 0, 19)]
    assert detect(f"1234 {card}") == [Finding("payment_card", 5, 24)]
    assert detect(f"3782 822463 10005, {card}") == [Finding("payment_card", 0, 17), Finding("payment_card", 19, 38)]


@pytest.mark.parametrize("text", ["41111111111", "4" * 20, "41111-111111-11111", "4111 1111 1111 1112 111"])
def test_digits_of_another_length_or_grouping_are_no_card(text):
    assert detect(text) == []


def test_a_number_whose_area_code_only_ends_in_a_bracket_is_found():
    assert detect("tel 089) 534 01747") == [Finding("phone", 4, 18)]


@pytest.mark.parametrize(
    "card",
    [
        "4111 1111-1111 1111",
        "4111\t1111\t1111\t1111",
        "4111/1111/1111/1111",
        "4111_1111_1111_1111",
        "41111111 11111111",
        "411111 1111111111",
        "3782.822463-10005",
    ],
)
def test_a_card_is_found_however_it_is_grouped(card):
    # rule 3.7: a known issuer with its length that passes Luhn
    for text, start in ((card, 0), (f"7,{card},12/27", 2), (f"pays with {card}.", 10)):
        assert detect(text) == [Finding("payment_card", start, start + len(card))]


def test_a_card_on_a_track_of_a_stripe_is_found():
    assert [each.kind for each in detect("%B4111111111111111^LOVELACE/ADA^2712")] == ["payment_card"]
    assert [each.kind for each in detect(";4111111111111111=2712")] == ["payment_card"]


@pytest.mark.parametrize("ssn", ["123/45/6789", "123_45_6789", "123\t45\t6789"])
def test_an_ssn_is_found_whatever_parts_its_groups(ssn):
    assert detect(ssn) == [Finding("us_ssn", 0, 11)]


@pytest.mark.parametrize("gap", ["\t", ".", "_", "/"])
def test_an_iban_is_found_whatever_parts_its_groups(gap):
    iban = gap.join(["DE89", "3704", "0044", "0532", "0130", "00"])
    assert detect(f"to {iban}!") == [Finding("iban", 3, 3 + len(iban))]


@pytest.mark.parametrize(
    "number", ["+49\t30\t901820", "+49_30_901820", "+683 7012", "+290 8999", "+690 3123", "+6837012"]
)
def test_a_number_with_a_plus_is_found_whatever_parts_it_and_however_short(number, library):
    assert detect(f"call {number}!") == [Finding("phone", 5, 5 + len(number))]


@pytest.mark.parametrize("text", ["555\t123\t4567", "030\t1234567", "12\t3456\t7890", "item_555_123_4567_x"])
def test_cells_of_a_table_are_no_telephone_number(text):
    assert detect(text) == []


@pytest.mark.parametrize(
    "number", ["+14155552671", "+1 415 555 2671", "+44 20 7946 0958", "+683 4002", "0049 30 901820"]
)
@pytest.mark.parametrize(
    "suffix", ["\t42", "\t1\t2", "_1", "_12", " 3 times", " 42 EUR", " 10:30", " (2)", " - 3 items", "/2", "-1"]
)
def test_a_number_is_found_before_another_one(number, suffix, library):
    # rule 3.7
    places = [each for each in detect(f"call {number}{suffix}") if each.kind == "phone"]
    assert len(places) == 1
    assert places[0].start == 5
    assert places[0].end >= 5 + len(number)


@pytest.mark.parametrize(
    "text",
    [
        "4111  1111  1111  1111",
        "4111 1111 11111111",
        "4111 111111111111",
        "6011 111111111117",
        "411111 111111 1111",
        "4111-11111111-1111",
        "4111 - 1111 - 1111 - 1111",
        "3782  822463 - 10005",
        "3782 82246310005",
    ],
)
def test_a_card_is_found_with_gaps_that_are_wide_or_forgotten(text):
    # rule 3.7
    assert detect(f"card {text} ok") == [Finding("payment_card", 5, 5 + len(text))]


def test_of_a_card_with_wide_gaps_and_digits_behind_it_the_card_is_the_hit():
    assert detect("4111  1111  1111  1111  123") == [Finding("payment_card", 0, 22)]
