"""E-mail and IP addresses, secrets, and personal parameters of URLs.

Patterns are bounded and start at a character that the text must hold, so that each search takes time linear in it.
"""

from __future__ import annotations

import re
import socket
import string
from collections.abc import Iterator
from functools import cache
from urllib.parse import unquote

from consentpanel.policy._detect.normalize import UNSPACED
from consentpanel.policy._names import is_personal_parameter

Span = tuple[int, int]

# What stands in no label of a domain: ASCII signs but the hyphen, white space, and Unicode's punctuation. Letters of any
# script do (RFC 5890).
_NO_LABEL = r"\x00-,./:-@\[-^`{-\x7f\s\u2000-\u206f\u3000-\u303f\uff00-\uff0f\uff1a-\uff20"
# At most 63 characters a label (RFC 1035, section 2.3.4), and a top level without digits, or one in its ASCII form.
_DOMAIN = re.compile(
    rf"@((?:[^{_NO_LABEL}]{{1,63}}\.){{1,8}}(?:xn--[A-Za-z0-9-]{{2,59}}|[^{_NO_LABEL}0-9_\-]{{2,63}}))"
    rf"(?:(?![^\W_])|(?={UNSPACED.pattern}))"
)
_LOCAL = re.compile(r"[^\s()<>\[\],;:\\\"@/?=&#]{1,64}")
# RFC 5321, section 4.5.3.1.1.
_MAX_LOCAL = 64
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
_DENSITY = re.compile(r"@\d(?:\.\d)?x\.(?:png|jpe?g|gif|webp|avif|heic|svg|bmp|ico|tiff?|psd|pdf)$", re.IGNORECASE)


def emails(text: str) -> Iterator[Span]:
    """Addresses whose domain has a dot (RFC 5321, RFC 6531)."""
    for found in _DOMAIN.finditer(text):
        at = found.start()
        before = text[max(0, at - _MAX_LOCAL) : at][::-1]
        local = _LOCAL.match(before)
        length = before.find('"', 1) + 1 if before.startswith('"') else 0 if local is None else local.end()
        # A mask leaves the domain behind stars; and icon@2x.png is a file.
        if _LETTER_OR_DIGIT.search(before[:length]) and not _DENSITY.match(found[0]):
            yield at - length, found.end()


_OCTET = r"(?:25[0-5]|2[0-4]\d|[01]?\d?\d)"
_IPV4 = re.compile(rf"(?<![^\W_])(?<!\d\.){_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}(?![^\W_]|\.\d)", re.ASCII)
# Whole groups with two colons in a row, or groups in a row that nothing shortens; a word and a colon may stand before
# either, a colon behind. How many groups there may be is looked at later.
_GROUP, _TAIL = "[0-9A-Fa-f]{1,4}", r"(?:(?:\.\d{1,3}){3})?(?![A-Za-z0-9]|\.\d|::)"
_IPV6 = re.compile(
    rf"(?<![A-Za-z0-9])(?:(?:{_GROUP}(?::{_GROUP}){{0,6}})?::(?:{_GROUP}(?::{_GROUP}){{0,6}}{_TAIL}|(?![A-Za-z0-9:]))"
    rf"|{_GROUP}(?::{_GROUP}){{6,}}{_TAIL}(?!:(?:{_GROUP}(?![A-Za-z0-9])|:)))",
    re.ASCII,
)
# More of a longer row of groups.
_GROUP_BEFORE = re.compile(rf"(?:(?<![A-Za-z0-9]){_GROUP}|:):$")
_VERSION_BEFORE = re.compile(
    r"(?:\b(?:v|rv|ver|version|release|build|firmware|chrome|revision|rev)[ =:/._\-]{1,2}|(?:^|[\s(;,])[A-Za-z][\w.+\-]{1,30}/)$",
    re.IGNORECASE,
)
_WORD_ENDS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ =:_-+")


def ipv4_addresses(text: str) -> Iterator[Span]:
    """IPv4 addresses (RFC 791) that no word marks as a version."""
    for found in _IPV4.finditer(text):
        start = found.start()
        # A version follows a word and a sign: most addresses need no closer look.
        may_be_version = start > 1 and text[start - 1] in " =:/_-" and text[start - 2] in _WORD_ENDS
        if not may_be_version or _VERSION_BEFORE.search(text[max(0, start - 34) : start]) is None:
            yield found.span()


def ipv6_addresses(text: str) -> Iterator[Span]:
    """IPv6 addresses (RFC 4291)."""
    for found in _IPV6.finditer(text):
        before = text[max(0, found.start() - 6) : found.start()]
        is_more = before.endswith(":") and (found[0][0] == ":" or _GROUP_BEFORE.search(before) is not None)
        if not is_more and (_is_ipv6(found[0]) or _has_ipv6(found[0])):
            yield found.span()


def _has_ipv6(text: str) -> bool:
    """Whether groups in a row are a whole address and one more: a port, the number of a line."""
    groups = text.split(":")
    # Bytes of a fingerprint have two letters.
    return len(groups) == _GROUPS + 1 and "" not in groups and any(len(group) > 2 for group in groups)


_GROUPS = 8


def _is_ipv6(text: str) -> bool:
    has_digit = any(character.isdigit() for character in text)
    # Names of C++ and Rust such as `add::face` could be addresses by their letters.
    if not has_digit and len([part for part in text.split(":") if part]) < 3:
        return False
    try:
        socket.inet_pton(socket.AF_INET6, text)  # asks nobody, and is ten times as fast as `ipaddress`
    except OSError:
        return False
    return True


@cache
def _secret_pattern() -> re.Pattern[str]:
    # Compiled when something looks like a secret, because few programs see one.
    return re.compile(
        r"(?<![A-Za-z0-9])(?:"
        r"(?:[Bb]earer|BEARER)[ \t:=]{1,3}[\w.~+/\-]{16,4096}={0,2}"  # RFC 6750
        r"|[Bb]asic[ \t][A-Za-z0-9+/]{16,512}={0,2}"  # RFC 7617
        r"|[sr]k_(?:live|test)_\w{16,256}|whsec_\w{16,256}"  # Stripe
        r"|sk-(?:proj-|svcacct-|ant-)?[\w\-]{20,256}"  # OpenAI, Anthropic
        r"|gh[oprsu]_[A-Za-z0-9]{30,255}|github_pat_\w{20,255}|glpat-[\w\-]{16,128}"  # GitHub, GitLab
        r"|(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}(?![A-Za-z0-9])"  # AWS
        r"|AIza[\w\-]{30,64}|ya29\.[\w\-]{16,512}|GOCSPX-[\w\-]{16,64}"  # Google
        r"|xox[abeoprs]-[\w\-]{11,256}|xapp-[\w\-]{11,256}"  # Slack
        r"|SG\.[\w\-]{16,64}\.[\w\-]{16,64}|key-[0-9a-f]{32}|SK[0-9a-f]{32}"  # SendGrid, Mailgun, Twilio
        r"|npm_[A-Za-z0-9]{30,64}|pypi-[\w\-]{16,512}|hf_[A-Za-z0-9]{30,64}|dop_v1_[0-9a-f]{32,64}"
        r"|shp(?:at|ss|ca|pa)_[0-9a-fA-F]{32}|sq0(?:atp|csp)-[\w\-]{20,64}|dapi[0-9a-f]{32}|hvs\.[\w\-]{20,256}"
        r"|NRAK-[A-Z0-9]{27}|lin_api_\w{30,64}|glsa_\w{30,64}|\d{8,10}:AA[\w\-]{33}"
        r"|(?i:password|passwd|pwd(?=[\"']?[ ]?[:=][ ]?[\"']?[^\s/~.])|passphrase|(?:client|app)[ _-]?secret|secret(?:[ _-]?key)?|api[ _-]?key|access[ _-]?key"
        r"|(?:access|auth|refresh|session)[ _-]?token)[\"']?[ ]?[:=][ ]?[\"']?(?=[^\s\"'&]{0,64}\d)[^\s\"'&]{12,256}"
        r")",
        re.ASCII,
    )


# JWT, JWE (RFC 7519): a part is taken whole, so that it is looked at once however many beginnings it has.
_FIRST_PART = re.compile(r"(?<![\w\-])[\w\-]{16,}(?=\.[\w\-]{2})", re.ASCII)
_FIRST_OBJECT = re.compile(r"(?<![A-Za-z0-9])eyJ[\w\-]{13}", re.ASCII)
_MORE_PARTS = re.compile(r"[\w\-]*(?:\.[\w\-]*){1,4}", re.ASCII)
_PEM = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----")


# The prefixes of the pattern above by a sign that each has, so that a text without the sign is soon done with.
_MARKS = {
    "_": (
        *("k_live_", "k_test_", "gho_", "ghp_", "ghr_", "ghs_", "ghu_", "github_pat_", "npm_", "hf_", "dop_v1_", "shp"),
        *("lin_api_", "glsa_", "whsec_"),
    ),
    "-": ("sk-", "glpat-", "GOCSPX-", "xox", "xapp-", "key-", "pypi-", "NRAK-", "sq0"),
    ".": ("SG.", "ya29.", "hvs."),
}
_CAPITAL_MARKS = ("eyJ", "AKIA", "ASIA", "AROA", "AIDA", "AIza", "SK", ":AA")
_OF_KEYS = (string.digits + string.ascii_letters + "_-").encode()
_RUNS = bytes.maketrans(_OF_KEYS, b"t" * len(_OF_KEYS))
#: What begins with one of the marks has so many letters and digits in a row.
_RUN = "t" * 16


def _has_mark(text: str) -> bool:
    has = text.__contains__
    if any(sign in text and any(map(has, marks)) for sign, marks in _MARKS.items()) or "dapi" in text:
        return True
    return not text.islower() and any(map(has, _CAPITAL_MARKS))


def may_hold_secret(text: str, written: bytes) -> bool:
    """Whether a text, written in ASCII, has a prefix of a key, a word that announces a secret, or a key's frame."""
    if _RUN in written.translate(_RUNS).decode() and _has_mark(text):
        return True
    if "earer" in text or "EARER" in text or "asic" in text or "-----BEGIN " in text:
        return True
    if "=" not in text and ":" not in text:
        return False
    small = text.lower()
    return any(word in small for word in ("pass", "pwd", "secret", "token", "key"))


def secrets(text: str) -> Iterator[Span]:
    """Tokens, API keys with a known prefix, private keys (RFC 7468), and values after words such as ``api_key=``."""
    if "-----BEGIN " in text:
        at = 0
        while (begun := _PEM.search(text, at)) is not None:
            ended = _PEM_END.search(text, begun.end())
            at = len(text) if ended is None else ended.end()
            yield begun.start(), at
    if "eyJ" in text:
        for part in _FIRST_PART.finditer(text):
            begun = _FIRST_OBJECT.search(text, part.start(), part.end())
            whole = None if begun is None else _MORE_PARTS.match(text, begun.end())
            if begun is not None and whole is not None:
                yield begun.start(), whole.end()
    yield from (found.span() for found in _secret_pattern().finditer(text))


# A name, encoded or not, and a value up to the next separator; `utm_` names a campaign, no person.
_PARAMETER = re.compile(r"[?&;#\n](?!utm_)([^=?&;#<>\t\r\n]+)=([\"']?[^?&#\s;\"'<>]{1,8192})")
_REST_OF_VALUE = re.compile(r"[^&#\s;\"'<>]*")


def url_parameters(text: str) -> Iterator[Span]:
    """Parameters of a URL's query or fragment, or of a query alone, with a personal name and a value."""
    # A query alone begins with its first parameter.
    query = f"\n{text}"
    at = 0
    while (found := _PARAMETER.search(query, at)) is not None:
        at = found.end()
        name = found[1]
        if is_personal_parameter(unquote(name) if "%" in name else name):
            rest = _REST_OF_VALUE.match(query, at)
            at = at if rest is None else rest.end()
            if found.start() or query[at : at + 1] == "&":
                yield found.start(1) - 1, at - 1
