"""E-mail and IP addresses, secrets and parameters of URLs, at the edges of what counts as one (contract rule 3.7)."""

import pytest

from consentpanel.policy import Finding, detect


def kinds(text):
    return [each.kind for each in detect(text)]


# Made up here from a prefix, so that nobody's scanner takes this file for a leak.
HEX = "0a1b2c3d4e5f60718293a4b5c6d7e8f9" * 2
MIXED = "aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0cD3fG6hJ9k" * 2
CAPITALS = "AB3DE6GH9JK2MN5PQ8ST1VW4XY7ZA0CD"
KEYS = [
    *(f"{sign}k_{mode}_{HEX[:24]}" for sign in "sr" for mode in ("live", "test")),
    f"whsec_{HEX[:24]}",
    *(f"sk-{of}{HEX[:24]}" for of in ("", "proj-", "svcacct-", "ant-")),
    *(f"gh{of}_{HEX[:36]}" for of in "oprsu"),
    f"github_pat_{HEX[:24]}",
    f"glpat-{HEX[:20]}",
    *(f"{of}{CAPITALS[:16]}" for of in ("AKIA", "ASIA", "AROA", "AIDA")),
    f"AIza{MIXED[:35]}",
    f"ya29.{HEX[:24]}",
    f"GOCSPX-{HEX[:28]}",
    *(f"xox{of}-{HEX[:16]}" for of in "abeoprs"),
    f"xapp-{HEX[:16]}",
    f"xoxb-{HEX[:11]}",
    f"SG.{HEX[:22]}.{HEX[:43]}",
    f"key-{HEX[:32]}",
    f"SK{HEX[:32]}",
    f"npm_{HEX[:36]}",
    f"pypi-{HEX[:24]}",
    f"hf_{HEX[:34]}",
    f"dop_v1_{HEX[:64]}",
    *(f"shp{of}_{HEX[:32]}" for of in ("at", "ss", "ca", "pa")),
    *(f"sq0{of}-{HEX[:22]}" for of in ("atp", "csp")),
    f"dapi{HEX[:32]}",
    f"hvs.{HEX[:24]}",
    f"NRAK-{CAPITALS[:27]}",
    f"lin_api_{HEX[:40]}",
    f"glsa_{HEX[:40]}",
    f"123456789:AA{MIXED[:33]}",
    f"eyJ{MIXED[:20]}.{MIXED[:20]}.{MIXED[:20]}",
]
ANNOUNCED = [
    *(f"{word} {HEX[:20]}" for word in ("Bearer", "bearer", "BEARER")),
    *(f"{word} {MIXED[:20]}==" for word in ("Basic", "basic")),
    *(
        f"{word}{sign}{MIXED[:12]}"
        for word in ("password", "Passwd", "secret", "api key", "API_KEY", "accessToken", "auth_token", "client-secret")
        for sign in ("=", ": ")
    ),
]


@pytest.mark.parametrize("secret", [*KEYS, *ANNOUNCED])
def test_a_secret_is_found_in_its_place(secret):
    assert detect(secret) == [Finding("secret", 0, len(secret))]
    assert detect(f"it was {secret} there") == [Finding("secret", 7, 7 + len(secret))]


@pytest.mark.parametrize("key", KEYS)
def test_the_beginning_of_a_key_is_none(key):
    assert kinds(key[:12]) == kinds(f"see {key[:12]} here") == []


def test_a_private_key_reaches_to_its_end_or_to_that_of_the_text():
    begin, end = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
    whole = f"{begin}\nMIIE\n{end}"
    assert detect(f"a {whole} b {whole} c") == [
        Finding("secret", 2, 2 + len(whole)),
        Finding("secret", 5 + len(whole), 5 + 2 * len(whole)),
    ]
    assert detect(f"a {begin}\nMIIE b") == [Finding("secret", 2, len(begin) + 9)]


@pytest.mark.parametrize(
    "text",
    [
        *("v 1.2.3.4", "v=1.2.3.4", "rv:1.2.3.4", "release 10.0.0.1", "build-10.0.0.1", "firmware_10.0.0.1"),
        *("(Chrome/1.2.3.4)", "a; Safari/1.2.3.4", f"{'a' * 31}/1.2.3.4"),
    ],
)
def test_four_numbers_that_a_word_marks_as_a_version_are_no_address(text):
    assert detect(text) == []


@pytest.mark.parametrize(
    "text", ["in 10.0.0.1", "=10.0.0.1", "a=10.0.0.1", " 10.0.0.1", "host: 10.0.0.1", f"{'a' * 32}/10.0.0.1"]
)
def test_four_numbers_after_any_other_word_are_an_address(text):
    assert detect(text) == [Finding("ip_address", len(text) - 8, len(text))]


@pytest.mark.parametrize(
    "text", ["fe::ad:be", "1::", "::1", "a::1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "1:2:3:4:5:6:10.0.0.1"]
)
def test_an_ipv6_address_has_eight_groups_or_a_gap(text):
    # RFC 4291, section 2.2
    assert detect(text) == [Finding("ip_address", 0, len(text))]


@pytest.mark.parametrize(
    "text",
    ["fe::ad", "a::b", "1::2::3", "12345::1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8:9::", ":::1"],
)
def test_other_rows_of_numbers_and_colons_are_no_ipv6_address(text):
    assert detect(text) == []


@pytest.mark.parametrize(
    "name",
    [
        "email[0]",
        "emails",
        "phone2",
        "first_name_2",
        "$email",
        "{email}",
        "user:email",
        '"email"',
        "first name",
        "a" * 300 + "_email",
    ],
)
def test_a_parameter_is_told_in_whatever_spelling_of_its_name(name):
    assert "url_parameter" in {each.kind for each in detect(f"/a?page=2&{name}=x(y)&b=c")}
    assert "url_parameter" in {each.kind for each in detect(f"/a?{name}=x(y)&b=c")}


@pytest.mark.parametrize(
    "text", ["Which? sort by name=asc", "/s?items=3&page2=x&sort1=name", "?line1=x&a=b", "what? a = b & c"]
)
def test_what_only_resembles_a_personal_parameter_is_none(text):
    assert detect(text) == []


@pytest.mark.parametrize("name", ["email", "first_name", "user%5Bname%5D", "e%6Dail", "first+name"])
def test_a_parameter_is_told_from_its_name_to_the_end_of_its_value(name):
    assert detect(f"/a?page=2&{name}=x(y)&b=c") == [Finding("url_parameter", 10, 16 + len(name) - 1)]


def test_a_parameter_longer_than_the_pattern_ends_where_its_value_does():
    assert detect(f"/a?email={'x' * 9000}&b=c") == [Finding("url_parameter", 3, 9009)]


@pytest.mark.parametrize("text", ["/a?page=2", "/a?utm_email=x", "/a?email=", "/a?email", "email = x", "a email=x"])
def test_other_parameters_are_none(text):
    assert detect(text) == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ('to "ada lovelace"@shop.example', '"ada lovelace"@shop.example'),
        ("<ada@shop.example>", "ada@shop.example"),
        ("a" * 70 + "@shop.example", "a" * 64 + "@shop.example"),
        ("x,ada@a.b.c.shop.example.", "ada@a.b.c.shop.example"),
    ],
)
def test_an_address_has_a_name_of_at_most_64_characters_and_a_domain(text, address):
    # RFC 5321, section 4.5.3.1
    start = text.index(address)
    assert detect(text) == [Finding("email", start, start + len(address))]


@pytest.mark.parametrize("text", ["***@shop.example", "@shop.example", " @shop.example", "(@shop.example", "a@2x.png"])
def test_a_masked_address_and_a_file_s_name_are_none(text):
    assert detect(text) == []


@pytest.mark.parametrize("text", ["42,203.0.113.7,ok", "10.0.0.1,203.0.113.7", "3.5,203.0.113.7", "1,2,203.0.113.7;4"])
def test_an_address_in_a_row_of_values_is_found(text):
    # rule 3.7: rows of CSV, X-Forwarded-For
    places = [text[each.start : each.end] for each in detect(text)]
    assert "203.0.113.7" in places


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("dial 2001:db8::1: connection refused", "2001:db8::1"),
        ("2001:db8:0:0:0:0:0:1: connection refused", "2001:db8:0:0:0:0:0:1"),
        ("peer node:2001:db8::1", "2001:db8::1"),
        ("remote:2001:db8::1", "2001:db8::1"),
        ("device:2001:db8:0:0:0:0:0:1", "2001:db8:0:0:0:0:0:1"),
        ("v=spf1 ip6:2001:db8::1 -all", "2001:db8::1"),
        ("Received: from x ([IPv6:2001:db8::1])", "2001:db8::1"),
        ("from :2001:db8::1", "2001:db8::1"),
        ("2001:db8::1:refused", "2001:db8::1"),
    ],
)
def test_an_ipv6_address_beside_a_word_and_a_colon_is_found(text, address):
    # rule 3.7
    assert [text[each.start : each.end] for each in detect(text)] == [address]


@pytest.mark.parametrize("text", ["00:11:22:33:44:55:66:77:88:99", "12:30:45", "a::b", "crate::face::add", "::"])
def test_what_only_looks_like_one_is_no_ipv6_address(text):
    assert kinds(text) == []


@pytest.mark.parametrize("address", ["ada@2x.com", "ada@3x.info", "ada@1.5x.org"])
def test_a_file_s_density_is_no_domain_and_every_other_is(address):
    assert kinds(f"mail {address}") == ["email"]
    assert kinds("icon@2x.png logo@1.5x.WEBP photo@3x.jpg") == []


@pytest.mark.parametrize(
    "word",
    ["password", "PASSWORD", "Passwd", "pwd", "X-API-Key", "SECRET_KEY", "secret", "CLIENT_SECRET", "refresh_token"],
)
@pytest.mark.parametrize("sign", ["=", ": ", '":"'])
def test_a_value_behind_a_word_for_a_secret_is_found_in_any_case(word, sign):
    assert "secret" in kinds(f"{word}{sign}hunter2hunter2")


@pytest.mark.parametrize(
    "text", ["2001:0db8:85a3:0000:0000:8a2e:0370:7334:443", "12:2001:0db8:85a3:0000:0000:8a2e:0370:7334"]
)
def test_a_whole_ipv6_address_beside_a_port_or_a_line_s_number_is_found(text):
    assert kinds(text) == ["ip_address"]
    assert kinds("00:11:22:33:44:55:66:77:88") == []


@pytest.mark.parametrize(
    "text", ["PWD=/home/ubuntu/app2024", "pwd=/var/www/releases/20240101", "pwd: ~/src/app-2024-05"]
)
def test_a_working_directory_is_no_secret(text):
    assert kinds(text) == []
