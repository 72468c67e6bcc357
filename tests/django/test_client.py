"""The client of a Django project, and what waits for a commit (contract rules 10.1, 10.4 and 10.6)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

pytest.importorskip("django")
from django.core.checks import run_checks
from django.db import connections, transaction
from django.test import TestCase, TransactionTestCase, override_settings

from consentpanel import ConsentStatus, FieldPolicy, Mixpanel, Outcome, Reason, keep
from consentpanel.django import (
    DjangoOutbox,
    DjangoRegistry,
    mixpanel,
    people_set_on_commit,
    track_on_commit,
)
from consentpanel.errors import ConfigurationError
from consentpanel.registry import MemoryRegistry, SQLiteRegistry
from consentpanel.testing import ConsentPanelTestMixin, FakeTransport

POLICY = FieldPolicy(events={"plan": keep(), "items[]": keep()}, people={"plan": keep()})
GRANTED = ConsentStatus.GRANTED


class Vendor(FakeTransport):
    """A consumer that the setting can name by its class."""

    hosts: ClassVar[list[Any]] = []

    def __init__(self, api_host: str | None = None) -> None:
        super().__init__()
        self.hosts.append(api_host)


@pytest.fixture
def configured() -> Iterator[Callable[..., None]]:
    stack: list[Any] = []

    def configure(**given: Any) -> None:
        stack.append(override_settings(CONSENTPANEL={"TOKEN": "TOKEN", "POLICY": POLICY, **given}))
        stack[-1].enable()

    yield configure
    while stack:
        stack.pop().disable()


@pytest.fixture
def vendor(configured: Any, alias: str) -> FakeTransport:
    vendor = FakeTransport()
    configured(CONSUMER=vendor, DATABASE=alias)
    return vendor


def test_the_client_is_built_at_its_first_use_and_again_when_the_setting_changes(configured):  # rule 10.1
    Vendor.hosts.clear()
    configured(CONSUMER=Vendor, REGISTRY=MemoryRegistry)
    assert isinstance(mixpanel, Mixpanel)
    assert Vendor.hosts == []
    mixpanel.track("user-1", "Signed up")
    mixpanel.track("user-1", "Signed up")
    assert Vendor.hosts == [None]
    configured(CONSUMER=Vendor, REGISTRY=MemoryRegistry, API_HOST="api-eu.mixpanel.com")
    mixpanel.track("user-1", "Signed up")
    assert Vendor.hosts == [None, "api-eu.mixpanel.com"]


def test_a_key_may_be_a_dotted_path(configured):
    configured(POLICY="consentpanel.FieldPolicy", REGISTRY="consentpanel.registry.MemoryRegistry", REGIME="opt_out")
    with pytest.raises(ConfigurationError, match="policy must be a FieldPolicy"):
        mixpanel.stats()
    configured(REGISTRY="consentpanel.registry.MemoryRegistry", REGIME="opt_out", CONSUMER=FakeTransport())
    assert mixpanel.track("user-1", "Signed up")
    configured(REGIME="perhaps")
    with pytest.raises(ConfigurationError, match="cannot be imported"):
        mixpanel.stats()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"TOKEN": ""}, "TOKEN"),
        ({"TOKNE": "x"}, "there is no key CONSENTPANEL\\['TOKNE'\\]"),
        ({"POLICY": "shop.nowhere.POLICY"}, "cannot be imported"),
    ],
)
def test_a_setting_that_cannot_work_is_told(configured, given, said):
    configured(**given)
    with pytest.raises(ConfigurationError, match=said):
        mixpanel.track("user-1", "Signed up")


def test_a_call_on_commit_is_sent_with_the_commit_and_dropped_with_a_rollback(vendor, alias):  # rule 10.4
    registry = DjangoRegistry(alias)
    registry.grant("user-1")
    said = {"plan": "pro", "items": ["a"]}
    with transaction.atomic(using=alias):
        track_on_commit("user-1", "Bought", said)
        people_set_on_commit("user-1", {"plan": "pro"})
        said["items"].append("b")  # type: ignore[attr-defined]
        said["plan"] = "free"
        assert vendor.messages == []
    vendor.assert_tracked("Bought", properties={"plan": "pro", "items": ["a"]})
    vendor.assert_people_set("user-1", {"plan": "pro"})
    with transaction.atomic(using=alias):
        track_on_commit("user-1", "Refunded")
        transaction.set_rollback(True, using=alias)
    track_on_commit("user-1", "At once")
    assert [each.event for each in vendor.events] == ["Bought", "At once"]


def test_a_call_on_commit_that_fails_raises_nothing_into_the_view(vendor, alias):
    DjangoRegistry(alias).grant("user-1")
    vendor.fail(times=2)
    with transaction.atomic(using=alias):
        track_on_commit("user-1", "Bought")
    track_on_commit("user-1", "At once")
    assert vendor.messages == []


def test_a_message_about_who_agrees_in_the_block_is_sent(vendor, alias):
    with transaction.atomic(using=alias):
        DjangoRegistry(alias).grant("user-1")
        track_on_commit("user-1", "Signed up")
    vendor.assert_tracked("Signed up")


def test_a_withdrawal_takes_effect_with_the_commit(vendor, alias):  # rule 10.4
    registry = DjangoRegistry(alias)
    registry.grant("user-1")
    with transaction.atomic(using=alias):
        done = mixpanel.withdraw("user-1", delete_profile=True)
        assert done.awaits_commit
        assert registry.status("user-1", "analytics") is ConsentStatus.DENIED
        transaction.set_rollback(True, using=alias)
    assert vendor.messages == []
    assert registry.status("user-1", "analytics") is GRANTED
    with transaction.atomic(using=alias):
        mixpanel.withdraw("user-1", delete_profile=True)
        assert vendor.messages == []
    assert [sorted(each.properties) for each in vendor.people] == [["$unset"], ["$delete"]]
    assert not mixpanel.withdraw("user-1").awaits_commit


def test_an_opt_in_is_told_of_with_the_commit(vendor, alias):  # rule 10.4
    with transaction.atomic(using=alias):
        decision = mixpanel.opt_in("user-1")
        assert (decision.outcome, decision.reason) == (Outcome.HELD, Reason.AWAITING_COMMIT)
        assert vendor.messages == []
    vendor.assert_tracked("$opt_in")
    assert mixpanel.stats() == {"sent": {"consent_granted": 1}}


def messages_of_checks() -> dict[str, str]:
    return {each.id: each.msg for each in run_checks(tags=["consentpanel"])}


def test_checks_pass_for_a_setting_that_works(configured):  # rule 10.6
    configured()
    assert messages_of_checks() == {}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"TOKNE": "x"}, "consentpanel.E001"),
        ({"POLICY": "shop.nowhere.POLICY"}, "consentpanel.E001"),
        ({"TOKEN": None}, "consentpanel.E002"),
        ({"POLICY": {"plan": "keep"}}, "consentpanel.E003"),
        ({"IDENTITY": "pseudonymous"}, "consentpanel.E004"),
        ({"DATABASE": "elsewhere"}, "consentpanel.E005"),
        ({"PURPOSES": {"Ad clicked": " "}}, "consentpanel.E006"),
        ({"POLICY": None}, "consentpanel.W001"),
        ({"COOKIE": {"NAEM": "x"}}, "consentpanel.E008"),
        ({"GPC": "analytics"}, "consentpanel.E001"),
        ({"SUBJECT": 1}, "consentpanel.E008"),
        ({"GPC": 5}, "consentpanel.E008"),
        ({"COOKIE": {"NAME": "a b;"}}, "consentpanel.E008"),
        ({"COOKIE": {"NAME": "sessionid"}}, "consentpanel.E008"),
        ({"COOKIE": {"MAX_AGE": 0}}, "consentpanel.E008"),
        ({"COOKIE": {"SAMESITE": "None", "SECURE": False}}, "consentpanel.E008"),
        ({"COOKIE": {"SAMESITE": "maybe"}}, "consentpanel.E008"),
        ({"REGIME": 5}, "consentpanel.E009"),
        ({"CONSUMER": 5}, "consentpanel.E009"),
        ({"REGISTRY": 5}, "consentpanel.E009"),
        ({"ON_ERROR": "perhaps"}, "consentpanel.E009"),
        ({"MAX_AGE": 5}, "consentpanel.E009"),
        ({"API_HOST": "https://api.mixpanel.com/track"}, "consentpanel.E009"),
        ({"CONSUMER": DjangoOutbox("elsewhere")}, "consentpanel.E010"),
        ({"REGIME": "optin"}, "consentpanel.E001"),
        ({"GPC": ("analytics", "adverts")}, "consentpanel.W008"),
        ({"REGISTRY": lambda subject_id, purpose: None}, "consentpanel.W006"),
        ({"POLICY": FieldPolicy(people={"$email": keep()})}, "consentpanel.W002"),
    ],
)
def test_checks_tell_what_cannot_work(configured, given, expected):  # rule 10.6
    from consentpanel import pseudonymous

    if given.get("IDENTITY"):
        given = {"IDENTITY": pseudonymous()}
    configured(**given)
    found = run_checks(tags=["consentpanel"])
    assert [each.id for each in found] == [expected]
    assert "consentpanel" not in found[0].msg


def test_an_outbox_on_sqlite_is_warned_of_unless_transactions_begin_as_writers(configured):  # rule 10.6
    configured(CONSUMER="consentpanel.django.DjangoOutbox")
    assert messages_of_checks() == {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(connections["default"].settings_dict, "OPTIONS", {})
        assert list(messages_of_checks()) == ["consentpanel.W007"]


def test_checks_tell_of_the_middleware_and_of_the_cookie(configured):  # rule 10.6
    from django.conf import settings

    configured()
    with override_settings(MIDDLEWARE=[]):
        assert list(messages_of_checks()) == ["consentpanel.W004"]
    with override_settings(MIDDLEWARE=settings.MIDDLEWARE[::-1]):
        assert list(messages_of_checks()) == ["consentpanel.E007"]
    deployed = run_checks(tags=["consentpanel"], include_deployment_checks=True)
    assert [each.id for each in deployed] == ["consentpanel.W005"]
    with override_settings(SESSION_COOKIE_SECURE=True):
        assert run_checks(tags=["consentpanel"], include_deployment_checks=True) == []


def test_a_file_of_consent_among_the_code_is_warned_of(configured, tmp_path):  # rule 10.6
    registry = SQLiteRegistry(tmp_path / "consent.db")
    configured(REGISTRY=registry)
    with override_settings(BASE_DIR=tmp_path):
        assert list(messages_of_checks()) == ["consentpanel.W003"]
    with override_settings(BASE_DIR=tmp_path / "code"):
        assert messages_of_checks() == {}
    registry.close()


@override_settings(CONSENTPANEL={"TOKEN": "TOKEN", "POLICY": POLICY})
class InATestCase(ConsentPanelTestMixin, TestCase):
    """All of a test is in one transaction, and yet what is committed is seen."""  # rule 10.10

    def test_messages_of_commits_are_seen(self):
        DjangoRegistry().grant("user-1")
        mixpanel.track("user-1", "At once", {"plan": "pro"})
        self.consentpanel_outbox.assert_tracked("At once", properties={"plan": "pro"})
        with self.captureOnCommitCallbacks(execute=True):
            track_on_commit("user-1", "Bought")
            self.consentpanel_outbox.assert_not_tracked("Bought")
        self.consentpanel_outbox.assert_tracked("Bought")

    async def test_a_coroutine_is_seen_too(self):
        from asgiref.sync import sync_to_async

        await DjangoRegistry().agrant("user-1")
        await sync_to_async(mixpanel.track)("user-1", "Later")
        self.consentpanel_outbox.assert_tracked("Later")


@override_settings(CONSENTPANEL={"TOKEN": "TOKEN", "POLICY": POLICY})
class InATransactionTestCase(ConsentPanelTestMixin, TransactionTestCase):
    """The same, where each statement is committed."""

    def test_messages_are_seen(self):
        DjangoRegistry().grant("user-1")
        with transaction.atomic():
            track_on_commit("user-1", "Bought")
        self.consentpanel_outbox.assert_tracked("Bought")


@pytest.fixture(autouse=True, scope="module")
def _tables(on_sqlite: str) -> None:
    """The tables for the test cases above."""


def test_the_migrations_say_what_the_models_are():
    """On each Django that is tried; so an upgrade of Django asks nobody for a migration."""
    project = Path(__file__).with_name("project")
    command = [sys.executable, "-m", "django", "makemigrations", "--check", "--dry-run", "consentpanel"]
    env = {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(project), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("consumer", [None, "consentpanel.django.DjangoOutbox", "consentpanel.BackgroundConsumer"])
def test_a_test_without_the_mixin_reaches_no_vendor(configured, on_sqlite, consumer):
    from django.test.utils import setup_test_environment, teardown_test_environment

    setup_test_environment()
    try:
        configured(CONSUMER=consumer, API_HOST="api-eu.mixpanel.com", REGISTRY=lambda subject_id, purpose: True)
        assert mixpanel.track("user-1", "Signed up")
        mixpanel.flush()
        assert mixpanel.stats() == {"sent": {"consent_granted": 1}}
        mixpanel.close()
    finally:
        teardown_test_environment()
