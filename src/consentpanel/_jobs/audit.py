"""`python -m consentpanel audit`: holds a configuration to what the published policy promises."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import attrs

import consentpanel
from consentpanel._jobs._job import Job
from consentpanel._jobs._loading import for_client, load
from consentpanel._jobs._saying import print_json, say, say_json
from consentpanel._jobs._usage import usable
from consentpanel.client import Mixpanel
from consentpanel.errors import ConfigurationError
from consentpanel.policy import FieldPolicy
from consentpanel.transparency import Breach, Promises, Vendor, audit
from consentpanel.transparency._files import read_text

DESCRIPTION = "List each place where the configuration breaks a promise of the published privacy policy."
EPILOG = "exit codes: 0 every promise that can be checked is kept; 1 one is broken; 2 wrong usage."


def add_arguments(parser: argparse.ArgumentParser, client: object = None) -> None:
    """Declares the options; none for the client where that is given."""
    parser.set_defaults(client=client, policy=None)
    if client is None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--client", metavar="MODULE:ATTRIBUTE", help="the Mixpanel client")
        what.add_argument(
            "--policy", metavar="MODULE:ATTRIBUTE", help="a FieldPolicy, where there is no client to import"
        )
    parser.add_argument("--promises", required=True, metavar="FILE", help="the promises, in TOML")
    parser.add_argument("--vendor", metavar="MODULE:ATTRIBUTE", help="a Vendor, for what no program can see")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON, for other programs")
    form.add_argument("--sarif", action="store_true", help="print SARIF 2.1.0, for code review tools")


@for_client
def run(arguments: argparse.Namespace) -> int:
    """Audits and prints.

    Returns:
        0 when nothing is broken, else 1.

    Raises:
        UsageError: Something named cannot be used.
    """
    if arguments.client is not None:
        target: Mixpanel | FieldPolicy = load("--client", arguments.client, Mixpanel)
    else:
        target = load("--policy", arguments.policy, FieldPolicy)
    vendor = load("--vendor", arguments.vendor, Vendor) if arguments.vendor else None
    with usable(f"--promises: {arguments.promises}", OSError, ConfigurationError):
        promises = Promises.from_toml(arguments.promises)
    breaches = audit(target, promises, vendor=vendor)
    if arguments.json:
        said = {"breaches": [attrs.asdict(each) for each in breaches], "not_checked": promises.not_checked}
        say_json(said, indent=None)
    elif arguments.sarif:
        print_json(as_sarif(breaches, promises, arguments.promises))
    else:
        say(*as_text(breaches, promises))
    return 1 if breaches else 0


def as_text(breaches: Sequence[Breach], promises: Promises) -> list[str]:
    """The lines of a paragraph for each breach, the promise's sentence first."""
    sentences = promises.sentences()
    lines = []
    for breach in breaches:
        lines += [
            f"{breach.severity}: {breach.place}",
            f"    promised:  {sentences.get(breach.promise, breach.promise)} ({breach.promise})",
            f"    found:     {breach.text}",
            f"    mend:      {breach.mend}",
        ]
    checked = len(sentences) - len(promises.not_checked)
    lines.append(f"{len(breaches)} broken, of {checked} promise{'s' if checked != 1 else ''} that could be checked")
    lines += [f"not checked, look yourself: {sentences[name]} ({name})" for name in promises.not_checked]
    return lines


def as_sarif(breaches: Sequence[Breach], promises: Promises, file: str) -> dict[str, object]:
    """The breaches in the form of OASIS SARIF 2.1.0, each at the line of its promise."""
    lines = read_text(file).splitlines()
    sentences = promises.sentences()
    broken = dict.fromkeys(breach.promise for breach in breaches)
    rules = [{"id": name, "shortDescription": {"text": sentences.get(name, name)}} for name in broken]
    driver = {"name": "consentpanel audit", "version": consentpanel.__version__, "rules": rules}
    results = [
        {
            "ruleId": breach.promise,
            "level": breach.severity,
            "message": {"text": f"{breach.place}: {breach.text} {breach.mend}"},
            "locations": [{"physicalLocation": _sarif_place(breach.promise, file, lines)}],
        }
        for breach in breaches
    ]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def _sarif_place(promise: str, file: str, lines: Sequence[str]) -> dict[str, object]:
    number = next((number for number, line in enumerate(lines, 1) if promise in line.partition("=")[0]), 1)
    return {"artifactLocation": {"uri": file}, "region": {"startLine": number}}


JOB = Job(
    name="audit",
    summary="hold the configuration to what the privacy policy promises",
    description=DESCRIPTION,
    exit_codes=EPILOG,
    add_arguments=add_arguments,
    run=run,
    is_for_client=True,
)
