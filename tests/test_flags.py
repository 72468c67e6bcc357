"""Rule 1.7: a remote flag asks for consent before it asks the vendor; an exposure is an event like any other."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import logging
import re
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import mixpanel
import pytest
import respx
from mixpanel.flags.types import SelectedVariant

import consentpanel
from consentpanel import (
    FieldPolicy,
    LocalFlagsConfig,
    MessageError,
    Mixpanel,
    Purpose,
    Reason,
    RemoteFlagsConfig,
    drop,
    keep,
    pseudonymize,
    redact,
    refuse,
)
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport
from consentpanel.testing._loopback import LoopbackServer, reply

URL = "https://api.mixpanel.com/flags"
DEFINITIONS = "https://api.mixpanel.com/flags/definitions"
ANN = {"distinct_id": "ann-4711", "plan": "pro", "email": "ann@b.example"}
FALLBACK = SelectedVariant(variant_value="control")
ON = {"code": 200, "flags": {"new": {"variant_key": "treatment", "variant_value": True}}}

needs_marks = pytest.mark.skipif(not hasattr(SelectedVariant, "as_fallback"), reason="mixpanel 5.3 brought the mark")
needs_executor = pytest.mark.skipif(
    "exposure_executor" not in RemoteFlagsConfig.__dataclass_fields__
    if hasattr(RemoteFlagsConfig, "__dataclass_fields__")
    else "exposure_executor" not in RemoteFlagsConfig.model_fields,
    reason="a later mixpanel brought the executor",
)


@pytest.fixture(autouse=True)
def _one_tls_context(monkeypatch):
    """Each client of httpx would read the certificates anew, which takes most of the time of these tests."""
    monkeypatch.setattr(ssl, "create_default_context", _CONTEXT)


_CONTEXT = functools.cache(ssl.create_default_context)


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    consentpanel.reset()
    yield
    consentpanel.reset()


@pytest.fixture
def network() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        router.get(URL).mock(return_value=httpx.Response(200, json=ON))
        yield router


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


@pytest.fixture
def vendor() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def client(registry: MemoryRegistry, vendor: FakeTransport) -> Iterator[Callable[..., Mixpanel]]:
    built = []
    policy = FieldPolicy(
        flags={"plan": keep()}, events={"Experiment name": keep(), "Variant name": keep()}, secret=b"0" * 32
    )

    def build(config: Any = None, **keywords: Any) -> Mixpanel:
        given = {"registry": registry, "policy": policy, **keywords}
        mp = Mixpanel("TOKEN", vendor, remote_flags_config=config or RemoteFlagsConfig(), **given)
        built.append(mp.remote_flags)
        return mp

    yield build
    for provider in built:
        provider._sync_client.close()
        asyncio.run(provider._async_client.aclose())


def ask(mp: Mixpanel, call: str, context: Any) -> Any:
    arguments = {
        "get_variant": ("new", FALLBACK),
        "get_variant_value": ("new", "control"),
        "is_enabled": ("new",),
        "get_all_variants": (),
    }[call.removeprefix("a")]
    found = getattr(mp.remote_flags, call)(*arguments, context)
    return asyncio.run(settled(found)) if call.startswith("a") else found


async def settled(found: Awaitable[Any]) -> Any:
    """The answer, after the exposure that the vendor sends in a task of its own."""
    answer = await found
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others)
    return answer


def said_to_the_vendor(network: respx.MockRouter) -> list[Any]:
    found = []
    for call in network.calls:
        text = parse_qs(urlsplit(str(call.request.url)).query)["context"][0]
        # mixpanel 5.0 encodes twice
        found.append(json.loads(httpx.QueryParams("c=" + text)["c"] if text.startswith("%") else text))
    return found


SYNC = ["get_variant", "get_variant_value", "is_enabled", "get_all_variants"]
CALLS = SYNC + [f"a{call}" for call in SYNC]
WITHOUT = {
    "get_variant_value": "control",
    "is_enabled": False,
    "get_all_variants": None,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", ["unknown", "denied", "analytics only"])
def test_without_consent_no_request_is_made_and_the_fallback_comes_back(
    client, network, registry, vendor, call, status
):
    # rule 1.7
    if status == "denied":
        registry.deny("ann-4711")
    elif status == "analytics only":
        registry.grant("ann-4711", Purpose.ANALYTICS)
    mp = client()
    answer = ask(mp, call, ANN)
    if call.endswith("get_variant"):
        assert answer.variant_value == "control"
    else:
        assert answer == WITHOUT[call.removeprefix("a")]
    assert len(network.calls) == 0
    assert vendor.messages == []
    reason = "withdrawn" if status == "denied" else "no_consent"
    assert mp.stats() == {"dropped": {reason: 1}}


@needs_marks
@pytest.mark.parametrize("call", ["get_variant", "aget_variant"])
def test_the_fallback_is_marked_as_one(client, network, call):
    # rule 1.7
    answer = ask(client(), call, ANN)
    assert answer.variant_source == "fallback"
    assert answer.fallback_reason.kind == "NO_ROLLOUT_MATCH"
    assert answer.fallback_reason.message == "consent"
    assert "ann" not in answer.fallback_reason.message
    assert FALLBACK.variant_source is None


@pytest.fixture
def openfeature(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mixpanel], Any]:
    """A client of OpenFeature over the vendor's provider, which lies in the vendor's wheel."""
    api = pytest.importorskip("openfeature.api")
    provider = Path(mixpanel.__file__).parents[1] / "openfeature-provider" / "src"
    if not provider.is_dir():
        pytest.skip("mixpanel 5.2 brought the provider")
    monkeypatch.syspath_prepend(str(provider))
    monkeypatch.delitem(sys.modules, "mixpanel_openfeature", raising=False)
    from mixpanel_openfeature import MixpanelProvider

    def build(mp: Mixpanel) -> Any:
        api.set_provider(MixpanelProvider(mp.remote_flags))
        return api.get_client()

    return build


@needs_marks
@pytest.mark.parametrize("status", ["unknown", "denied", "granted"])
def test_openfeature_reports_the_default_and_no_error_without_consent(client, network, registry, openfeature, status):
    # rule 1.7
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.hook import Hook

    failures: list[Exception] = []

    class Watch(Hook):  # type: ignore[misc]
        def error(self, _: object, exception: Exception, __: object) -> None:
            failures.append(exception)

    if status != "unknown":
        getattr(registry, "grant" if status == "granted" else "deny")("ann-4711")
    flags = openfeature(client())
    flags.add_hooks([Watch()])
    context = EvaluationContext(targeting_key="ann-4711", attributes={"distinct_id": "ann-4711"})
    for ask_for, default in (("boolean", False), ("string", "a"), ("integer", 1), ("float", 1.5), ("object", {})):
        details = getattr(flags, f"get_{ask_for}_details")("new", default, context)
        if status != "granted":
            assert (details.value, details.reason, details.error_code) == (default, "DEFAULT", None)
            assert not details.error_message
    if status == "granted":
        assert (
            flags.get_boolean_details("new", default_value=False, evaluation_context=context).reason
            == "TARGETING_MATCH"
        )
        assert flags.get_boolean_value("other", default_value=True, evaluation_context=context) is True
    else:
        assert failures == []
    assert (len(network.calls) > 0) == (status == "granted")


@pytest.mark.parametrize("call", CALLS)
def test_with_consent_the_context_passes_the_flags_scope(client, network, registry, call):
    # rule 1.7
    registry.grant("ann-4711")
    context = dict(ANN)
    answer = ask(client(), call, context)
    expected = {"get_variant_value": True, "is_enabled": True}
    if call.endswith("get_variant"):
        assert (answer.variant_key, answer.variant_value) == ("treatment", True)
    elif call.endswith("get_all_variants"):
        assert list(answer) == ["new"]
    else:
        assert answer is expected[call.removeprefix("a")]
    assert said_to_the_vendor(network) == [{"distinct_id": "ann-4711", "plan": "pro"}]
    assert context == ANN


def test_nothing_else_of_the_context_stands_anywhere_in_the_request(client, network, registry):
    registry.grant("ann-4711")
    ask(client(), "get_variant", {**ANN, "custom_properties": {"email": "ann@b.example", "plan": "secret-plan"}})
    request = network.calls.last.request
    for trace in ("b.example", "secret-plan", "custom_properties", "email"):
        assert trace not in str(request.url) + str(request.headers)


def test_the_actions_of_the_flags_scope_apply(client, network, registry):
    # rules 1.7 and 3.2
    registry.grant("ann-4711")
    policy = FieldPolicy(flags={"plan": redact(), "email": pseudonymize()}, secret=b"0" * 32)
    ask(client(policy=policy), "get_variant", ANN)
    (said,) = said_to_the_vendor(network)
    assert said["plan"] == "[redacted]"
    assert said["email"] != ANN["email"]


def test_a_refused_context_makes_no_request(client, network, registry):
    # rules 1.7 and 3.2
    registry.grant("ann-4711")
    mp = client(policy=FieldPolicy(flags={"email": refuse()}))
    assert ask(mp, "get_variant_value", ANN) == "control"
    assert len(network.calls) == 0
    assert mp.stats() == {"dropped": {"refused_by_policy": 1}}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "context",
    [
        {},
        {"plan": "pro"},
        {"distinct_id": ""},
        {"distinct_id": None},
        {"distinct_id": True},
        {"distinct_id": 1.5},
        None,
        [],
    ],
    ids=repr,
)
def test_a_context_without_a_valid_id_makes_no_request(client, network, call, context):
    # rules 1.7 and 2.7
    mp = client(registry=lambda subject_id, purpose: True)
    ask(mp, call, context)
    assert len(network.calls) == 0
    assert sum(mp.stats()["dropped"].values()) == 1


@pytest.mark.parametrize("name", ["$user_id", "alias", "$distinct_id", "$identified_id"])
def test_everybody_whom_a_context_names_must_consent(client, network, registry, name):
    # rule 2.7
    registry.grant("ann-4711")
    assert ask(client(), "get_variant_value", {**ANN, name: "bob"}) == "control"
    assert len(network.calls) == 0


def test_a_context_that_holds_itself_makes_no_request(client, network, registry):
    # rule 3.8
    registry.grant("ann-4711")
    context: dict[str, Any] = dict(ANN)
    context["plan"] = context
    ask(client(), "get_variant_value", context)
    assert said_to_the_vendor(network) == [{"distinct_id": "ann-4711"}]


def test_a_withdrawal_stops_the_next_request(client, network, registry):
    registry.grant("ann-4711")
    mp = client()
    assert ask(mp, "get_variant_value", ANN) is True
    registry.deny("ann-4711", Purpose.FEATURE_FLAGS)
    assert ask(mp, "get_variant_value", ANN) == "control"
    assert len(network.calls) == 1


def test_a_client_without_a_registry_makes_no_request_and_says_so_once(client, network, vendor, caplog):
    # rule 1.2
    mp = Mixpanel("TOKEN", vendor, remote_flags_config=RemoteFlagsConfig())
    with mp:
        assert mp.remote_flags.get_variant_value("new", "control", ANN) == "control"
        assert mp.remote_flags.get_variant_value("new", "control", ANN) == "control"
    assert len(network.calls) == 0
    assert len([record for record in caplog.records if "no consent registry" in record.getMessage()]) == 1


def test_a_registry_that_fails_makes_no_request(client, network):
    # rule 2.6
    def fail(subject_id: str, purpose: str) -> bool:
        raise RuntimeError(subject_id)

    assert ask(client(registry=fail), "get_variant_value", ANN) == "control"
    assert len(network.calls) == 0


@pytest.mark.parametrize("call", ["get_variant", "aget_variant"])
def test_what_failed_raises_when_the_client_was_built_so(client, network, call):
    # rule 1.8
    with pytest.raises(MessageError) as raised:
        ask(client(on_error="raise"), call, {"distinct_id": ""})
    assert raised.value.decision.reason is Reason.INVALID_ID
    assert raised.value.decision.endpoint == "flags"


class LaterProvider:
    """What a later vendor release may add to its provider."""

    def get_variants_of_group(self, context: dict[str, Any]) -> Any:
        try:
            params = self._prepare_query_params(context, "new")  # type: ignore[attr-defined]
        except Exception:
            logging.getLogger("mixpanel.flags.remote_feature_flags").exception("Failed")
            return None
        return self._sync_client.get(self.FLAGS_URL_PATH, params=params)  # type: ignore[attr-defined]


def test_a_method_that_a_later_vendor_adds_to_the_provider_is_judged(client, network, registry, caplog):
    # rules 1.4 and 1.7
    caplog.set_level(logging.DEBUG)
    provider = client().remote_flags
    provider.__class__ = type("Later", (LaterProvider, type(provider)), {})
    assert provider.get_variants_of_group(ANN) is None
    assert len(network.calls) == 0
    registry.grant("ann-4711")
    provider.get_variants_of_group(ANN)
    assert said_to_the_vendor(network) == [{"distinct_id": "ann-4711", "plan": "pro"}]
    assert "ann" not in caplog.text


def test_an_overridden_method_judges_once(client, network, registry):
    registry.grant("ann-4711")
    told: list[Any] = []
    ask(client(observers=[told.append]), "get_all_variants", ANN)
    assert [(each.endpoint, each.purpose) for each in told] == [("flags", Purpose.FEATURE_FLAGS)]


# rule 1.7: exposure events


@pytest.mark.parametrize("call", ["get_variant", "aget_variant", "get_variant_value", "ais_enabled"])
def test_an_exposure_of_a_remote_flag_is_judged_as_an_event(client, network, registry, vendor, call):
    registry.grant("ann-4711", Purpose.FEATURE_FLAGS)
    mp = client()
    ask(mp, call, ANN)
    assert vendor.messages == []
    registry.grant("ann-4711", Purpose.ANALYTICS)
    ask(mp, call, ANN)
    (event,) = vendor.events
    assert (event.event, event.distinct_id) == ("$experiment_started", "ann-4711")
    assert event.properties["Experiment name"] == "new"
    assert event.properties["$experiment_type"] == "feature_flag"  # rule 1.7: a built-in rule
    assert mp.stats()["dropped"] == {"no_consent": 1}


@pytest.mark.parametrize("kind", [consentpanel.BufferedConsumer, consentpanel.BackgroundConsumer])
def test_a_buffer_that_is_closed_costs_nobody_a_variant(network, registry, vendor, caplog, kind):
    # rule 1.8: exposure tracking never raises anything of ours
    registry.grant("ann-4711")
    consumer = kind(consumer=vendor)
    mp = Mixpanel("TOKEN", consumer, registry=registry, remote_flags_config=RemoteFlagsConfig())
    consumer.close()
    assert mp.remote_flags.get_variant("new", FALLBACK, {"distinct_id": "ann-4711"}).variant_key == "treatment"
    assert "the consumer of an exposure failed" in caplog.text


def test_no_exposure_is_sent_for_a_fallback(client, network, registry, vendor):
    registry.grant("ann-4711")
    network.get(URL).mock(return_value=httpx.Response(200, json={"code": 200, "flags": {}}))
    assert ask(client(), "get_variant_value", ANN) == "control"
    assert vendor.messages == []


@pytest.mark.parametrize("call", ["track_exposure_event", "atrack_exposure_event"])
def test_an_exposure_by_hand_is_judged(client, registry, vendor, call):
    mp = client()
    variant = SelectedVariant(variant_key="treatment", variant_value=True)

    def expose() -> None:
        done = getattr(mp.remote_flags, call)("new", variant, ANN)
        if call.startswith("a"):
            asyncio.run(settled(done))

    expose()
    assert vendor.messages == []
    registry.grant("ann-4711", Purpose.ANALYTICS)
    expose()
    assert [event.event for event in vendor.events] == ["$experiment_started"]


@needs_executor
def test_an_exposure_through_an_executor_is_judged(client, network, registry, vendor):
    registry.grant("ann-4711", Purpose.FEATURE_FLAGS)
    with ThreadPoolExecutor(1) as executor:
        mp = client(RemoteFlagsConfig(exposure_executor=executor))
        assert ask(mp, "get_variant_value", ANN) is True
    assert vendor.messages == []
    registry.grant("ann-4711")
    with ThreadPoolExecutor(1) as executor:
        mp = client(RemoteFlagsConfig(exposure_executor=executor))
        ask(mp, "get_variant_value", ANN)
    assert [event.event for event in vendor.events] == ["$experiment_started"]


@needs_executor
def test_an_exposure_that_fails_in_an_executor_leaves_no_id_in_the_log(client, network, registry, vendor, caplog):
    # rule 4.2
    registry.grant("ann-4711")
    caplog.set_level(logging.DEBUG)
    vendor.fail(times=1, error=mixpanel.MixpanelException("could not send ann-4711"))
    with ThreadPoolExecutor(1) as executor:
        mp = client(RemoteFlagsConfig(exposure_executor=executor))
        assert ask(mp, "get_variant_value", ANN) is True
    assert "Exposure event failed" in caplog.text
    assert "ann" not in caplog.text


# rule 4.2: nothing personal in a log record or in a fallback


FAILURES = {
    "HTTP 500": httpx.Response(500, text="no such user ann-4711"),
    "HTTP 400": httpx.Response(400, json={"error": "bad context for ANN-4711"}),
    "HTTP 302": httpx.Response(302, headers={"location": "https://elsewhere.example/?ann-4711"}),
    "no JSON": httpx.Response(200, text="ann-4711"),
    "other JSON": httpx.Response(200, json={"ann-4711": []}),
    "no connection": httpx.ConnectError("could not connect to https://api.mixpanel.com/flags?context=ann-4711"),
    "time-out": httpx.ReadTimeout("timed out reading ann-4711"),
    "other": RuntimeError("ann-4711"),
}


def everything_logged(caplog: pytest.LogCaptureFixture) -> str:
    formatter = logging.Formatter("%(message)s")
    return "\n".join(
        f"{formatter.format(record)} {record.args!r} {record.exc_info!r} {record.exc_text!r}"
        for record in caplog.records
    )


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_request_leaves_nothing_personal_in_a_log_or_a_fallback(
    client, network, registry, caplog, call, failure
):
    registry.grant("ann-4711")
    caplog.set_level(logging.DEBUG)
    mocked = FAILURES[failure]
    kind = "return_value" if isinstance(mocked, httpx.Response) else "side_effect"
    network.get(URL).mock(**{kind: mocked})
    answer = ask(client(), call, ANN)
    assert len(network.calls) == 1
    logged = everything_logged(caplog)
    assert "Failed to get remote variant" in logged
    for trace in ("ann", "b.example", "context", "%7B", "elsewhere"):
        assert trace not in logged
        assert trace not in repr(answer)


@needs_marks
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("the flag is archived", "HTTP 400: the flag is archived"),
        ("", "HTTP 400"),
        ("no plan named PRO", "HTTP 400"),
        ("no user ann-4711", "HTTP 400"),
        ("no user ann%2D4711", "HTTP 400"),
        (r"no user \u0061nn-4711", "HTTP 400"),
        ("no user &#97;nn-4711", "HTTP 400"),
        ("no user ann-47...", "HTTP 400"),
    ],
)
def test_the_vendors_reason_stands_in_the_fallback_unless_it_quotes_the_context(
    client, network, registry, body, message
):
    # rules 1.3 and 4.2
    registry.grant("ann-4711")
    network.get(URL).mock(return_value=httpx.Response(400, text=body))
    assert ask(client(), "get_variant", ANN).fallback_reason.message == message


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [301, 400, 503])
def test_a_failing_request_is_logged_by_its_status(client, network, registry, caplog, call, status):
    # rule 1.7
    registry.grant("ann-4711")
    network.get(URL).mock(return_value=httpx.Response(status, text="the flag is archived"))
    ask(client(), call, ANN)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert f"(HTTP {status})" in record.getMessage()
    assert "archived" not in record.getMessage()


def test_a_request_without_an_answer_is_logged_by_type_place_and_thread(client, network, registry, caplog):
    # rule 1.8
    registry.grant("ann-4711")
    network.get(URL).mock(side_effect=httpx.ConnectError("could not connect to ?context=ann-4711"))
    ask(client(), "get_variant", ANN)
    assert re.search(r"flag 'new' \(ConnectError at \S+\.py:\d+ \(asked by thread MainThread\)\)", caplog.text)


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    """Redirects to another host, and quotes the whole URL in it."""
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.headers["Authorization"])
        reply(request, 302, None, {"Location": f"http://elsewhere.example{request.path}", "Connection": "close"})
        request.close_connection = True

    server = LoopbackServer(answer)
    vars(server).update(asked=asked)
    yield server
    server.close()


@pytest.mark.parametrize("call", CALLS)
def test_no_library_beneath_logs_the_context_of_a_real_request_at_any_level(client, registry, echo, caplog, call):
    # rules 1.7, 4.2 and 5.1: mixpanel, httpx, httpcore and asyncio
    registry.grant("ann-4711")
    caplog.set_level(logging.DEBUG)
    mp = client()
    mp.remote_flags._sync_client.base_url = mp.remote_flags._async_client.base_url = echo.url
    caplog.set_level(logging.DEBUG, logger="httpx")
    ask(mp, call, ANN)
    logged = everything_logged(caplog)
    assert "receive_response_headers.complete" in logged
    assert "(HTTP 302)" in logged
    for trace in ("ann-", "b.example", "plan", "context=", "elsewhere"):
        assert trace not in logged


@pytest.mark.parametrize("call", ["get_variant", "aget_variant"])
def test_a_netrc_has_no_say_in_a_request_for_flags(client, registry, echo, tmp_path, monkeypatch, call):
    # rule 5.1
    registry.grant("ann-4711")
    (tmp_path / "netrc").write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    mp = client()
    mp.remote_flags._sync_client.base_url = mp.remote_flags._async_client.base_url = echo.url
    ask(mp, call, ANN)
    assert echo.asked == ["Basic " + base64.b64encode(b"TOKEN:").decode()]


def test_the_http_library_may_log_but_not_the_context(client, network, registry, caplog):
    # rule 4.2: httpx logs each URL at INFO for those who ask it to
    registry.grant("ann-4711")
    caplog.set_level(logging.DEBUG, logger="httpx")
    ask(client(), "get_variant", ANN)
    assert "HTTP Request: GET https://api.mixpanel.com/flags " in caplog.text
    assert "ann" not in caplog.text


def test_the_http_library_logs_the_requests_of_others_as_ever(client, caplog):
    client()
    caplog.set_level(logging.DEBUG, logger="httpx")
    with respx.mock() as router:
        router.get("https://shop.example/search").mock(return_value=httpx.Response(200))
        httpx.get("https://shop.example/search", params={"q": "shoes"})
    assert "https://shop.example/search?q=shoes" in caplog.text


# rule 1.7: local flags


def definition(percentage: float = 1.0) -> dict[str, Any]:
    variant = {"key": "treatment", "value": True, "is_control": False, "split": 1.0}
    return {
        "id": "1",
        "name": "New",
        "key": "new",
        "status": "enabled",
        "project_id": 1,
        "context": "distinct_id",
        "ruleset": {"variants": [variant], "rollout": [{"rollout_percentage": percentage}]},
    }


@pytest.fixture
def local(registry: MemoryRegistry, vendor: FakeTransport) -> Iterator[Callable[..., Mixpanel]]:
    built = []

    def build(flag: dict[str, Any] | None = None, **options: Any) -> Mixpanel:
        config = LocalFlagsConfig(enable_polling=False, **options)
        policy = FieldPolicy(events={"Experiment name": keep()})
        mp = Mixpanel("TOKEN", vendor, local_flags_config=config, registry=registry, policy=policy)
        built.append(mp.local_flags)
        with respx.mock() as router:
            router.get(DEFINITIONS).mock(return_value=httpx.Response(200, json={"flags": [flag or definition()]}))
            mp.local_flags.start_polling_for_definitions()
        return mp

    yield build
    for provider in built:
        provider._sync_client.close()
        asyncio.run(provider._async_client.aclose())


def test_a_local_flag_is_evaluated_without_consent_and_its_exposure_is_judged(local, registry, vendor):
    # rule 1.7
    mp = local()
    assert mp.local_flags.get_variant_value("new", "control", ANN) is True
    assert vendor.messages == []
    assert mp.stats() == {"dropped": {"no_consent": 1}}
    registry.grant("ann-4711", Purpose.ANALYTICS)
    assert mp.local_flags.is_enabled("new", ANN) is True
    (event,) = vendor.events
    assert (event.event, event.distinct_id) == ("$experiment_started", "ann-4711")
    assert event.properties["$experiment_type"] == "feature_flag"  # rule 1.7: a built-in rule


@needs_executor
def test_an_exposure_of_a_local_flag_through_an_executor_is_judged(local, registry, vendor):
    with ThreadPoolExecutor(1) as executor:
        assert local(exposure_executor=executor).local_flags.get_variant_value("new", "control", ANN) is True
    assert vendor.messages == []
    registry.grant("ann-4711")
    with ThreadPoolExecutor(1) as executor:
        local(exposure_executor=executor).local_flags.get_variant_value("new", "control", ANN)
    assert [event.event for event in vendor.events] == ["$experiment_started"]


def test_a_local_flag_that_does_not_match_leaves_no_id_in_the_log(local, caplog):
    # rule 4.2
    caplog.set_level(logging.DEBUG)
    mp = local(definition(percentage=0.0))
    assert mp.local_flags.get_variant_value("new", "control", ANN) == "control"
    assert "not eligible" in caplog.text
    assert "ann" not in everything_logged(caplog)


def test_a_purpose_given_to_the_exposure_event_is_needed_too(client, network, registry, vendor):
    # rule 2.1
    registry.grant("ann-4711")
    mp = client(purposes={"$experiment_started": ["analytics", "experiments"]})
    ask(mp, "get_variant_value", ANN)
    assert vendor.messages == []
    registry.grant("ann-4711", "experiments")
    ask(mp, "get_variant_value", ANN)
    assert len(vendor.events) == 1


def test_without_a_flags_config_the_vendors_own_error_says_so(vendor):
    mp = Mixpanel("TOKEN", vendor)
    with pytest.raises(mixpanel.MixpanelException, match="remote_flags_config"):
        mp.remote_flags  # noqa: B018 - reading it is the test
    with pytest.raises(mixpanel.MixpanelException, match="local_flags_config"):
        mp.local_flags  # noqa: B018 - as above


@pytest.mark.skipif(not hasattr(mixpanel, "ServiceAccountCredentials"), reason="mixpanel 5.2 brought it")
def test_credentials_reach_the_provider(client, registry, network, vendor):
    # rule 1.1
    credentials = consentpanel.ServiceAccountCredentials("name", "secret", "42")
    registry.grant("ann-4711")
    mp = Mixpanel("TOKEN", None, remote_flags_config=RemoteFlagsConfig(), credentials=credentials, registry=registry)
    with mp:
        mp.remote_flags.get_all_variants(ANN)
    assert parse_qs(urlsplit(str(network.calls.last.request.url)).query)["project_id"] == ["42"]


# rule 1.7: what the vendor's flag code writes has rules of its own


def test_the_properties_of_an_exposure_have_built_in_rules_which_yours_replace():
    said = {"Experiment name": "new", "Variant name": "b", "$experiment_type": "feature_flag", "email": "a@b.example"}
    assert set(FieldPolicy().apply_event("$experiment_started", said).properties) == set(said) - {"email"}
    assert FieldPolicy().apply_event("Other", said).properties == {}
    stricter = FieldPolicy(events={"variant NAME": redact()}).for_event(
        "$experiment_started", {"Experiment name": drop()}
    )
    assert stricter.apply_event("$experiment_started", said).properties == {
        "Variant name": "[redacted]",
        "$experiment_type": "feature_flag",
    }


def test_the_targeting_key_of_openfeature_is_an_id(client, network, registry):
    # rule 1.7: it passes without a rule, and its person must consent
    registry.grant("ann-4711")
    mp = client()
    ask(mp, "get_variant", {**ANN, "targetingKey": "ann-4711"})
    assert said_to_the_vendor(network) == [{"distinct_id": "ann-4711", "plan": "pro", "targetingKey": "ann-4711"}]
    ask(mp, "get_variant", {**ANN, "targetingKey": "bob-1234"})
    assert len(network.calls) == 1


@pytest.mark.parametrize("key", [4711, "k" * 255])
def test_any_id_may_be_a_targeting_key_and_the_policy_alone_says_the_same(client, network, registry, key):
    registry.grant("ann-4711")
    registry.grant(key)
    context = {"distinct_id": "ann-4711", "targetingKey": key}
    ask(client(), "get_variant", context)
    assert said_to_the_vendor(network) == [context]
    assert FieldPolicy().apply_flags(context).properties == context


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_an_exposure_never_raises_anything_of_ours(kind, network, vendor):
    # rule 1.8
    def fails(subject_id: str, purpose: str) -> bool:
        if purpose == "analytics":
            raise OSError
        return True

    config = {
        f"{kind}_flags_config": LocalFlagsConfig(enable_polling=False) if kind == "local" else RemoteFlagsConfig()
    }
    mp = Mixpanel("TOKEN", vendor, registry=fails, policy=FieldPolicy.keep_all(), on_error="raise", **config)
    with pytest.raises(MessageError):
        mp.track("ann-4711", "E")
    provider = mp.local_flags if kind == "local" else mp.remote_flags
    provider.track_exposure_event("new", SelectedVariant(variant_value=True, variant_key="b"), ANN)
    assert mp.stats()["dropped"]["registry_error"] == 2
    provider.shutdown() if hasattr(provider, "shutdown") else None


class Once(Mapping[str, Any]):
    """A context that can be read once, as one that another thread changes may be."""

    def __init__(self) -> None:
        self.times = 0

    def __getitem__(self, name: str) -> Any:
        return ANN[name]

    def __len__(self) -> int:
        return len(ANN)

    def __iter__(self) -> Iterator[str]:
        self.times += 1
        if self.times > 1:
            raise RuntimeError("dictionary changed size during iteration ann-4711")
        return iter(ANN)


@pytest.mark.parametrize("call", CALLS)
def test_a_context_is_read_once(client, network, registry, call):
    # rules 1.7 and 8.9
    registry.grant("ann-4711")
    network.get(URL).respond(json=ON)
    ask(client(), call, Once())
    assert len(network.calls) == 1
