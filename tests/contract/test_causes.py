"""Why a property was dropped or changed: one enum, which code and reference share (rule 4.4)."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path

import pytest

import consentpanel
from consentpanel import Cause, Decision, FieldPolicy, Mixpanel, Outcome, Purpose, Reason, keep, pseudonymize, redact
from consentpanel.policy import KINDS, Detector
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

ROOT = Path(__file__).parents[2]
SOURCE = Path(consentpanel.__file__).parent


def decide(policy: FieldPolicy, properties: dict[str, object]) -> Decision:
    registry = MemoryRegistry()
    registry.grant("user-1")
    return Mixpanel("TOKEN", FakeTransport(), registry=registry, policy=policy).track("user-1", "Paid", properties)


def explained() -> dict[str, str]:
    page = (ROOT / "docs/reference/decisions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z_:<>]+)` \| (.+) \|$", page, re.MULTILINE)
    return {name.removesuffix(":<kind>"): meaning for name, meaning in rows}


@pytest.mark.skipif(not (ROOT / "docs").exists(), reason="the docs are not there")
def test_the_reference_explains_each_cause_as_the_code_does():
    assert explained() == {cause.value: cause.meaning for cause in Cause}  # rule 4.4


def test_each_cause_is_given_somewhere_in_the_code():
    # rule 4.4: none is explained that no code says
    said = "".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py") if path.name != "report.py")
    by_name = set(re.findall(r"Cause\.([A-Z_]+)", said)) | {"DETECTED"}
    by_action = set(re.findall(r'name: ClassVar\[str\] = "([a-z]+)"', said))
    by_reason = {"WITHDRAWN", "EXPIRED", "OUTDATED_POLICY", "NO_CONSENT_THEN", "REGISTRY_ERROR", "NOT_CONFIGURED"}
    given = {cause for cause in Cause if cause.name in by_name | by_reason or cause.value in by_action}
    assert given == set(Cause)


def test_a_reason_that_can_forbid_is_a_cause_beside_a_removal():
    # rule 2.9: the rest of a mixed update is dropped for the reason that forbids it
    registry = MemoryRegistry()
    registry.deny("user-1")
    mp = Mixpanel("TOKEN", FakeTransport(), registry=registry, policy=FieldPolicy(people={"plan": keep()}))
    decision = mp.people_update({"$distinct_id": "user-1", "$unset": ["a"], "$set": {"plan": "pro"}})
    assert decision.dropped == {"$set": Cause.WITHDRAWN}


def test_what_a_decision_says_are_causes():
    policy = FieldPolicy(events={"plan": keep(), "note": keep(), "coupon": redact()})
    said = {"plan": "pro", "note": "to ada@shop.example", "coupon": "ADA", "more": 1, "own": {1, 2}}
    decision = decide(policy, said)
    assert decision.dropped == {"more": Cause.UNNAMED, "own": Cause.UNNAMED}
    assert decision.changed == {"note": "detected:email", "coupon": Cause.REDACT}
    for cause in (*decision.dropped.values(), *decision.changed.values()):
        assert isinstance(cause, Cause)  # rule 4.4
    assert decision.changed["note"].kind == "email"


def test_a_cause_is_its_own_word():
    # rule 4.4: a str
    for cause in (*Cause, Cause.detected("email"), Cause("detected:member_number")):
        word = cause.value
        assert (str(cause), f"{cause}", repr(cause)) == (word, word, repr(word))
        assert cause == word
        assert hash(cause) == hash(word)
        assert json.dumps({"cause": cause}) == json.dumps({"cause": word})
        assert cause.meaning
        assert pickle.loads(pickle.dumps(cause)) == copy.deepcopy(cause) == cause


def test_the_kind_of_a_cause_is_what_a_detector_found():
    assert {Cause.detected(kind).kind for kind in KINDS} == set(KINDS)
    assert {cause.kind for cause in Cause} == {None}


def test_an_unknown_word_is_no_cause():
    for word in ("shouted", "", "email", 7, None):
        with pytest.raises(ValueError, match="is not a valid Cause"):
            Cause(word)


def test_a_detector_of_ones_own_is_told_as_a_cause():
    policy = FieldPolicy(
        events={"note": keep()}, detectors=[Detector("member_number", re.compile("M-[0-9]+"))], on_detect="drop"
    )
    cause = decide(policy, {"note": "for M-1"}).dropped["note"]
    assert (type(cause), cause, cause.kind) == (Cause, "detected:member_number", "member_number")


def test_a_decision_is_json():
    # rule 4.4
    policy = FieldPolicy(events={"note": keep(on_detect="report"), "card": pseudonymize()}, secret=b"0" * 32)
    decision = decide(policy, {"note": "ada@shop.example", "card": 1, "more": {"a": 1}})
    said = json.loads(json.dumps(decision.as_dict()))
    assert said == {
        "outcome": "redacted",
        "reason": "consent_granted",
        "endpoint": "events",
        "event": "Paid",
        "purpose": "analytics",
        "status": "granted",
        "dropped": {"more": "unnamed"},
        "changed": {"card": "pseudonymize"},
        "detected": {"note": "email"},
        "problem": "",
    }
    words = [value for value in decision.as_dict().values() if not isinstance(value, dict)]
    assert {type(word) for word in words} == {str}


class Encoder(json.JSONEncoder):
    """Asks an object for its JSON, as Celery's encoder does (kombu.utils.json)."""

    def default(self, o):
        return o.__json__()


def test_a_decision_can_be_the_result_of_a_task():
    # rule 4.4
    decision = decide(FieldPolicy(), {"plan": "pro"})
    assert json.loads(json.dumps(decision, cls=Encoder)) == decision.as_dict()


def test_what_a_decision_lacks_is_null_as_json():
    said = Decision(outcome=Outcome.DROPPED, reason=Reason.INVALID_ID, endpoint="people").as_dict()
    assert (said["event"], said["purpose"], said["status"], said["dropped"]) == (None, None, None, {})
    assert (
        Decision(
            outcome=Outcome.SENT, reason=Reason.NOT_DENIED, endpoint="events", purpose=Purpose("targeting")
        ).as_dict()["purpose"]
        == "targeting"
    )
