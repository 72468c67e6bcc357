"""Calls of the client by way of something else are found, or are told to be doubtful (contract rule 6.1)."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consentpanel import ConfigurationError
from consentpanel._cli import main
from consentpanel.transparency import Scan, scan

HEAD = "from mixpanel import Mixpanel\nmp = Mixpanel('T')\n"
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def scanned(tmp_path: Path) -> Callable[..., Scan]:
    def scanned(code: str, *clients: str, **files: str) -> Scan:
        for name, text in {"app": code, **files}.items():
            (tmp_path / f"{name}.py").write_text(HEAD + textwrap.dedent(text))
        return scan(tmp_path, clients)

    return scanned


def told(found: Scan) -> list[Any]:
    return [(call.method, call.events, sorted(call.properties), call.has_other_properties) for call in found.calls]


PAID = ("track", ("Paid",), ["total"], False)


@pytest.mark.parametrize(
    "code",
    [
        "t = mp.track\nt(1, 'Paid', {'total': 9})",
        "class A:\n    def __init__(self):\n        self.t = mp.track\n    def pay(self):\n        self.t(1, 'Paid', {'total': 9})",
        "(mp.track if on else mp.track)(1, 'Paid', {'total': 9})",
        "getattr(mp, 'track')(1, 'Paid', {'total': 9})",
        "t = getattr(mp, 'track', None)\nt(1, 'Paid', {'total': 9})",
        "METHODS = {'pay': mp.track}\nMETHODS['pay'](1, 'Paid', {'total': 9})",
        "METHODS = {}\nMETHODS['pay'] = mp.track\nMETHODS.get('pay')(1, 'Paid', {'total': 9})",
        "METHODS = {'pay': mp.track}\nMETHODS[name](1, 'Paid', {'total': 9})",
        "METHODS = {'pay': mp.track}\nm = METHODS['pay']\nm(1, 'Paid', {'total': 9})",
        "import asyncio\nasync def pay():\n    await asyncio.to_thread(mp.track, 1, 'Paid', {'total': 9})",
        "import asyncio\nasync def pay(loop):\n    await loop.run_in_executor(None, mp.track, 1, 'Paid', {'total': 9})",
        "executor.submit(mp.track, 1, 'Paid', properties={'total': 9})",
        "tasks.add_task(mp.track, 1, event_name='Paid', properties={'total': 9})",
        "from threading import Thread\nThread(target=mp.track, args=(1, 'Paid', {'total': 9})).start()",
        "import threading\nthreading.Thread(target=mp.track, args=[1, 'Paid'], kwargs={'properties': {'total': 9}}).start()",
        "import threading\nthreading.Timer(5, mp.track, (1, 'Paid', {'total': 9})).start()",
        "pool.apply_async(mp.track, (1, 'Paid'), {'properties': {'total': 9}})",
        "from functools import partial\non_commit(partial(mp.track, 1, 'Paid', {'total': 9}))\n",
        "import functools\npay = functools.partial(mp.track, 1, 'Paid')\npay({'total': 9})",
        "from functools import partial as p\nt = p(mp.track, 1)\nt('Paid', {'total': 9})",
        "from functools import partial\nexecutor.submit(partial(mp.track, 1), 'Paid', {'total': 9})",
        "from asgiref.sync import sync_to_async\nasync def pay():\n    await sync_to_async(mp.track)(1, 'Paid', {'total': 9})",
        "t = mp.track\nexecutor.submit(t, 1, 'Paid', {'total': 9})",
    ],
)
def test_a_method_is_followed_to_where_it_is_called(scanned, code: str) -> None:
    found = scanned(code)
    assert PAID in told(found)
    assert found.doubtful == ()


def test_a_method_is_followed_into_other_files(scanned) -> None:
    for code in ("from analytics import report as r\nr", "from shop import analytics\nanalytics.report"):
        found = scanned(f"{code}(1, 'Paid', {{'total': 9}})", analytics="report = mp.track\n")
        assert told(found) == [PAID]
        assert found.doubtful == ()


def test_an_attribute_of_another_object_is_not_the_method_of_that_name(scanned) -> None:
    found = scanned(
        "socket.send('data', {'a': 1})", analytics="class A:\n    def __init__(self):\n        self.send = mp.track\n"
    )
    assert told(found) == []
    assert [text for _, _, text in found.doubtful] == ["mp.track"]


def test_a_call_by_way_of_the_consent_of_a_request_is_followed(scanned) -> None:
    found = scanned(
        """
        from functools import partial
        from consentpanel.django import track_on_commit
        def pay(request):
            executor.submit(request.consent.track, 'Paid', {'total': 9})
            executor.submit(partial(track_on_commit, 1, 'Paid', {'total': 9}))
        """
    )
    assert [each[:3] for each in told(found)] == [
        ("track", ("Paid",), ["total"]),
        ("track_on_commit", ("Paid",), ["total"]),
    ]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("schedule(mp.track)", "mp.track"),
        ("for method in (mp.track, mp.people_set):\n    method(1, 'Paid')", "mp.track"),
        ("def get():\n    return mp.track", "mp.track"),
        ("getattr(mp, name)(1, 'Paid', {'total': 9})", "getattr(mp, name)"),
        ("x = getattr(mp, 'track')", "getattr(mp, 'track')"),
    ],
)
def test_a_method_that_is_handed_to_who_knows_whom_is_doubtful(scanned, code: str, text: str) -> None:
    found = scanned(code)
    assert found.calls == ()
    assert text in [each for _, _, each in found.doubtful]


def test_what_is_made_at_run_time_is_told_for_a_thread_too(scanned) -> None:
    (call,) = scanned("from threading import Thread\nThread(target=mp.track, args=arguments, kwargs=more)").calls
    assert (call.has_other_events, call.has_other_properties) == (True, True)


def test_what_asks_a_mock_or_reads_another_attribute_is_nothing(scanned) -> None:
    found = scanned(
        "mp.track.assert_called_once_with(1)\nx = mp.track.call_args\nmp.track = stub\ngetattr(mp, 'api_host')"
    )
    assert (found.calls, found.doubtful) == ((), ())


@pytest.mark.parametrize(
    ("wrapper", "call"),
    [
        ("def send(properties, name, user):\n    mp.track(user, name, properties)", "send({'total': 9}, 'Paid', 1)"),
        ("def send(name, *, user, **fields):\n    mp.track(user, name, fields)", "send('Paid', user=1, total=9)"),
        ("def send(*args, **kwargs):\n    mp.track(*args, **kwargs)", "send(1, 'Paid', properties={'total': 9})"),
        ("def send(first, *args):\n    mp.track(*args)", "send(0, 1, 'Paid', {'total': 9})"),
        ("def send(name, p):\n    executor.submit(mp.track, 1, name, p)", "send('Paid', {'total': 9})"),
        (
            "def send(name, p):\n    mp.track(1, str(name), {**p, 'x': 1})",
            "executor.submit(send, 'Paid', {'total': 9})",
        ),
        ("def send(name, p):\n    p = dict(p or {})\n    mp.track(1, name, p)", "s = send\ns('Paid', {'total': 9})"),
    ],
)
def test_a_wrapper_is_read_in_whatever_order_its_arguments_come(scanned, wrapper: str, call: str) -> None:
    assert ("send (track)", ("Paid",), ["total"], False) in told(scanned(f"{wrapper}\n{call}"))


@pytest.mark.parametrize(
    ("wrapper", "call"),
    [
        ("def send(name, p):\n    mp.track(1, f'shop: {name}', p)", "send('Paid', {'total': 9})"),
        ("def send(order):\n    mp.track(1, order['event'], order)", "send({'event': 'Paid', 'total': 9})"),
        ("def send(**fields):\n    mp.track(1, fields.pop('event'), fields)", "send(event='Paid', total=9)"),
        ("def send(arguments):\n    mp.track(*arguments)", "send([1, 'Paid', {'total': 9}])"),
    ],
)
def test_a_wrapper_that_cannot_be_read_makes_its_calls_doubtful(scanned, wrapper: str, call: str) -> None:
    found = scanned(f"{wrapper}\n{call}")
    assert len(found.calls) == 1
    assert [text for _, _, text in found.doubtful] == ["send(...), which hands on to track"]


def test_a_view_that_reports_what_it_was_asked_is_no_wrapper(scanned) -> None:
    found = scanned(
        """
        class View:
            def get(self, request, plan):
                mp.track(request.user.id, request.GET["event"], {"plan": plan})
        settings.get("debug", {"a": 1})
        """
    )
    assert told(found) == [("track", (), ["plan"], False)]
    assert found.doubtful == ()


def test_names_that_go_in_a_circle_end(scanned) -> None:
    circle = "\n".join(f"a{number} = a{(number + 1) % 9} or a{(number + 2) % 9}" for number in range(9))
    found = scanned(f"{circle}\ndef send(p):\n    q = r\n    r = q\n    mp.track(1, q, r)\na0(1, 'Paid')\n")
    assert len(found.calls) == 1


@pytest.mark.parametrize(
    ("client", "receiver"),
    [
        ("analytics", "analytics"),
        ("self.tracker", "self.tracker"),
        ('clients["eu"]', "clients['eu']"),
        ("get_client( )", "get_client()"),
        ("request.app.state.reporter", "request.app.state.reporter"),
        ("app.extensions['mp'].client", "app.extensions['mp'].client"),
    ],
)
def test_an_expression_can_be_named_as_the_client(scanned, client: str, receiver: str) -> None:
    code = f"{receiver}.track(1, 'Paid', {{'total': 9}})\n"
    assert told(scanned(code)) == []
    assert told(scanned(code, client)) == [PAID]
    assert told(scanned(f"c = {receiver}\nc.track(1, 'Paid', {{'total': 9}})\n", client)) == [PAID]


def test_what_is_no_expression_is_refused(scanned, tmp_path: Path, capsys) -> None:
    with pytest.raises(ConfigurationError, match="'def x' is no expression"):
        scanned("", "def x")
    assert main(["scan", str(tmp_path), "--client", "a b"]) == 2
    assert "--client: 'a b' is no expression of Python, such as analytics" in capsys.readouterr().err


def test_doubt_can_fail_a_build(scanned, tmp_path: Path, capsys) -> None:
    scanned("schedule(mp.track)")
    assert main(["scan", str(tmp_path)]) == 0
    assert main(["scan", str(tmp_path), "--fail-on", "doubtful", "--json"]) == 1
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :])["doubtful"][0]["text"] == "mp.track"
    scanned("mp.track(1, 'Paid')")
    assert main(["scan", str(tmp_path), "--fail-on", "doubtful"]) == 0


def test_all_calls_of_the_examples_are_found() -> None:
    # What any reader finds by the names of the methods.
    named = re.compile(r"\.a?(?:track|alias|merge|import_data|people_\w+|group_\w+)(?:_on_commit)?[(,]")
    written = {
        (str(file), number)
        for file in EXAMPLES.rglob("*.py")
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if named.search(line)
    }
    found = scan(EXAMPLES)
    assert {(call.file, call.line) for call in found.calls} == written
    assert len(found.calls) == len(written) >= 4
    assert (found.doubtful, found.unread) == ((), ())


@pytest.mark.parametrize(
    "code",
    [
        "async def order(consent: Consent):\n    await consent.track('Paid', {'total': 9})",
        "async def order(c: RequestConsent):\n    await c.track('Paid', {'total': 9})",
        "async def order(c: 'RequestConsent'):\n    await c.track('Paid', {'total': 9})",
        "async def order(request):\n    await request.state.consent.track('Paid', {'total': 9})",
        "async def order(request):\n    c = request.state.consent\n    await c.track('Paid', {'total': 9})",
        "async def order(scope):\n    await scope['state']['consent'].track('Paid', {'total': 9})",
        "async def order():\n    await (await current_consent()).track('Paid', {'total': 9})",
        "async def order():\n    c = await current_consent()\n    await c.track('Paid', {'total': 9})",
        "def order(consent: Consent, tasks):\n    tasks.add_task(consent.track, 'Paid', {'total': 9})",
    ],
)
def test_the_consent_of_a_request_by_asgi_is_known(tmp_path: Path, code: str) -> None:  # rule 11.2
    (tmp_path / "views.py").write_text(
        "from typing import Annotated\nfrom consentpanel.asgi import RequestConsent, current_consent\n"
        "Consent = Annotated[RequestConsent, Depends(current_consent)]\n" + code
    )
    (tmp_path / "elsewhere.py").write_text(
        "from views import Consent\nasync def order(consent: Consent):\n    await consent.track('Refunded')\n"
    )
    found = scan(tmp_path)
    (paid,) = [call for call in found.calls if call.events == ("Paid",)]
    assert (paid.method, paid.properties) == ("track", ("total",))
    assert [call.events for call in found.calls if call is not paid] == [("Refunded",)]
    assert found.doubtful == ()


@pytest.mark.parametrize(
    "code",
    ["from consentpanel import AsyncMixpanel as M\nmp = M('T')", "import consentpanel as c\nmp = c.AsyncMixpanel('T')"],
)
def test_the_client_of_asyncio_is_one(tmp_path: Path, code: str) -> None:
    (tmp_path / "shop.py").write_text(f"{code}\nasync def pay():\n    await mp.track(1, 'Paid', {{'total': 9}})\n")
    found = scan(tmp_path)
    assert [(call.events, call.properties) for call in found.calls] == [(("Paid",), ("total",))]
    assert found.doubtful == ()
