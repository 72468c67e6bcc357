"""A labelled set of texts: personal ones by kind and context, and harmless ones that look like them. Needs Faker.

Everything is made up; the same seed makes the same set.
"""

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import NamedTuple
from urllib.parse import quote

from faker import Faker

LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "pt_BR", "sv_SE")
_WORDS = (
    "blue shoes winter summer sale plan starter guide travel kitchen garden music monthly annual beta rocket".split()
)
_HEX = "0123456789abcdef"
_PER_LOCALE = 28


class Labelled(NamedTuple):
    """A text, what it holds (None for nothing), and where or as what it stands."""

    text: str
    kind: str | None
    group: str


def personal(seed: int = 1) -> Iterator[Labelled]:
    """Texts that hold one piece of personal data, in plain form, in sentences and in URLs."""
    rng = random.Random(seed)  # noqa: S311 - a repeatable set, no secret
    for locale in LOCALES:
        fake = Faker(locale)
        fake.seed_instance(seed)
        for kind, make in _PERSONAL.items():
            for _ in range(_PER_LOCALE // 4):
                value = make(fake, rng)
                yield Labelled(value, kind, "plain")
                value = make(fake, rng)
                yield Labelled(rng.choice(_SENTENCES).format(value), kind, "sentence")
                if kind == "url_parameter":
                    continue
                value = make(fake, rng)
                yield Labelled(f"https://shop.example/search?q={quote(value, safe='')}&page=2", kind, "url")
                value = make(fake, rng)
                twice = quote(quote(value, safe=""), safe="")
                yield Labelled(f"/go?to=%2Ffind%3Fq%3D{twice}", kind, "url, encoded twice")


def harmless(seed: int = 2, each: int = 200) -> Iterator[Labelled]:
    """Texts that hold nothing personal, by class."""
    rng = random.Random(seed)  # noqa: S311 - a repeatable set, no secret
    fake = Faker("en_US")
    fake.seed_instance(seed)
    for group, make in _HARMLESS.items():
        for _ in range(each):
            yield Labelled(make(fake, rng), None, group)


_SENTENCES = (
    "Please write to {} about the order",
    "my contact is {}, thanks",
    "customer said: {}",
    "({}) was given at checkout",
    "Ref {} - see ticket.",
    "{}",
    "I changed it to {}.",
)


def _phone(fake: Faker, rng: random.Random) -> str:
    # Digits alone are no telephone number to anybody: they could be an order.
    while True:
        number = str(fake.phone_number())
        if not number.isdigit():
            return number


def _ssn(fake: Faker, rng: random.Random) -> str:
    area = rng.choice([number for number in range(1, 900) if number != 666])
    separator = rng.choice("---- ")
    return separator.join((f"{area:03}", f"{rng.randint(1, 99):02}", f"{rng.randint(1, 9999):04}"))


def _card(fake: Faker, rng: random.Random) -> str:
    number = str(fake.credit_card_number())
    separator = rng.choice(("", "", " ", "-"))
    if not separator or len(number) not in {15, 16}:
        return number
    cuts = (4, 10) if len(number) == 15 else (4, 8, 12)
    parts = [number[start:end] for start, end in zip((0, *cuts), (*cuts, None), strict=True)]
    return separator.join(parts)


def _iban(fake: Faker, rng: random.Random) -> str:
    number = str(fake.iban())
    return " ".join(number[at : at + 4] for at in range(0, len(number), 4)) if rng.random() < 0.3 else number


def _email(fake: Faker, rng: random.Random) -> str:
    return str(rng.choice((fake.email, fake.company_email, fake.free_email, fake.safe_email))())


def _ip(fake: Faker, rng: random.Random) -> str:
    return str(rng.choice((fake.ipv4, fake.ipv4_private, fake.ipv4_public, fake.ipv6))())


def _chars(rng: random.Random, count: int, of: str = string.ascii_letters + string.digits) -> str:
    return "".join(rng.choices(of, k=count))


def _secret(fake: Faker, rng: random.Random) -> str:
    def encoded(said: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")

    jwt = ".".join(
        (encoded({"alg": "HS256", "typ": "JWT"}), encoded({"sub": str(rng.randint(1, 10**9))}), _chars(rng, 43))
    )
    return rng.choice(
        (
            jwt,
            f"Bearer {_chars(rng, 40)}",
            f"sk_live_{_chars(rng, 24)}",
            f"ghp_{_chars(rng, 36)}",
            f"AKIA{_chars(rng, 16, string.ascii_uppercase + '234567')}",
            f"xoxb-{_chars(rng, 12, string.digits)}-{_chars(rng, 24)}",
            f"AIza{_chars(rng, 35)}",
            f"SG.{_chars(rng, 22)}.{_chars(rng, 43)}",
            f"glpat-{_chars(rng, 20)}",
            f"sk-proj-{_chars(rng, 40)}",
            f"-----BEGIN PRIVATE KEY-----\n{_chars(rng, 64)}\n-----END PRIVATE KEY-----",
            f"api_key={_chars(rng, 31)}7",
        )
    )


def _parameter(fake: Faker, rng: random.Random) -> str:
    name, value = rng.choice(
        (
            ("email", "x%40y"),
            ("phone", "unknown"),
            ("first_name", fake.first_name()),
            ("lastName", fake.last_name()),
            ("username", fake.user_name()),
            ("token", _chars(rng, 10)),
            ("access_token", _chars(rng, 12)),
            ("password", _chars(rng, 8)),
            ("session_id", _chars(rng, 12)),
            ("user[name]", fake.first_name()),
            ("dob", fake.date()),
            ("address", fake.street_name()),
        )
    )
    return f"https://shop.example/{rng.choice(_WORDS)}?page={rng.randint(1, 9)}&{name}={quote(str(value), safe='%')}"


_PERSONAL: dict[str, Callable[[Faker, random.Random], str]] = {
    "email": _email,
    "phone": _phone,
    "payment_card": _card,
    "iban": _iban,
    "ip_address": _ip,
    "us_ssn": _ssn,
    "secret": _secret,
    "url_parameter": _parameter,
}


def _moment(rng: random.Random) -> datetime:
    return datetime(2020, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=rng.randint(0, 250_000_000))


def _iso(fake: Faker, rng: random.Random) -> str:
    moment = _moment(rng)
    return rng.choice(
        (
            moment.isoformat(),
            moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            moment.strftime("%Y-%m-%d %H:%M:%S.%f"),
            moment.strftime("%Y-%m-%d"),
            moment.astimezone(timezone(timedelta(hours=rng.randint(-11, 12)))).isoformat(timespec="milliseconds"),
            moment.strftime("%d.%m.%Y"),
            moment.strftime("%d/%m/%Y %H:%M"),
            moment.strftime("%Y%m%d%H%M%S"),
        )
    )


def _range(fake: Faker, rng: random.Random) -> str:
    first, last = sorted((_moment(rng), _moment(rng)))
    return rng.choice(
        (
            f"{first:%H:%M}-{last:%H:%M}",
            f"{first:%H:%M} - {last:%H:%M}",
            f"{first:%H%M}-{last:%H%M}",
            f"{first:%Y-%m-%d}/{last:%Y-%m-%d}",
            f"{first:%Y-%m-%d} - {last:%Y-%m-%d}",
            f"{first:%d.%m.%Y} - {last:%d.%m.%Y}",
            f"{first:%d.%m.} - {last:%d.%m.%Y}",
            f"{first:%Y}-{last:%Y}",
        )
    )


def _price(fake: Faker, rng: random.Random) -> str:
    amount = rng.randint(1, 10**7) / 100
    return rng.choice(
        (
            f"{amount:.2f}",
            f"${amount:,.2f}",
            f"{amount:,.2f} EUR",
            f"{amount:,.2f}".replace(",", " ").replace(".", ",") + " zł",
            f"{amount:,.2f}".translate(str.maketrans(",.", ".,")) + " €",
            f"{amount * 1000:,.0f}".replace(",", "'") + ".00 CHF",
            f"{amount:.2f}-{amount + 50:.2f}",
        )
    )


def _order(fake: Faker, rng: random.Random) -> str:
    return rng.choice(
        (
            f"ORD-{rng.randint(2020, 2026)}-{rng.randint(0, 999999):06}",
            f"{rng.randint(100, 999)}-{rng.randint(0, 9999999):07}-{rng.randint(0, 9999999):07}",
            f"#{rng.randint(1000, 99999999)}",
            f"INV{rng.randint(10**7, 10**8)}",
            f"{rng.randint(10**9, 10**10)}",
            f"SO-{rng.randint(10**4, 10**5)}/{rng.randint(1, 12)}",
            f"100{rng.randint(10**5, 10**6)}-{rng.randint(1, 9)}",
        )
    )


def _version(fake: Faker, rng: random.Random) -> str:
    return rng.choice(
        (
            f"{rng.randint(60, 140)}.0.{rng.randint(1000, 7000)}.{rng.randint(1, 250)}",
            f"{rng.randint(0, 20)}.{rng.randint(0, 30)}.{rng.randint(0, 30)}",
            f"v{rng.randint(0, 9)}.{rng.randint(0, 9)}.{rng.randint(0, 9)}.{rng.randint(0, 9)}",
            f"{rng.randint(1, 9)}.{rng.randint(0, 9)}.{rng.randint(0, 9)}-rc.{rng.randint(1, 9)}",
            f"10.0.{rng.randint(10000, 22000)}.{rng.randint(1, 3000)}",
            f"{rng.randint(2020, 2026)}.{rng.randint(1, 12)}.{rng.randint(0, 9)}+build.{rng.randint(1000, 9999)}",
        )
    )


def _agent(fake: Faker, rng: random.Random) -> str:
    return str(rng.choice((fake.chrome, fake.firefox, fake.safari, fake.opera, fake.internet_explorer))())


def _sku(fake: Faker, rng: random.Random) -> str:
    letters = _chars(rng, 3, string.ascii_uppercase)
    return rng.choice(
        (
            f"{letters}-{rng.randint(1000, 9999)}-{_chars(rng, 2, string.ascii_uppercase)}",
            f"{letters}{rng.randint(10**5, 10**6)}",
            f"{rng.randint(10, 99)}-{rng.randint(100, 999)}-{_chars(rng, 1, string.ascii_uppercase)}",
            f"978-{rng.randint(0, 9)}-{rng.randint(10, 99)}-{rng.randint(100000, 999999)}-{rng.randint(0, 9)}",
            str(fake.ean13()),
        )
    )


def _coordinates(fake: Faker, rng: random.Random) -> str:
    latitude, longitude = rng.uniform(-90, 90), rng.uniform(-180, 180)
    return rng.choice(
        (
            f"{latitude:.6f},{longitude:.6f}",
            f"{latitude:.4f}, {longitude:.4f}",
            f"{latitude:.5f} {longitude:.5f}",
            f"{latitude}",
            f"geo:{latitude:.6f},{longitude:.6f}",
        )
    )


def _utm(fake: Faker, rng: random.Random) -> str:
    source = rng.choice(("newsletter", "google", "partner", "email"))
    return (
        f"utm_source={source}&utm_medium={rng.choice(('email', 'cpc', 'social'))}"
        f"&utm_campaign={rng.choice(_WORDS)}_{rng.randint(2020, 2026)}&utm_content={rng.choice(_WORDS)}%20{rng.randint(1, 99)}"
    )


def _path(fake: Faker, rng: random.Random) -> str:
    return rng.choice(
        (
            f"/{rng.choice(_WORDS)}/{rng.choice(_WORDS)}-{rng.randint(1, 10**6)}",
            f"/{rng.choice(_WORDS)}/{rng.randint(1, 10**7)}/edit?tab={rng.choice(_WORDS)}",
            f"/api/v{rng.randint(1, 3)}/{rng.choice(_WORDS)}/{uuid.UUID(int=rng.getrandbits(128))}",
            f"https://shop.example/{rng.choice(_WORDS)}?page={rng.randint(1, 50)}&sort=price&dir=asc",
            f"/static/{rng.choice(_WORDS)}@{rng.choice('23')}x.png",
            f"C:\\Program Files\\{rng.choice(_WORDS)}\\{rng.choice(_WORDS)}.exe",
        )
    )


def _handle(fake: Faker, rng: random.Random) -> str:
    return f"@{rng.choice((fake.user_name(), fake.user_name().replace('.', '_'), rng.choice(_WORDS)))}"


def _package(fake: Faker, rng: random.Random) -> str:
    return rng.choice(
        (
            f"com.example.{rng.choice(_WORDS)}.{rng.choice(_WORDS)}",
            f"@{rng.choice(_WORDS)}/{rng.choice(_WORDS)}",
            f"{rng.choice(_WORDS)}@{rng.randint(1, 20)}.{rng.randint(0, 20)}.{rng.randint(0, 20)}",
            f"{rng.choice(_WORDS)}=={rng.randint(1, 20)}.{rng.randint(0, 20)}",
            f"std::{rng.choice(_WORDS)}::{rng.choice(_WORDS)}",
            f"{rng.choice(_WORDS)}.{rng.choice(_WORDS)}.Service",
        )
    )


def _imei(fake: Faker, rng: random.Random) -> str:
    digits = rng.choice(("35", "86", "01", "99")) + _chars(rng, 12, string.digits)
    total = sum(sum(divmod(2 * int(digit), 10)) if place % 2 else int(digit) for place, digit in enumerate(digits))
    digits += str(-total % 10)
    return rng.choice((digits, digits, f"{digits[:2]}-{digits[2:8]}-{digits[8:14]}-{digits[14]}"))


def _dimensions(fake: Faker, rng: random.Random) -> str:
    a, b, c = (rng.randint(1, 4000) for _ in range(3))
    return rng.choice((f"{a}x{b}", f"{a} x {b} x {c} mm", f"{a}\u00d7{b}", f"{a}/{b}", f"{a}:{b}", f"{a}px {b}px"))


_HARMLESS: dict[str, Callable[[Faker, random.Random], str]] = {
    "UUIDs": lambda fake, rng: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
    "order numbers": _order,
    "prices": _price,
    "ISO times": _iso,
    "Unix times": lambda fake, rng: str(int(_moment(rng).timestamp())),
    "Unix times in ms": lambda fake, rng: str(int(_moment(rng).timestamp() * 1000) + rng.randint(0, 999)),
    "versions": _version,
    "SKUs": _sku,
    "slugs": lambda fake, rng: "-".join(rng.choices(_WORDS, k=rng.randint(1, 5))) + f"-{rng.randint(1, 2026)}",
    "user agents": _agent,
    "hex digests": lambda fake, rng: _chars(rng, rng.choice((32, 40, 64)), _HEX),
    "coordinates": _coordinates,
    "UTM strings": _utm,
    "paths": _path,
    "dimensions": _dimensions,
    "numbers of 16 to 19 digits": lambda fake, rng: str(rng.randint(10**15, 10 ** rng.randint(16, 19) - 1)),
    "IMEIs": _imei,
    "social handles": _handle,
    "package names": _package,
    "time ranges": _range,
    "sentences": lambda fake, rng: str(fake.sentence()),
    "names of things": lambda fake, rng: " ".join(rng.choices(_WORDS, k=2)).title(),
    "base64": lambda fake, rng: base64.b64encode(rng.randbytes(rng.randint(6, 30))).decode(),
    "ratios and scores": lambda fake, rng: (
        f"{rng.randint(0, 100)}% ({rng.randint(1, 5000)} of {rng.randint(5000, 9000)})"
    ),
}
