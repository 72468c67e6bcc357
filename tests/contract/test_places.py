"""Structure passes at its own place alone: personal values at every other place, at every depth, stay here."""

from __future__ import annotations

import html
import json
import os
import random
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, unquote

import pytest

from consentpanel import FieldPolicy, Mixpanel, keep, mask, per_subject, pseudonymous
from consentpanel._mixpanel.names import DICT_OPERATORS, FLAG_IDS, REMOVALS
from consentpanel._mixpanel.structure import PROPERTIES, STRUCTURE, TOP
from consentpanel.policy import Identity, truncate
from consentpanel.registry import MemoryRegistry

CALLS = int(os.environ.get("CONSENTPANEL_HYPOTHESIS_EXAMPLES", "300")) * 3
SECRET = b"0" * 32
MAIL, CARD, PHONE, TOKEN = "bob@mail.example", "4111111111111111", "+44 20 7946 0958", "ghp_" + "a1B2" * 9
UNASKED = "unasked-visitor-7"
ENDPOINTS = ("events", "imports", "people", "groups")
MAPPINGS: list[Callable[[], Identity]] = [pseudonymous, lambda: per_subject({})]


DISGUISES: list[Callable[[str], str]] = [
    str.upper,
    lambda text: "".join(f"%{ord(each):02x}" for each in text),
    lambda text: quote(quote(text.replace("-", "%2D"), safe=""), safe=""),
    lambda text: "".join(f"&#{ord(each)};" for each in text),
    lambda text: f"&#x{ord(text[0]):x};{text[1:]}",
    lambda text: "".join(f"\\u{ord(each):04x}" for each in text),
    lambda text: f"{text[:3]}\u200b{text[3:]}",
    lambda text: "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in text),
]


def decoded(text: str) -> Iterator[str]:
    """What a text says after any number of decodings."""
    for _ in range(8):
        yield text.lower()
        seen = unicodedata.normalize("NFKC", text.replace("\u200b", ""))
        escapes = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), seen)
        text = unquote(html.unescape(escapes))


class Sink:
    """A consumer that keeps the last message that it gets."""

    def __init__(self) -> None:
        self.text: str | None = None

    def send(self, endpoint: str, json_message: str, api_key: Any = None) -> None:
        del endpoint, api_key
        self.text = json_message


class Fuzzer:
    """Draws calls that put a personal value where the vendor's own code writes something, or anywhere below."""

    def __init__(self, seed: int, subject: str) -> None:
        self.random = random.Random(seed)
        self.subject = subject
        every = {name for places in STRUCTURE.values() for names in places.values() for name in names}
        self.structural = sorted(every | FLAG_IDS)
        self.names = [
            *self.structural,
            *sorted(DICT_OPERATORS | REMOVALS),
            "event",
            "properties",
            "plan",
            "note",
            "ctx",
            "cut",
            "covered",
            "DISTINCT_ID",
        ]

    def personal(self) -> Any:
        subject = self.subject
        texts = [
            subject,
            f"to {subject}, now",
            f"/u/{quote(subject, safe='')}/x",
            MAIL,
            f"for {MAIL}",
            CARD,
            PHONE,
            TOKEN,
        ]
        others = [int(CARD), {subject: 1}, [subject, MAIL], {MAIL: {"time": subject}}, {self.disguised(subject): 1}]
        return self.random.choice([*texts, *others, *(self.disguised(each) for each in (subject, subject, MAIL, CARD))])

    def disguised(self, text: str) -> str:
        """A personal value as pages, links, structures and keyboards write it."""
        draw = self.random.choice
        for disguise in self.random.sample(DISGUISES, k=draw([1, 1, 2])):
            text = disguise(text)
        return draw(
            ["{}", "/login?next=%2Fu%2F{}%2Fprofile", "\u7528\u6237{}\u5df2\u767b\u5f55", '{{"id": "{}"}}', "of {}!"]
        ).format(text)

    def value(self, name: str, depth: int = 0) -> Any:
        kind = self.random.random()
        if name in FLAG_IDS and kind < 0.5:
            known = [self.subject, self.subject, UNASKED] if depth else [self.subject]
            return [self.random.choice(known)] if name == "$distinct_ids" else self.random.choice(known)
        if depth < 4 and kind < 0.7:
            inner = self.properties(depth + 1)
            return [inner] if self.random.random() < 0.4 else inner
        return self.personal()

    def properties(self, depth: int = 0) -> dict[str, Any]:
        names = self.random.choices([*self.names, self.subject, MAIL, "plan", "note", "ctx", "ctx"], k=3)
        return {self.cased(name): self.value(name, depth) for name in names[: self.random.randint(1, 3)]}

    def cased(self, name: str) -> str:
        return name.upper() if self.random.random() < 0.05 else name

    def call(self, mp: Mixpanel) -> Any:
        draw, subject = self.random.choice, self.subject
        meta = draw([None, None, self.properties()])
        said = self.properties()
        operator = draw(sorted(DICT_OPERATORS))
        removed = draw([said, self.personal(), [subject, MAIL, "plan", 7], ""])
        event = draw(["Paid", f"Paid by {subject}", f"Mail to {MAIL}", "plan"])
        group = draw(["acme", CARD, MAIL, f"by {PHONE}"])
        more = {name: value for name, value in (meta or {}).items() if name.lower() != "properties"}
        calls: list[Callable[[], Any]] = [
            lambda: mp.track(subject, event, said, meta),
            lambda: mp.import_data(None, subject, event, 1_700_000_000, said, meta),
            lambda: mp.alias(subject, subject, meta),
            lambda: mp.merge(None, subject, subject, meta),
            lambda: mp.people_update({"$distinct_id": subject, operator: said, draw(sorted(REMOVALS)): removed}, meta),
            lambda: mp.people_update({"$distinct_id": subject, operator: said}, meta),
            lambda: mp.people_unset(subject, removed, meta),
            lambda: mp.people_track_charge(subject, 5, said, meta),
            lambda: mp.group_set("company", group, said, None if meta is None else {"$ip": MAIL, **meta}),
            lambda: mp.group_delete("company", group, meta),
            lambda: mp._consumer.send(
                draw(["events", "imports"]),
                json.dumps({"event": event, "properties": {**said, "distinct_id": subject}, **more}),
            ),
            lambda: mp._consumer.send("people", json.dumps({operator: said, **more, "$distinct_id": subject})),
        ]
        return draw(calls)()


def texts_in(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield name
            yield from texts_in(value)
    elif isinstance(tree, list):
        for each in tree:
            yield from texts_in(each)
    else:
        yield str(tree)


def personal_parts(text: str, subject: str) -> list[str]:
    """The personal values of the fuzzer that stand in a message."""
    known = [subject[:12], MAIL, CARD, PHONE, TOKEN, UNASKED]
    said = {form for each in texts_in(json.loads(text)) for form in decoded(each)}
    return [each for each in known for form in said if each.lower() in form]


@pytest.mark.slow
@pytest.mark.parametrize("subject", ["visitor-123456", "ada.lovelace@shop.example"])
@pytest.mark.parametrize("mapping", MAPPINGS, ids=["pseudonymous", "per_subject"])
def test_no_place_lets_a_personal_value_out(subject: str, mapping: Callable[[], Identity]) -> None:
    # rules 2.7, 2.9, 2.10, 3.4, 3.7, 3.9, 3.10 and 4.2
    rules = {"plan": keep(), "note": keep(), "ctx": keep(deep=True), "cut": truncate(13), "covered": mask(10)}
    opened = {"ctx.$user_id": keep(), "DISTINCT_ID": keep()}
    rules, groups = {**rules, **opened}, rules
    policy = FieldPolicy.no_personal_data(rules, people=rules, groups=groups, secret=SECRET)
    registry, sink, fuzzer = MemoryRegistry(), Sink(), Fuzzer(7, subject)
    registry.grant(subject)
    mp = Mixpanel("TOKEN", sink, registry=registry, policy=policy, identity=mapping())
    sent = 0
    for _ in range(CALLS):
        sink.text = None
        decision = fuzzer.call(mp)
        told = f"{decision!r}{decision.as_dict()}"
        # A group's message names nobody, so that nothing tells an id in it from any other text.
        known = MAIL if decision.endpoint == "groups" else subject
        assert not [each for each in (known, MAIL, CARD, PHONE, TOKEN, UNASKED) if each in told], told
        if sink.text is not None:
            sent += 1
            assert not personal_parts(sink.text, known), sink.text
    assert sent > CALLS / 10


@pytest.mark.parametrize("endpoint", [*ENDPOINTS, "flags"])
def test_the_table_of_places_names_what_the_vendors_own_code_writes_and_nothing_else(endpoint: str) -> None:
    # rule 3.4
    places = STRUCTURE[endpoint]
    assert places[TOP].keys() | places[PROPERTIES].keys() <= {
        *FLAG_IDS,
        *("token", "$token", "time", "$time", "$insert_id", "mp_lib", "$lib_version", "$ignore_time", "$ignore_alias"),
        *("$group_key", "$group_id"),
    }
