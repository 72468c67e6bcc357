"""`demo`: a small shop, and a table of what the vendor's server received of it."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from consentpanel._cli._demo.shop import CALLS, NEVER_NAMED, POLICY, POLICY_VERSION, SECRET_MARK, Call, Shop, outcome_of
from consentpanel._jobs._job import Job
from consentpanel._jobs._saying import complain, say, say_json
from consentpanel._messages.decision import Decision, Outcome
from consentpanel._mixpanel import vendor
from consentpanel.policy import FieldPolicy
from consentpanel.testing._ingestion_api import IngestionServer, Received
from consentpanel.testing._loopback import loopback_without_proxy

_TOKEN = "demo-project-token"  # noqa: S105 (no project has it)
_STRUCTURAL = frozenset({"event", "properties", "token", "distinct_id", "time", "$insert_id", "mp_lib", "$lib_version"})
_STRUCTURAL_OF_PROFILES = frozenset({"$token", "$distinct_id", "$time", "$group_key", "$group_id"})

DESCRIPTION = "Make a small shop's calls, on this machine only, and show what the vendor's server receives."
EPILOG = "exit codes: 0 exactly what may be disclosed was received; 1 something else was."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `demo`."""
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")


def run(arguments: argparse.Namespace) -> int:
    """Make the shop's calls, print what was received, and say whether it is right.

    Returns:
        0 when the server received exactly what it must, 1 otherwise.
    """
    try:
        visit = visit_shop(POLICY)
    except (vendor.MixpanelException, OSError) as error:
        complain(f"wrong: the shop could not make its calls: {type(error).__name__}")
        return 1
    problems = visit.problems()
    if arguments.json:
        say_json(visit.as_json(problems))
    else:
        say(*visit.as_text().splitlines())
    for problem in problems:
        complain(f"wrong: {problem}")
    return 1 if problems else 0


@attrs.frozen
class Made:
    """A call that was made, what the client answered, and what of it the server received."""

    call: Call
    decision: Decision
    arrived: tuple[Received, ...]

    @property
    def properties(self) -> Mapping[str, Any]:
        """What arrived, without the vendor's structural properties."""
        return _properties(self.arrived[0]) if self.arrived else {}

    @property
    def received(self) -> Outcome:
        """What became of the call, as the server sees it."""
        return outcome_of(self.call.says, self.properties if self.arrived else None)

    def problems(self) -> list[str]:
        """How this differs from what must come of the call."""
        expected = self.call.arrives
        found = []
        if len(self.arrived) != (expected is not None):
            found.append(f"{len(self.arrived)} messages arrived instead of {int(expected is not None)}")
        elif expected is not None and self.properties != expected:
            found.append("other properties arrived than may")
        elif expected is not None and _subject(self.arrived[0]) != self.call.person.subject_id:
            found.append("it arrived for somebody else")
        if (self.decision.outcome, self.received) != (self.call.outcome, self.call.outcome):
            found.append(f"it must be {self.call.outcome}, the client says {self.decision.outcome}")
        if self.decision.reason is not self.call.reason:
            found.append(f"the reason must be {self.call.reason}, the client says {self.decision.reason}")
        return found


@attrs.frozen
class Visit:
    """All calls of the shop, and all bytes that the server received."""

    made: Sequence[Made]
    raw_requests: Sequence[bytes]
    message_count: int

    def problems(self) -> list[str]:
        """Everything that is not as it must be; empty when all is right."""
        found = [
            f"call {number}, {made.call.title}: {problem}"
            for number, made in enumerate(self.made, 1)
            for problem in made.problems()
        ]
        expected_count = sum(call.arrives is not None for call in CALLS)
        if self.message_count != expected_count:
            found.append(f"{self.message_count} messages were received in all instead of {expected_count}")
        received = b"\n".join(self.raw_requests)
        if SECRET_MARK.encode() in received:
            found.append("a value that may not be disclosed is in the bytes received")
        if any(person.subject_id.encode() in received for person in NEVER_NAMED):
            found.append("an id of somebody who said no is in the bytes received")
        return found

    def as_json(self, problems: Sequence[str]) -> dict[str, Any]:
        """The visit for machines."""
        return {
            "ok": not problems,
            "problems": list(problems),
            "messages_received": self.message_count,
            "bytes_received": sum(map(len, self.raw_requests)),
            "calls": [
                {
                    "call": made.call.title,
                    "person": made.call.person.subject_id,
                    "consent": made.call.person.consent,
                    "received": made.received.value,
                    "reason": made.decision.reason.value,
                    "rule": made.call.rule,
                    "arrived": dict(made.properties),
                    "left_out": dict(made.decision.dropped),
                    "changed": dict(made.decision.changed),
                }
                for made in self.made
            ],
        }

    def as_text(self) -> str:
        """The visit for people, at most 100 columns wide."""
        lines = [
            f"A shop made {len(self.made)} calls. This is what the vendor's server, here on loopback, received.",
            "",
            f"{'':>2}  {'CALL':<26}{'PERSON':<11}{'CONSENT':<17}{'RECEIVED':<10}{'WHY':<17}RULE",
        ]
        for number, made in enumerate(self.made, 1):
            call, decision = made.call, made.decision
            lines.append(
                f"{number:>2}  {call.title:<26}{call.person.subject_id:<11}{call.person.consent:<17}"
                f"{made.received.value:<10}{decision.reason.value:<17}{call.rule}"
            )
            if made.arrived:
                lines.append(_detail("arrived", _shown(made.properties)))
                for title, paths in (("left out", decision.dropped), ("changed", decision.changed)):
                    if paths:
                        lines.append(_detail(title, ", ".join(f"{path} ({cause})" for path, cause in paths.items())))
        counts = {outcome: sum(made.received is outcome for made in self.made) for outcome in Outcome}
        said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        size = sum(map(len, self.raw_requests))
        lines += ["", f"{said}: {self.message_count} messages in {len(self.raw_requests)} requests, {size:,} bytes."]
        if not self.problems():
            lines.append("Checked: exactly what may be disclosed arrived, and no other value is in those bytes.")
        return "\n".join(lines)


def visit_shop(policy: FieldPolicy) -> Visit:
    """Open a shop beside a vendor's server of its own, make every call, and close both.

    Args:
        policy: What the shop may disclose.
    """
    from consentpanel import BufferedConsumer, Consumer, Mixpanel
    from consentpanel.registry import SQLiteRegistry

    later: list[Decision] = []
    with (
        loopback_without_proxy(),
        IngestionServer() as server,
        tempfile.TemporaryDirectory(prefix="consentpanel-demo-") as directory,
    ):
        registry = SQLiteRegistry(Path(directory, "consent.db"), required_policy_version=POLICY_VERSION)
        direct = Consumer(**server.urls, request_timeout=10)
        buffer = BufferedConsumer(**server.urls, request_timeout=10)
        shop = Shop(
            mp=Mixpanel(_TOKEN, direct, registry=registry, policy=policy),
            buffered=Mixpanel(_TOKEN, buffer, registry=registry, policy=policy, observers=[later.append]),
            buffer=buffer,
            registry=registry,
        )
        try:
            shop.ask_everybody()
            made = [_make(call, shop, server) for call in CALLS]
            shop.eva_withdraws()
        finally:
            registry.close()
        messages = server.messages
        made = [_with_flush(one, messages, later) if one.call.is_buffered else one for one in made]
        return Visit(made, server.raw_requests, len(messages))


def _make(call: Call, shop: Shop, server: IngestionServer) -> Made:
    before = len(server.messages)
    decision = call.make(shop)
    return Made(call, decision, tuple(server.messages[before:]))


def _with_flush(made: Made, messages: Sequence[Received], later: Sequence[Decision]) -> Made:
    """A buffered call as it stands after the flush; the table would otherwise show what was only intended."""
    call = made.call
    mine = (call.event, call.person.subject_id)
    arrived = tuple(message for message in messages if (message.payload.get("event"), _subject(message)) == mine)
    discarded = [decision for decision in later if decision.outcome is Outcome.DROPPED and decision.event == call.event]
    return Made(call, discarded[-1] if discarded and not arrived else made.decision, (*made.arrived, *arrived))


def _properties(message: Received) -> dict[str, Any]:
    if message.endpoint in {"events", "imports"}:
        said = {**message.payload, **message.payload["properties"]}
        return {name: value for name, value in said.items() if name not in _STRUCTURAL}
    return {name: value for name, value in message.payload.items() if name not in _STRUCTURAL_OF_PROFILES}


def _subject(message: Received) -> object:
    if message.endpoint in {"events", "imports"}:
        return message.payload["properties"].get("distinct_id")
    return message.payload.get("$distinct_id", message.payload.get("$group_id"))


def _shown(properties: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={json.dumps(value)}" for name, value in properties.items())


def _detail(title: str, text: str) -> str:
    return f"{'':>6}{title}: {text}"


JOB = Job(
    name="demo",
    summary="make a small shop's calls and show what the vendor would receive",
    description=DESCRIPTION,
    exit_codes=EPILOG,
    add_arguments=add_arguments,
    run=run,
)
