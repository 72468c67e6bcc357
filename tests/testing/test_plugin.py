from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import consentpanel
from consentpanel.testing._guard_network import VendorRequestError, vendor_host, watching

pytest_plugins = ["pytester"]

TRACKS = """
    import mixpanel

    def track(host="api.mixpanel.com"):
        mixpanel.Consumer(api_host=host, retry_limit=0).send("events", '{"event": "Viewed", "secret": "canary"}')
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs test files in a pytest of their own, with the plugin and nothing else but what is named."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    # The tests run in another directory, where a relative path to the package leads nowhere.
    monkeypatch.setenv("PYTHONPATH", str(Path(consentpanel.__file__).parents[1]), prepend=os.pathsep)

    def run_tests(source, *options, preamble=TRACKS):
        import textwrap

        pytester.makepyfile(test_it=textwrap.dedent(preamble) + textwrap.dedent(source))
        return pytester.runpytest_subprocess("-p", "consentpanel.testing.plugin", *options, timeout=120)

    return run_tests


# rule 5.4: "a guard that makes any real request to the vendor from a test fail"


@pytest.mark.parametrize("host", ["api.mixpanel.com", "api-eu.mixpanel.com", "api-in.mixpanel.com", "eu.mixpanel.com"])
def test_a_request_by_the_client_of_the_vendor_fails_the_test(run, host):
    result = run(f"""
        def test_tracks():
            track({host!r})
    """)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*a test must not send a real request to {host}*"])


def test_a_request_whose_error_the_application_swallows_fails_the_test(run):
    result = run("""
        def test_tracks():
            try:
                track()
            except Exception:
                pass
    """)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*this test sent a real request to api.mixpanel.com, which was stopped*"])
    result.stdout.no_fnmatch_line("*canary*")


def test_a_request_with_httpx_fails_the_test_and_is_told_without_its_query(run):
    result = run(
        """
        import contextlib, httpx

        def test_sync():
            with contextlib.suppress(Exception), httpx.Client() as client:
                client.get("https://api.mixpanel.com/flags", params={"context": "canary"})

        async def request():
            with contextlib.suppress(Exception):
                async with httpx.AsyncClient() as client:
                    await client.get("https://api-eu.mixpanel.com/flags", params={"context": "canary"})

        def test_async():
            import asyncio
            asyncio.run(request())
        """,
        "--tb=line",
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*real request to api.mixpanel.com*", "*real request to api-eu.mixpanel.com*"])
    result.stdout.no_fnmatch_line("*canary*")


def test_a_request_with_the_standard_library_fails_the_test(run):
    run("""
        import urllib.request

        def test_plain_http():
            urllib.request.urlopen("http://data.mixpanel.com/api")
    """).assert_outcomes(failed=1)


def test_a_request_from_a_thread_fails_the_test_that_started_it(run):
    result = run("""
        import threading

        def quietly():
            try:
                track()
            except Exception:
                pass

        def test_in_a_thread():
            thread = threading.Thread(target=quietly)
            thread.start()
            thread.join()

        def test_after_it():
            pass
    """)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["FAILED *test_in_a_thread*"])


def test_a_request_in_set_up_or_teardown_is_an_error_of_that_phase(run):
    result = run("""
        import contextlib, pytest

        @pytest.fixture
        def early():
            with contextlib.suppress(Exception):
                track()

        @pytest.fixture
        def late():
            yield
            with contextlib.suppress(Exception):
                track()

        def test_early(early):
            pass

        def test_late(late):
            pass
    """)
    result.assert_outcomes(errors=2, passed=1)


def test_a_test_that_skips_itself_after_a_request_fails(run):
    run("""
        import contextlib, pytest

        def test_skips():
            with contextlib.suppress(Exception):
                track()
            pytest.skip("no network")
    """).assert_outcomes(failed=1)


def test_a_test_that_fails_by_itself_keeps_its_own_failure(run):
    result = run("""
        import contextlib

        def test_fails():
            with contextlib.suppress(Exception):
                track()
            assert "this" == "that"
    """)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*'this' == 'that'*"])


def test_a_unittest_test_is_guarded_too(run):
    run("""
        import contextlib, unittest

        class Tests(unittest.TestCase):
            def test_tracks(self):
                with contextlib.suppress(Exception):
                    track()
    """).assert_outcomes(failed=1)


def test_a_request_outside_every_test_fails_the_run(run):
    result = run("""
        try:
            track()
        except Exception:
            pass

        def test_nothing():
            pass
    """)
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*outside every test, real requests were stopped to api.mixpanel.com*"])


def test_a_request_at_the_exit_of_the_process_is_stopped(run):
    result = run("""
        import atexit

        def late():
            try:
                track()
            except mixpanel.MixpanelException as error:
                print("stopped at exit:", error, flush=True)

        def test_registers():
            atexit.register(late)
    """)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["stopped at exit: a test must not send a real request to api.mixpanel.com"])


def test_a_request_through_a_proxy_is_stopped_and_told(run):
    result = run(
        """
        import contextlib, socket, threading, requests, pytest

        SEEN = []

        def serve(listener):
            connection, _ = listener.accept()
            with connection:
                SEEN.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
                with contextlib.suppress(OSError):
                    SEEN.append(connection.recv(65536))

        @pytest.fixture
        def proxy():
            listener = socket.create_server(("127.0.0.1", 0))
            thread = threading.Thread(target=serve, args=(listener,))
            thread.start()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            thread.join(30)
            listener.close()

        def test_plain_text_never_leaves(proxy, monkeypatch):
            with pytest.raises(Exception):
                requests.post(
                    "https://api.mixpanel.com/track", data="canary", proxies={"https": proxy}, timeout=10
                )
            assert b"canary" not in b"".join(SEEN)
        """,
        preamble="",
    )
    # Nothing was sent, and yet somebody tried.
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*this test sent a real request to api.mixpanel.com, which was stopped*"])


@pytest.mark.parametrize("write", ["through a socket", "through a buffer"])
def test_an_open_tls_connection_to_the_vendor_cannot_be_written_to(write):
    import socket
    import ssl

    context = ssl.create_default_context()
    ours, theirs = socket.socketpair()
    with watching() as watch, ours, theirs:
        if write == "through a socket":
            secure = context.wrap_socket(ours, server_hostname="api.mixpanel.com", do_handshake_on_connect=False)
            with secure, pytest.raises(VendorRequestError):
                secure.sendall(b"canary")
        else:
            secure = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="api.mixpanel.com")
            with pytest.raises(VendorRequestError):
                secure.write(b"canary")
        assert watch.take() == ["api.mixpanel.com"]


# rule 5.4, and its limit: a request that a mock answers is not a real one


def test_requests_that_a_mock_answers_are_none_of_the_guards_business(run):
    run("""
        import httpx, mixpanel, requests, responses, respx

        @responses.activate
        def test_responses():
            responses.post("https://api.mixpanel.com/track", json={"status": 1})
            track()

        @respx.mock
        def test_respx():
            respx.get("https://api.mixpanel.com/flags").respond(json={})
            assert httpx.get("https://api.mixpanel.com/flags").json() == {}

        def test_mock_transport():
            transport = httpx.MockTransport(lambda request: httpx.Response(200))
            assert httpx.Client(transport=transport).get("https://api.mixpanel.com/flags").status_code == 200

        def test_patched_adapter(monkeypatch):
            answer = requests.Response()
            answer.status_code, answer._content = 200, b'{"status": 1}'
            monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", lambda *args, **kwargs: answer)
            track()
    """).assert_outcomes(passed=4)


def test_a_request_that_a_mock_lets_through_is_a_real_one(run):
    run("""
        import contextlib, responses

        @responses.activate
        def test_passes_through():
            responses.add_passthru("https://api.mixpanel.com")
            with contextlib.suppress(Exception):
                track()
    """).assert_outcomes(failed=1)


def test_other_hosts_are_none_of_the_guards_business(run):
    run(
        """
        import socket, urllib.request
        from http.server import BaseHTTPRequestHandler, HTTPServer
        from threading import Thread

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(204)
                self.end_headers()

        def test_loopback():
            with HTTPServer(("127.0.0.1", 0), Answer) as server:
                Thread(target=server.handle_request).start()
                assert urllib.request.urlopen(f"http://localhost:{server.server_port}/mixpanel.com").status == 204

        def test_arguments_of_other_kinds():
            assert socket.getaddrinfo(None, 80)
            assert socket.getaddrinfo(host="127.0.0.1", port=80)
            assert socket.getaddrinfo(b"127.0.0.1", 80)
        """,
        preamble="",
    ).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("mixpanel.com", "mixpanel.com"),
        (b"API.MIXPANEL.COM.", "api.mixpanel.com"),
        ("notmixpanel.com", None),
        ("mixpanel.com.example.org", None),
        (None, None),
        (7, None),
        (b"\xff", None),
    ],
)
def test_the_hosts_of_the_vendor(host, found):
    assert vendor_host(host) == found


# rule 5.4: the marker that lets a test reach the vendor


def test_a_marked_test_may_reach_the_vendor(run):
    result = run(
        """
        import contextlib, pytest, socket

        @pytest.mark.consentpanel_network
        def test_marked(monkeypatch):
            with contextlib.suppress(OSError):
                socket.getaddrinfo("api.mixpanel.invalid.mixpanel.com", 443)

        def test_not_marked():
            socket.getaddrinfo("api.mixpanel.invalid.mixpanel.com", 443)
        """,
        "--strict-markers",
        preamble="",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["FAILED *test_not_marked*"])


def test_a_watch_inside_one_that_may_reach_the_vendor_may_too():
    import socket

    with watching(is_allowed=True), watching() as inner:
        with contextlib.suppress(OSError):
            socket.getaddrinfo("nowhere.invalid.mixpanel.com", 443)
        assert inner.take() == []


def test_a_thread_of_no_test_is_stopped_while_one_test_may_not_reach_the_vendor():
    import socket
    from concurrent.futures import ThreadPoolExecutor

    with watching() as watch, ThreadPoolExecutor(1) as pool:
        with pytest.raises(VendorRequestError):
            pool.submit(socket.getaddrinfo, "api.mixpanel.com", 443).result()
        assert watch.take() == ["api.mixpanel.com"]


def test_tests_in_threads_of_one_process_do_not_answer_for_each_other():
    import socket
    from concurrent.futures import ThreadPoolExecutor
    from threading import Barrier

    barrier = Barrier(2)

    def test(reaches):
        with watching() as watch:
            barrier.wait(30)
            if reaches:
                with pytest.raises(VendorRequestError):
                    socket.getaddrinfo("api.mixpanel.com", 443)
            barrier.wait(30)
            return watch.take()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(test, [True, False])) == [["api.mixpanel.com"], []]


def test_the_error_can_be_pickled_between_processes():
    import pickle

    error = pickle.loads(pickle.dumps(VendorRequestError("api.mixpanel.com")))
    assert (error.host, str(error)) == ("api.mixpanel.com", "a test must not send a real request to api.mixpanel.com")


# the plugin is loaded by every pytest run of everybody who installs the package


def test_the_plugin_itself_needs_nothing_of_the_vendor():
    code = """
import importlib.util, sys, types
for name in ("consentpanel", "consentpanel.testing"):
    found = importlib.util.find_spec("consentpanel") if name == "consentpanel" else None
    module = types.ModuleType(name)
    paths = found.submodule_search_locations if found else [sys.modules["consentpanel"].__path__[0] + "/testing"]
    module.__path__ = list(paths)
    sys.modules[name] = module
import consentpanel.testing.plugin
heavy = {"mixpanel", "requests", "httpx", "attrs", "consentpanel.testing._fake"} & set(sys.modules)
assert not heavy, heavy
"""
    # Without its parent package, whose public names are the vendor's too.
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# rule 5.4: "the fixture consentpanel_outbox (every client in the process writes to one FakeTransport for that test)"

CLIENTS = """
    from consentpanel import Consumer, FieldPolicy, Mixpanel
    from consentpanel.registry import MemoryRegistry
    from consentpanel.testing import FakeTransport

    registry = MemoryRegistry()
    registry.grant("user-1")
    everything = dict(registry=registry, policy=FieldPolicy.keep_all())
    default, own = FakeTransport(), FakeTransport()
    built_before = Mixpanel("TOKEN", **everything)
    with_consumer = Mixpanel("TOKEN", own, **everything)
"""


def test_every_client_writes_to_the_outbox_during_the_test_and_not_after(run):
    run(
        """
        import asyncio, threading

        def test_outbox(consentpanel_outbox):
            built_before.track("user-1", "Before")
            with_consumer.people_set("user-1", {"plan": "pro"})
            Mixpanel("TOKEN", **everything).track("user-2", "During")
            built_before.alias("user-1", "user-1")
            consentpanel_outbox.assert_tracked("Before", distinct_id="user-1")
            consentpanel_outbox.assert_people_set("user-1", {"plan": "pro"})
            consentpanel_outbox.assert_nothing_sent("user-2")
            assert len(consentpanel_outbox.decisions) == 4
            assert [decision.event for decision in consentpanel_outbox.dropped] == ["During"]
            assert own.messages == []

        def test_outbox_of_the_next_test_is_empty(consentpanel_outbox):
            consentpanel_outbox.assert_nothing_sent()

        def test_threads_write_there_too(consentpanel_outbox):
            thread = threading.Thread(target=built_before.track, args=("user-1", "In a thread"))
            thread.start()
            thread.join()
            asyncio.run(asyncio.to_thread(built_before.track, "user-1", "In a task"))
            assert len(consentpanel_outbox.events) == 2

        def test_without_the_outbox():
            with_consumer.track("user-1", "Own")
            own.assert_tracked("Own")
        """,
        preamble=CLIENTS,
    ).assert_outcomes(passed=4)


def test_what_a_test_configures_is_of_that_test_alone(run):
    # rule 1.2
    run(
        """
        import consentpanel, pytest
        from consentpanel import FieldPolicy, Mixpanel
        from consentpanel.registry import MemoryRegistry
        from consentpanel.testing import FakeTransport

        def sends():
            return bool(Mixpanel("T", FakeTransport(), policy=FieldPolicy()).track("u", "E"))

        def granting():
            registry = MemoryRegistry()
            registry.grant("u")
            return registry

        @pytest.fixture
        def configured():
            consentpanel.configure(registry=granting())

        def test_one():
            consentpanel.configure(registry=granting())
            assert sends()

        def test_two(configured):
            assert sends()

        def test_three():
            assert not sends()

        class TestShared:
            @pytest.fixture(scope="class", autouse=True)
            def shared(self):
                consentpanel.configure(registry=granting())
                yield
                consentpanel.reset()

            def test_four(self):
                assert sends()

            def test_five(self):
                assert sends()

        def test_six():
            consentpanel.configure(registry=granting())
            assert sends()

        import unittest

        class Seven(unittest.TestCase):
            def test_seven(self):
                assert not sends()
        """,
        preamble="",
    ).assert_outcomes(passed=7)


def test_the_package_is_loaded_once_whatever_a_test_puts_over_the_modules(run):
    # rules 1.1 and 5.4
    run(
        """
        import sys
        from unittest import mock
        import consentpanel
        from consentpanel.registry import MemoryRegistry

        def test_it(consentpanel_outbox):
            with mock.patch.dict(sys.modules, {"stripe": mock.Mock()}):
                mp = consentpanel.Mixpanel("T", registry=lambda subject, purpose: True)
            mp.track("u", "E")
            assert len(consentpanel_outbox.events) == 1
            consentpanel.Mixpanel("T", registry=MemoryRegistry(), policy=consentpanel.FieldPolicy())
        """,
        preamble="",
    ).assert_outcomes(passed=1)
