"""Whatever a browser, a script or somebody else sends: no cut grants more than the whole, nothing raises, and nothing takes long."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import time
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from consentpanel.cmp import (
    GPP,
    TCF,
    Answers,
    C15t,
    Civic,
    Cookiebot,
    CookieYes,
    Didomi,
    Klaro,
    OneTrust,
    TrustArc,
    VanillaCookieConsent,
)

FIELDS = (
    "isGpcEnabled=0&datestamp=Tue+Sep+22+2026+10%3A15%3A00+GMT%2B0200+(CEST)&version=202604.2.0&browserGpcFlag=0&isIABGlobal=false&hosts="
    "&consentId=00000000-0000-4000-8000-000000000001&interactionCount=1&isAnonUser=1&landingPath=NotLandingPage"
    "&groups=C0001%3A1%2CC0002%3A1&AwaitingReconsent=false"
)
CLOSED = "OptanonAlertBoxClosed=2026-09-22T08:15:00.000Z"
FIRST = '"2026-09-22T08:15:00.000Z"'
TOKEN = (
    '{"user_id":"u-1","created":"2026-09-22T08:15:00.000Z","updated":"2026-09-22T08:15:04.000Z","vendors":{"enabled":["c:mixpanel"],'
    '"disabled":[]},"purposes":{"enabled":["analytics"],"disabled":["ads"]},"version":2}'
)
THREE = (
    f'{{"categories":["necessary","analytics"],"revision":2,"data":null,"consentTimestamp":{FIRST},"consentId":"c-1","services":{{"necessary":[],'
    f'"analytics":[]}},"languageCode":"de","lastConsentTimestamp":{FIRST},"expirationTime":1805767200000}}'
)
TWO = (
    f'{{"categories":["analytics"],"level":["analytics"],"revision":2,"data":null,"rfc_cookie":false,"consent_date":{FIRST},"consent_uuid":"c-1",'
    f'"last_consent_update":{FIRST}}}'
)
CONTROL = (
    '{"necessaryCookies":[],"optionalCookies":{"analytics":"accepted"},"statement":{"shown":true,"updated":"22/09/2026"},'
    '"consentDate":1790000000000,"consentExpiry":90,"interactedWith":true,"user":"u-1"}'
)
LITERAL = (
    "{stamp:%27QUJDRA==%27%2Cnecessary:true%2Cpreferences:false%2Cstatistics:true%2Cmarketing:false%2Cmethod:%27explicit%27%2Cver:2"
    "%2Cutc:1790000000000%2Cregion:%27de%27}"
)
ARC = "notice_behavior=expressed,eu; notice_preferences=2:ab; notice_gdpr_prefs=0,1,2:ab; cmapi_cookie_privacy=permit 1,2,3; gpcishonored=true"
YES = "CQq8bIAQq8bIABjABBENCWFgAIPAAAAAAAYgAFABAAAAAA.IAKgBACA"
NO = "CQq8bIAQq8bIABjABBENCWFgAAAAAAAAAAYgAAAAAAAA.IAKgBACA"
INVALID = "CQq8bIAQq8bIABjABBENCWFAAIAAAAAAAAYgAAAAAAAA.IAAA"
ONETRUST = OneTrust({"C0002": "analytics"})
ONETRUST_OF_TWO = OneTrust({"C0001": "analytics", "C0002": "analytics"})
COOKIEBOT = Cookiebot({"statistics": "analytics", "marketing": "ads"})
DIDOMI = Didomi({"analytics": "analytics", "ads": "ads"}, vendor="c:mixpanel")
VANILLA = VanillaCookieConsent({"analytics": "analytics", "ads": "ads"}, revision=2)
KLARO = Klaro({"mixpanel": "analytics", "matomo": "ads"})
C15T = C15t({"measurement": "analytics", "marketing": "ads"})
CIVIC = Civic({"analytics": "analytics"})
COOKIEYES = CookieYes({"analytics": "analytics", "functional": "ads"})
TRUSTARC = TrustArc({1: "analytics", 2: "ads"})
TC = TCF({1: "analytics", 8: "analytics", 2: "ads"})
TC_OF_VENDOR = TCF({1: "analytics", 8: "analytics", 2: "ads"}, vendor=10)

#: A reader, a header, and whether it grants analytics.
CORPUS = [
    (ONETRUST, f"{CLOSED}; OptanonConsent={FIELDS}", True),
    (ONETRUST, f"OptanonConsent={FIELDS}; {CLOSED}", True),
    (ONETRUST_OF_TWO, f"{CLOSED}; OptanonConsent={FIELDS.replace('%3A1%2C', '%3A0%2C')}", False),
    (ONETRUST_OF_TWO, f"{CLOSED}; OptanonConsent={FIELDS.replace('C0002%3A1', 'C0002%3A0')}", False),
    (
        ONETRUST,
        f"{CLOSED}; OptanonConsent={FIELDS.replace('AwaitingReconsent=false', 'AwaitingReconsent=true')}",
        False,
    ),
    (ONETRUST, f"{CLOSED}; OptanonConsent={FIELDS.replace('interactionCount=1', 'interactionCount=0')}", False),
    (ONETRUST, f"OptanonConsent={FIELDS}", False),
    (COOKIEBOT, f"CookieConsent={LITERAL}", True),
    (COOKIEBOT, f"CookieConsent={LITERAL.replace('statistics:true', 'statistics:false')}", False),
    (COOKIEBOT, f"CookieConsent={LITERAL.replace('explicit', 'implied')}", False),
    (COOKIEBOT, f"CookieConsent={LITERAL.replace('QUJDRA==', '-1')}", False),
    (COOKIEBOT, "CookieConsent=-1", False),
    (COOKIEBOT, "CookieConsent=0", False),
    (DIDOMI, "didomi_token=" + base64.b64encode(TOKEN.encode()).decode(), True),
    (DIDOMI, "didomi_token=" + base64.b64encode(TOKEN.encode()).decode().rstrip("="), True),
    (DIDOMI, "didomi_token=" + quote(base64.b64encode(TOKEN.encode()).decode(), safe=""), True),
    (DIDOMI, "didomi_token=" + base64.b64encode(TOKEN.replace("[]", '["c:mixpanel"]').encode()).decode(), False),
    (KLARO, "klaro=%7B%22mixpanel%22%3Atrue%2C%22matomo%22%3Afalse%7D", True),
    (KLARO, "klaro=%7B%22mixpanel%22%3Afalse%2C%22matomo%22%3Atrue%7D", False),
    (VANILLA, "cc_cookie=" + quote(THREE, safe=""), True),
    (VANILLA, "cc_cookie=" + THREE, True),
    (VANILLA, "cc_cookie=" + TWO, True),
    (VANILLA, "cc_cookie=" + quote(THREE.replace(',"analytics"]', "]"), safe=""), False),
    (VANILLA, "cc_cookie=" + quote(THREE.replace('"revision":2', '"revision":22'), safe=""), False),
    (C15T, "c15t=c.necessary:1,c.measurement:1,i.t:1790000000000,i.sid:sub_x,i.mpf:0f1e2d", True),
    (C15T, "c15t=c.necessary:1,c.measurement:0,i.t:1790000000000,i.sid:sub_x,i.mpf:0f1e2d", False),
    (C15T, "c15t=i.t:1790000000000,i.sid:sub_x,c.necessary:1,c.measurement:1", True),
    (C15T, "c15t=c.necessary:1,c.measurement:1,i.t:1790000000000,i.id:x", False),
    (CIVIC, "CookieControl=" + CONTROL, True),
    (CIVIC, "CookieControl=" + CONTROL.replace("accepted", "revoked"), False),
    (CIVIC, "CookieControl=" + CONTROL.replace("accepted", "legitimate interest"), False),
    (CIVIC, "CookieControl=" + CONTROL.replace('"interactedWith":true', '"interactedWith":false'), False),
    (COOKIEYES, "cookieyes-consent=consentid:QUJDRA,consent:yes,action:yes,analytics:yes,functional:no", True),
    (COOKIEYES, "cookieyes-consent=consentid:QUJDRA,consent:no,action:yes,analytics:no", False),
    (COOKIEYES, "cookieyes-consent=consentid:QUJDRA,consent:yes,action:,analytics:yes", False),
    (TRUSTARC, ARC, True),
    (TRUSTARC, "; ".join(reversed(ARC.split("; "))), True),
    (TRUSTARC, ARC.replace("expressed", "implied"), False),
    (TRUSTARC, ARC.replace("0,1,2:ab", "0,1,2:ab:implied,eu"), False),
    (TRUSTARC, "; ".join(reversed(ARC.replace("0,1,2:ab", "0,1,2:ab:implied,eu").split("; "))), False),
    (
        TRUSTARC,
        "notice_behavior=implied,us; notice_preferences=0:; notice_gdpr_prefs=0:; cmapi_cookie_privacy=permit 1 required",
        False,
    ),
    (TC, f"euconsent-v2={YES}", True),
    (TC_OF_VENDOR, f"euconsent-v2={YES}", True),
    (TC_OF_VENDOR, f"euconsent-v2={NO}", False),
    (TC_OF_VENDOR, f"euconsent-v2={INVALID}", False),
    (GPP(), "OTGPPConsent=DBABL~BVQqAAAAAgA.YA", False),
    (GPP(), "OTGPPConsent=DBABL~BVQqAAAAAgA.QA", False),
]
READERS = list({each.source: each for each, _, _ in CORPUS}.values())
NAMES = re.compile(r"(?:^|; )([\w-]+)=")
corpus = pytest.mark.parametrize(("reader", "header", "is_granted"), CORPUS)


def granted(reader, header):
    """What a header grants; and what holds for whatever a reader answers."""
    answers = reader(header)
    assert type(answers) is Answers
    assert all(each is None or type(each) is bool for each in answers.purposes.values())
    assert type(answers.is_explicit) is bool
    if any(answers.purposes.values()):
        assert answers.is_explicit
    return {purpose for purpose, each in answers.purposes.items() if each}


@corpus
def test_the_corpus_is_read_as_it_says(reader, header, is_granted):
    assert ("analytics" in granted(reader, header)) is is_granted
    assert granted(reader, header.encode()) == granted(reader, header)


@corpus
def test_no_cut_grants_more_than_the_whole(reader, header, is_granted):
    # rule 11.6: "No cut of a string grants more than the whole."
    whole = granted(reader, header)
    for cut in range(len(header) + 1):
        assert granted(reader, header[:cut]) <= whole
        assert granted(reader, header[cut:]) <= whole


@corpus
def test_of_the_signal_no_cut_makes_an_off(reader, header, is_granted):
    whole = reader(header).gpc
    for cut in range(len(header)):
        assert reader(header[:cut]).gpc in {whole, None}


@corpus
def test_the_order_of_cookies_does_not_matter(reader, header, is_granted):
    pairs = header.split("; ")
    for at in range(len(pairs)):
        turned = [*pairs[at:], "a=1", *pairs[:at], "z=2"]
        assert granted(reader, "; ".join(turned)) == granted(reader, header)


@corpus
def test_a_second_cookie_grants_nothing(reader, header, is_granted):
    # rule 11.6: what is contradictory is unknown
    whole = granted(reader, header)
    assert granted(reader, f"{header}; x=1; {header}") == whole
    for other, another, _ in CORPUS:
        if other == reader and sorted(NAMES.findall(another)) == sorted(NAMES.findall(header)):
            assert granted(reader, f"{header}; {another}") <= whole
    for name in NAMES.findall(header):
        assert granted(reader, f"{header}; {name}=odd") <= whole
        assert granted(reader, f"{name}=; {header}") <= whole


@corpus
def test_what_is_escaped_twice_is_not_decoded_twice(reader, header, is_granted):
    # rule 11.6: "decoding happens once"
    twice = "; ".join(
        f"{name}={quote(quote(value, safe=''), safe='')}"
        for name, _, value in (each.partition("=") for each in header.split("; "))
    )
    if set(twice) - set(header):
        assert not granted(reader, twice) or header == twice


@corpus
def test_a_flipped_bit_raises_nothing(reader, header, is_granted):
    plain = header.encode()
    for at in range(len(plain)):
        for bit in range(8):
            flipped = plain[:at] + bytes([plain[at] ^ 1 << bit]) + plain[at + 1 :]
            granted(reader, flipped)


@corpus
def test_capitals_spaces_and_other_digits_do_not_help(reader, header, is_granted):
    assert not granted(reader, header.upper()) - granted(reader, header)
    assert not granted(reader, header.replace("=", " = ", 1)) - granted(reader, header)
    assert not granted(reader, header.translate(str.maketrans("0129", "\u0660\u0661\u0662\u0669"))) - granted(
        reader, header
    )


@given(st.sampled_from(READERS), st.text(max_size=300))
@example(KLARO, "\ud800")
@example(KLARO, "klaro=" + "[" * 3000)
def test_no_text_raises_or_grants(reader, text):
    # rule 11.6: "anything odd, cut or contradictory is unknown"
    for name in (
        "OptanonConsent",
        "CookieConsent",
        "didomi_token",
        "klaro",
        "cc_cookie",
        "c15t",
        "CookieControl",
        "euconsent-v2",
        "OTGPPConsent",
    ):
        assert not granted(reader, f"{name}={text}; {CLOSED}")
    assert not granted(reader, text)


@given(st.sampled_from(READERS), st.binary(max_size=300))
def test_no_bytes_raise_or_grant(reader, raw):
    for name in (
        b"OptanonConsent",
        b"CookieConsent",
        b"didomi_token",
        b"klaro",
        b"cc_cookie",
        b"CookieControl",
        b"notice_gdpr_prefs",
    ):
        assert not granted(reader, name + b"=" + raw)


@given(st.sampled_from(CORPUS), st.data())
def test_what_is_inserted_or_taken_out_never_raises(row, data):
    reader, header, _ = row
    start = data.draw(st.integers(0, len(header)))
    end = data.draw(st.integers(start, len(header)))
    middle = data.draw(
        st.text(max_size=8)
        | st.sampled_from(["%", "%00", "\x00", ";", "=", ",", "{", "}", "'", '"', "\\", "-1", "true"])
    )
    granted(reader, header[:start] + middle + header[end:])


@given(st.sampled_from(CORPUS), st.sampled_from(CORPUS))
def test_readers_do_not_mind_each_others_cookies(one, other):
    assume(one[0].source != other[0].source)
    assert granted(one[0], f"{other[1]}; {one[1]}; x=1") == granted(one[0], f"{one[1]}; x=1")
    assert not granted(one[0], other[1])


LONG = [
    "%27" * 1300,
    "{" + "a:1," * 1000,
    "{" + "a" * 4000,
    "{a:'" + "'" * 4000,
    "{" + "a:-1" * 1000,
    "a:1," * 1000,
    "a=1&" * 1000,
    "0," * 2000,
    "{" * 4000,
    '{"a":' * 800,
    "[" * 4000,
    "A" * 4000,
    "A." * 2000,
    "DBABL" + "~B.QA" * 700,
    "DB__" + "w" * 4000,
    "\\ud800" * 600,
    " " * 4000,
    "9" * 4000,
]


@pytest.mark.parametrize("reader", READERS, ids=lambda each: each.source)
def test_no_header_takes_long(reader):
    # The work is linear in the header: a hundred of the longest take less than a few seconds on any machine.
    started = time.perf_counter()
    for name in {name for each, header, _ in CORPUS if each.source == reader.source for name in NAMES.findall(header)}:
        for value in LONG:
            granted(reader, f"{name}={value}")
            granted(reader, "; ".join([f"{name}={value}"] * 15))
    granted(reader, ";" * 65_000)
    granted(reader, "klaro=;" * 9000)
    assert time.perf_counter() - started < 10


def test_nothing_is_logged_or_warned_of(caplog, recwarn, capsys):
    # rule 11.6: a reader shows no value
    with caplog.at_level(logging.DEBUG):
        for reader, header, _ in CORPUS:
            reader(header)
            reader(header[:-1])
    assert (caplog.records, list(recwarn), capsys.readouterr().out) == ([], [], "")


def test_answers_do_not_show_the_id_of_a_person():
    assert "00000000-0000-4000-8000-000000000001" not in repr(ONETRUST(CORPUS[0][1]))


# through the test clients of frameworks, whose own parsers lose such cookies (Django's: tests/django/test_middleware.py)


def through_flask(heads: list[str]) -> list[str]:
    flask = pytest.importorskip("flask")
    app = flask.Flask("shop")
    app.add_url_rule("/", "raw", lambda: flask.request.environ["HTTP_COOKIE"].encode("latin-1"))
    browser = app.test_client(use_cookies=False)
    return [browser.get("/", headers={"Cookie": head}).data.decode("latin-1") for head in heads]


def through_starlette(heads: list[str]) -> list[str]:
    testclient = pytest.importorskip("starlette.testclient")

    async def app(scope, receive, send):
        raw = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": raw})

    browser = testclient.TestClient(app)
    return [browser.get("/", headers={"Cookie": head}).content.decode("latin-1") for head in heads]


def through_aiohttp(heads: list[str]) -> list[str]:
    pytest.importorskip("aiohttp")
    from aiohttp import ClientSession, DummyCookieJar, web
    from aiohttp.test_utils import TestClient, TestServer

    async def raw(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["Cookie"])

    async def run() -> list[str]:
        app = web.Application()
        app.router.add_get("/", raw)
        async with TestServer(app) as server, TestClient(server, cookie_jar=DummyCookieJar()) as browser:
            assert isinstance(browser.session, ClientSession)
            return [await (await browser.get("/", headers={"Cookie": head})).text() for head in heads]

    return asyncio.run(run())


@pytest.mark.parametrize("through", [through_flask, through_starlette, through_aiohttp])
def test_the_raw_header_comes_through_a_framework_as_it_was(through):
    heads = [head for _, head, _ in CORPUS]
    heads += [f'CookieControl={{"a": 1}}; cmapi_cookie_privacy=permit 1,2,3; {head}; last=1' for head in heads]
    got = through(heads)
    for (reader, _, grants), head, came in zip(CORPUS * 2, heads, got, strict=True):
        assert reader(came) == reader(head)
        if not isinstance(reader, (Civic, TrustArc)):
            assert (reader(came).purposes.get("analytics") is True) is grants
