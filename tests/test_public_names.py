"""Rule 1.1: a subclass of the vendor's client, and the vendor's names under ours."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types

import mixpanel
import pytest

import consentpanel

OURS = [
    "registry",
    "policy",
    "identity",
    "regime",
    "purposes",
    "on_error",
    "observers",
    "privacy",
    "context",
    "while_unknown",
    "hold_for",
]
NAMED_BY_THE_CONTRACT = [
    "Mixpanel",
    "Consumer",
    "BufferedConsumer",
    "MixpanelException",
    "DatetimeSerializer",
    "json_dumps",
    "LocalFlagsConfig",
    "RemoteFlagsConfig",
]


def _public_names() -> list[str]:
    """What a user of the vendor may import from it: its own classes and functions, and what it re-exports of its own."""
    return [
        name
        for name, value in vars(mixpanel).items()
        if not name.startswith("_")
        and not isinstance(value, types.ModuleType)
        and str(getattr(value, "__module__", "")).startswith("mixpanel")
    ]


@pytest.mark.parametrize("name", _public_names())
def test_each_public_name_of_the_installed_vendor_can_be_imported(name):
    # rule 1.1
    scope: dict[str, object] = {}
    exec(f"from consentpanel import {name}", scope)
    guarded = {"Mixpanel", "BufferedConsumer"}
    assert (scope[name] is getattr(mixpanel, name)) is (name not in guarded)


def test_the_names_of_the_contract_are_among_those_that_were_tested():
    assert set(NAMED_BY_THE_CONTRACT) <= set(_public_names())


@pytest.mark.skipif(not hasattr(mixpanel, "ServiceAccountCredentials"), reason="mixpanel 5.2 brought it")
def test_service_account_credentials_are_the_vendors():
    assert consentpanel.ServiceAccountCredentials is mixpanel.ServiceAccountCredentials
    assert "ServiceAccountCredentials" in consentpanel.__all__


def test_our_client_is_the_vendors():
    assert issubclass(consentpanel.Mixpanel, mixpanel.Mixpanel)  # rule 1.1


def test_our_exception_is_the_vendors_so_that_an_except_clause_still_catches():
    assert consentpanel.MixpanelException is mixpanel.MixpanelException


def test_constructor_takes_the_vendors_arguments_first_and_in_order():
    # rule 1.1
    theirs = list(inspect.signature(mixpanel.Mixpanel).parameters.values())
    ours = list(inspect.signature(consentpanel.Mixpanel).parameters.values())
    assert [each.name for each in ours[: len(theirs)]] == [each.name for each in theirs]
    assert [each.default for each in ours[: len(theirs)]] == [each.default for each in theirs]
    assert all(each.kind is each.POSITIONAL_OR_KEYWORD for each in ours[: len(theirs)])


def test_constructors_own_arguments_are_keyword_only():
    # rule 1.1
    keyword_only = [
        each.name
        for each in inspect.signature(consentpanel.Mixpanel).parameters.values()
        if each.kind is each.KEYWORD_ONLY
    ]
    assert keyword_only == OURS


def test_configure_takes_the_constructors_own_keywords():
    assert list(inspect.signature(consentpanel.configure).parameters) == OURS  # rule 1.2


@pytest.mark.parametrize(
    "name", [name for name, value in vars(mixpanel.Mixpanel).items() if not name.startswith("_") and callable(value)]
)
def test_each_tracking_method_keeps_the_vendors_signature(name):
    # rule 1.1: positional and keyword calls of existing code go on working
    theirs = inspect.signature(getattr(mixpanel.Mixpanel, name)).parameters.values()
    ours = inspect.signature(getattr(consentpanel.Mixpanel, name)).parameters.values()
    assert [(each.name, each.default, each.kind) for each in ours] == [
        (each.name, each.default, each.kind) for each in theirs
    ]


def test_every_name_in_all_exists_once():
    assert len(set(consentpanel.__all__)) == len(consentpanel.__all__)
    only_since_5_2 = set() if hasattr(mixpanel, "ServiceAccountCredentials") else {"ServiceAccountCredentials"}
    assert {name for name in consentpanel.__all__ if not hasattr(consentpanel, name)} == only_since_5_2


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Mixpannel'"):
        consentpanel.Mixpannel  # noqa: B018 - reading it is the test


EXISTING_CODE = """
import consentpanel as mixpanel
from consentpanel import BufferedConsumer, Consumer, Mixpanel, MixpanelException, json_dumps

sent = []

class Logged(mixpanel.Consumer):
    def send(self, endpoint, json_message, api_key=None, api_secret=None):
        sent.append((endpoint, json_message))

mp = mixpanel.Mixpanel("TOKEN", consumer=Logged(api_host="api-eu.mixpanel.com", request_timeout=3))
try:
    mp.track("person", "Signed up", {"plan": "pro"}, meta={"ip": 0})
    mp.people_set("person", {"$name": "A"})
    mp.people_track_charge("person", 12)
    mp.group_set("company", "acme", {"plan": "pro"})
    mp.import_data("key", "person", "Signed up", 1_600_000_000, api_secret="secret")
    mp.people_delete("person")
except MixpanelException:
    raise SystemExit("raised")
buffered = mixpanel.Mixpanel("TOKEN", consumer=mixpanel.BufferedConsumer(max_size=10, api_host="api-eu.mixpanel.com"))
buffered.track("person", "Signed up")
print([endpoint for endpoint, _ in sent])
print(mixpanel.json_dumps({"a": 1}), mixpanel.__version__ != "")
"""


def test_existing_code_runs_after_the_import_is_swapped():
    # rules 1.1 and 1.2: with nothing configured it runs, and only what takes data away is sent
    done = subprocess.run(
        [sys.executable, "-c", EXISTING_CODE], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['people']", '{"a":1} True']
    assert done.stderr.count("no consent registry is configured") == 1
