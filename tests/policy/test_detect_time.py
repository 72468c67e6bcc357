"""No text makes a search slow: twice the text takes at most about twice the time (contract rule 3.8)."""

import time
from itertools import pairwise

import pytest

from consentpanel.policy import FieldPolicy, detect, keep
from consentpanel.policy._detect.detection import kind_in_name

GAPS = (" ", ".", "-", "/", "(", ")", "\u00a0", "\u2011", ",", ":", "_", "\n", "\t", "+", "x", "\u6f22")
ALPHABETS = {
    "digits": "0123456789",
    "letters": "aA\u00e9\u0436\u6f22\u0e01\uac00",
    "signs": "@.:%+-/()[]{}\"'\\&#;=?<>_ ,\n",
    "marks": "\u0300\u0316\u05b0\u3099",
    "invisible": "\u200b\u00ad\u2060\ufe0f",
    "other digits": "\u0660\u0966\uff11\U0001d7d2",
    "compatibility": "\u00bd\u20a9\ufb01\uff9e\u3000",
}
BEGINNINGS = (
    *(
        "eyJ",
        "-eyJ0",
        "sk-",
        "sk_live_",
        "ghp_",
        "AKIA",
        "SG.",
        "xoxb-",
        "Bearer ",
        "Basic ",
        "password=",
        "secret: ",
        "key-",
    ),
    *("-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "-----END ", "123456789:AA", "hvs.", 'api_key="'),
    *(
        "a@",
        "@a.",
        "@a.b",
        '"@a.b',
        "a@b.co",
        "a@b.co ",
        "a+",
        "DE89",
        "DE89 ",
        "NO93 8601 ",
        "fe80::",
        "1:",
        "::1 ",
        "g:1",
    ),
    *("1.", "1.1.1.1 ", ";a/1.1.1.1", "v 1.1.1.1 ", "255.255.255.", "123-45-", "123-45-6789 ", "000-00-"),
    *("?a=b", "?email=b", "&first_name=", ";sid=", "#token=x&", "=+", "a=1+1&"),
)
NUMBERS = (
    *(
        "+1 ",
        "+49",
        "+",
        "00",
        "001 ",
        "0",
        "01 ",
        "(0",
        "(01)",
        "01)(",
        "(12) ",
        "(12)34",
        "1-555-",
        "555.123.",
        "06 ",
        "8 (",
    ),
    *(
        "4",
        "4444 ",
        "4111111111111111",
        "4111111111111111,",
        "3782 822463 ",
        "20 12 34 56 ",
        "123 456 ",
        "+49 30 1234567 x",
    ),
)
ENCODED = (
    *(
        "%",
        "%2",
        "%25",
        "%41",
        "%2B",
        "%C3",
        "%E6%BC%A2",
        "%0A",
        "%26%2364%3B",
        "%5Cu0040",
        "%22a%22%3A",
        "ada%40shop.example ",
    ),
    *("&", "&#", "&#6", "&#64;", "&#x40;", "&#00", "&amp;", "&amp;#64;", "&commat;", "&aa", "&#37;41", "&zzzzzzzz;"),
    *("\\", '\\"', "\\u", "\\u00", "\\u0040", "\\ud835\\udfd2", "\\ud835", "\\\\u0040", "\\n4"),
    *(
        "[",
        "{",
        '["',
        '{"a":',
        '"a":',
        '"token":',
        '[{"a":[',
        "[1,",
        "[1e9,",
        '{"a":1}\n',
        "\n[",
        "\n[1]",
        '\n["a',
        '"\\"',
        '["[\\"',
    ),
)
TWO_PARTS = (
    ("01 " + "1" * 47 + "a "),
    ("(12) " + "1" * 21 + "a "),
    ("+" + "1 " * 17 + "a"),
    ("0(1" + "2)(3" * 6),
    ("a" * 63 + "."),
    ("@" + ("a" * 63 + ".") * 9 + "1"),
    ("eyJ" + "a" * 20 + "-"),
    ("-----BEGIN " + "A" * 40),
    ("password=" + "a" * 64),
    ("?" + "a" * 64),
    ('"' + "a" * 300 + '" '),
    ("a" + "\u0300\u0316" * 40),
    ("\uff9e\u0300" * 40),
    ("\u0300" * 31 + "."),
    ("+\uff14\uff14 \uff12\uff10 \uff17\uff19\uff14\uff16 \uff10\uff19\uff15\uff18 "),
    ("\uff21\uff24\uff21@shop.example "),
    ("ada@shop.example %41 "),
    ("?email=ada%40shop.example&q=+44+20+7946+0958 "),
    ('{"a": "ada\\u0040shop.example"}\n'),
    ("\u96fb\u8a7103-1234-5678"),
    ('%25%41&amp;#37;\\u0025+=%2B4"a":'),
)
REPEATED = sorted(
    {
        *(sign for alphabet in ALPHABETS.values() for sign in (*alphabet, alphabet)),
        *(f"{digits}{gap}" for digits in ("1", "01", "444", "4444", "1" * 13) for gap in GAPS),
        *BEGINNINGS,
        *NUMBERS,
        *ENCODED,
        *TWO_PARTS,
        # What almost is one, at the last character, and what hides in another form.
        *(f"{text}a" for text in NUMBERS),
        *("".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in text) for text in NUMBERS),
        *("".join(f"%{ord(each):02X}" for each in text) for text in ("01 ", "a@b.co ", "&#64;", '{"a":')),
    }
)
LENGTHS = (10_000, 20_000, 40_000)
#: Seconds of this thread's own work; less says nothing of how it grows.
FLOOR = 0.01
#: The longest text takes a few hundredths of one.
HANG = 2.0


def seconds(search, text):
    start = time.thread_time()
    search(text)
    return time.thread_time() - start


def grows_too_fast(search, texts):
    # The best of several, so that nothing but the text can be the cause.
    best = [float("inf")] * len(texts)
    for attempt in range(45):
        if attempt > 5:
            # Whatever else runs on the machine may be over in a while.
            time.sleep(0.1)
        best = [min(before, seconds(search, text)) for before, text in zip(best, texts, strict=True)]
        if best[-1] < HANG and all(more <= 3 * max(less, FLOOR) for less, more in pairwise(best)):
            return None
    return best


def of_lengths(piece, *, prefix=""):
    return [prefix + piece * (length // len(piece)) for length in LENGTHS]


@pytest.mark.parametrize("piece", REPEATED, ids=ascii)
def test_twice_the_text_takes_about_twice_the_time(piece):
    # rule 3.8
    assert grows_too_fast(detect, of_lengths(piece)) is None


@pytest.mark.parametrize("piece", TWO_PARTS, ids=ascii)
def test_twice_the_value_or_the_name_takes_about_twice_the_time(piece):
    # rule 3.8
    policy = FieldPolicy(events={"p": keep()})
    assert grows_too_fast(lambda text: policy.apply_event("E", {"p": text}), of_lengths(piece, prefix="a ")) is None
    assert grows_too_fast(kind_in_name, of_lengths(piece, prefix="a ")) is None


@pytest.mark.parametrize("build", ["[{0}]", '{{"a":{0}}}', '["{0}"]'], ids=["list", "object", "text"])
def test_nesting_takes_about_its_length(build):
    # rule 3.8
    before, after = build.format("0").split("0")
    assert grows_too_fast(detect, [before * (n // 10) + "1" + after * (n // 10) for n in LENGTHS]) is None
