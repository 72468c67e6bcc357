"""Rule 5.1: what sends for us follows no redirect to another host with a body, and takes nothing from a `.netrc`."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import mixpanel
import pytest
import requests
import responses

from consentpanel import (
    BackgroundConsumer,
    BufferedConsumer,
    FieldPolicy,
    Mixpanel,
    PrivacyRequestError,
    PrivacyRequests,
)
from consentpanel.testing._loopback import LoopbackServer, reply

pytestmark = pytest.mark.usefixtures("_no_pause")


class Server:
    """Keeps what it was asked, and answers all of it alike."""

    def __init__(self, status: int, answer: Any = None, **headers: str) -> None:
        self.asked: list[tuple[str, bytes, str | None]] = []
        self.status, self.said, self.headers = status, answer, headers
        self.http = LoopbackServer(self.answer)
        self.url = self.http.url

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        self.asked.append((f"{request.command} {request.path}", body, request.headers["Authorization"]))
        reply(request, self.status, self.said, self.headers)


@pytest.fixture
def server() -> Iterator[Callable[..., Server]]:
    built: list[Server] = []

    def build(*arguments: Any, **headers: str) -> Server:
        built.append(Server(*arguments, **headers))
        return built[-1]

    yield build
    for each in built:
        each.http.close()


@pytest.fixture
def elsewhere(server: Callable[..., Server]) -> Server:
    return server(200, {"status": 1, "error": None})


@pytest.fixture
def _netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


class Counting:
    """Somebody's consumer around another one, under a name of its own."""

    def __init__(self, behind: Any) -> None:
        self.behind, self.count = behind, 0

    def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None:
        self.count += 1
        self.behind.send(endpoint, json_message, api_key, api_secret)


OURS: dict[str, Callable[..., Any]] = {
    "the vendor's Consumer": mixpanel.Consumer,
    "the vendor's BufferedConsumer": mixpanel.BufferedConsumer,
    "BufferedConsumer": BufferedConsumer,
    "BackgroundConsumer": lambda **urls: BackgroundConsumer(**urls, linger=0.01, flush_timeout=0.1, exit_timeout=0.1),
    "BufferedConsumer over the vendor's": lambda **urls: BufferedConsumer(consumer=mixpanel.Consumer(**urls)),
    "somebody's over the vendor's": lambda **urls: Counting(mixpanel.Consumer(**urls)),
    "BufferedConsumer over two of somebody's": lambda **urls: BufferedConsumer(
        consumer=Counting(Counting(mixpanel.Consumer(**urls)))
    ),
}
CALLS: dict[str, Callable[[Mixpanel], object]] = {
    "track": lambda mp: mp.track("user-1", "Signed up", {"email": "ann@mail.example"}),
    "people_set": lambda mp: mp.people_set("user-1", {"email": "ann@mail.example"}),
    "import_data": lambda mp: mp.import_data("key", "user-1", "Signed up", 1_700_000_000, api_secret="secret"),
}


@pytest.fixture
def client() -> Iterator[Callable[[Any], Mixpanel]]:
    consumers: list[Any] = []

    def build(consumer: Any) -> Mixpanel:
        consumers.append(consumer)
        everybody = {"registry": lambda subject, purpose, at=None: True, "policy": FieldPolicy.keep_all()}
        return Mixpanel("TOKEN", consumer, **everybody)

    yield build
    for consumer in consumers:
        if isinstance(consumer, BackgroundConsumer):
            # Its threads would try again while another test has the environment.
            consumer._close(0)


def call(mp: Mixpanel, name: str) -> None:
    CALLS[name](mp)
    mp.flush()


def failure(mp: Mixpanel, name: str) -> str:
    """What a call and its flush raise; of a thread, once it has tried."""
    with pytest.raises(mixpanel.MixpanelException) as raised:
        call(mp, name)
    for _ in range(200):
        if not str(raised.value).endswith("and are kept"):
            break
        with pytest.raises(mixpanel.MixpanelException) as raised:
            mp.flush()
    return str(raised.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", OURS)
def test_no_redirect_to_another_host_is_followed_and_the_failure_names_its_status(
    client, server, elsewhere, name, status
):
    # rule 5.1
    first = server(status, {"status": 1}, Location=f"{elsewhere.url}/track")
    mp = client(OURS[name](**first.http.urls))
    assert f"HTTP {status}" in failure(mp, "track")
    assert len(first.asked) >= 1
    assert elsewhere.asked == []


@pytest.mark.parametrize("said", CALLS)
@pytest.mark.parametrize("name", OURS)
def test_each_endpoint_follows_none(client, server, elsewhere, name, said):
    # rule 5.1
    first = server(307, None, Location=elsewhere.url)
    assert "HTTP 307" in failure(client(OURS[name](**first.http.urls)), said)
    assert elsewhere.asked == []


@pytest.mark.parametrize("kind", [BufferedConsumer, BackgroundConsumer])
def test_a_compressed_import_follows_none_either(server, elsewhere, kind):
    # rule 5.1
    first = server(308, None, Location=elsewhere.url)
    consumer = kind(**first.http.urls, gzip_imports=True)
    consumer.send("imports", "{}", ("key", "secret"))
    with pytest.raises(mixpanel.MixpanelException):
        consumer.flush(0.1) if kind is BackgroundConsumer else consumer.flush()
    assert elsewhere.asked == []
    first.status, first.said = 200, {"status": 1}
    consumer.close()


@pytest.mark.parametrize("name", ["BufferedConsumer", "BackgroundConsumer", "BufferedConsumer over the vendor's"])
def test_what_met_a_redirect_is_kept_and_arrives_once(client, server, elsewhere, name):
    # rules 5.1 and 5.2
    first = server(307, None, Location=elsewhere.url)
    mp = client(OURS[name](**first.http.urls))
    assert "HTTP 307" in failure(mp, "track")
    first.status, first.said = 200, {"status": 1, "error": None}
    mp._consumer.flush(20) if name == "BackgroundConsumer" else mp.flush()
    assert mp.stats() == {"sent": {"consent_granted": 1}}
    assert elsewhere.asked == []


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_redirect_on_the_same_host_is_not_followed_either(client, server, is_whole):
    # rule 5.1: the vendor has none, and where one leads is not for a message to find out
    first = server(307)
    first.headers["Location"] = f"{first.url if is_whole else ''}/elsewhere"
    with pytest.raises(mixpanel.MixpanelException, match="HTTP 307: a redirect, which is not followed"):
        client(mixpanel.Consumer(**first.http.urls)).track("user-1", "Signed up")
    assert [path for path, *_ in first.asked] == ["POST /track"]


def test_the_default_consumer_follows_none(client, elsewhere):
    # rule 5.1
    with responses.RequestsMock(assert_all_requests_are_fired=False) as network:
        network.post("https://api.mixpanel.com/track", status=307, headers={"Location": "https://elsewhere.example/"})
        network.post("https://elsewhere.example/", json={"status": 1})
        with pytest.raises(mixpanel.MixpanelException, match="HTTP 307: a redirect, which is not followed"):
            client(None).track("user-1", "Signed up")
        assert len(network.calls) == 1


def test_a_consumer_that_is_put_in_later_follows_none(client, server, elsewhere):
    # rules 1.4 and 5.1
    first = server(307, None, Location=elsewhere.url)
    mp = client(None)
    mp._consumer = mixpanel.Consumer(**first.http.urls)
    with pytest.raises(mixpanel.MixpanelException, match="HTTP 307"):
        mp.track("user-1", "Signed up")
    assert elsewhere.asked == []


@pytest.mark.usefixtures("_netrc")
@pytest.mark.parametrize("said", ["track", "people_set"])
@pytest.mark.parametrize("name", OURS)
def test_no_credentials_come_from_a_netrc(client, elsewhere, name, said):
    # rule 5.1
    call(client(OURS[name](**elsewhere.http.urls)), said)
    assert [authorization for *_, authorization in elsewhere.asked] == [None]


@pytest.mark.usefixtures("_netrc")
@pytest.mark.parametrize("name", OURS)
def test_the_credentials_of_a_call_hold(client, elsewhere, name):
    # rule 1.3
    call(client(OURS[name](**elsewhere.http.urls)), "import_data")
    assert [authorization for *_, authorization in elsewhere.asked] == [
        "Basic " + base64.b64encode(b"secret:").decode()
    ]


@pytest.mark.usefixtures("_netrc")
def test_what_stands_in_a_url_holds_as_ever(client, elsewhere):
    # rule 1.3
    url = f"{elsewhere.url}/track".replace("http://", "http://me:mine@")
    client(mixpanel.Consumer(events_url=url)).track("user-1", "Signed up")
    assert [authorization for *_, authorization in elsewhere.asked] == [
        "Basic " + base64.b64encode(b"me:mine").decode()
    ]


def test_a_session_with_credentials_of_its_own_keeps_them(client, elsewhere):
    # rule 1.3
    consumer = mixpanel.Consumer(**elsewhere.http.urls)
    consumer._session.auth = ("me", "mine")
    client(consumer).track("user-1", "Signed up")
    assert [authorization for *_, authorization in elsewhere.asked] == [
        "Basic " + base64.b64encode(b"me:mine").decode()
    ]


def test_proxies_and_certificates_of_the_environment_hold_as_ever(client, elsewhere, monkeypatch):
    # rule 1.3
    monkeypatch.setenv("http_proxy", elsewhere.url)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    client(mixpanel.Consumer(events_url="http://vendor.example/track")).track("user-1", "Signed up")
    assert [path for path, *_ in elsewhere.asked] == ["POST http://vendor.example/track"]
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem")
    with pytest.raises(mixpanel.MixpanelException, match="invalid path: /nowhere"):
        client(mixpanel.Consumer(events_url="https://vendor.example/track")).track("user-1", "Signed up")


def test_sealing_a_consumer_twice_changes_it_once(client, elsewhere):
    consumer = mixpanel.Consumer(**elsewhere.http.urls)
    first = client(consumer)
    before = dict(vars(consumer._session))
    client(consumer).track("user-1", "Signed up")
    first.track("user-1", "Signed up")
    assert vars(consumer._session) == before
    assert len(elsewhere.asked) == 2


# PrivacyRequests


@pytest.mark.usefixtures("_netrc")
def test_a_privacy_request_carries_its_own_token(server):
    # rule 5.1
    vendor = server(201, {"status": "ok", "results": {"task_id": "1"}})
    PrivacyRequests("TOKEN", "OAUTH", host=vendor.url).create_deletion("user-1")
    assert [authorization for *_, authorization in vendor.asked] == ["Bearer OAUTH"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_privacy_request_follows_no_redirect(server, elsewhere, status):
    # rule 5.1
    vendor = server(status, None, Location=elsewhere.url)
    privacy = PrivacyRequests("TOKEN", "OAUTH", host=vendor.url)
    for ask in (
        lambda: privacy.create_deletion("user-1"),
        lambda: privacy.create_retrieval("user-1"),
        lambda: privacy.look_up_deletion("1"),
        lambda: privacy.cancel_deletion("1"),
    ):
        with pytest.raises(PrivacyRequestError, match=f"HTTP {status}"):
            ask()
    assert elsewhere.asked == []


@pytest.mark.parametrize("name", ["_http", "client", "_session"])
def test_a_session_under_any_name_follows_no_redirect(
    server: Callable[..., Server], elsewhere: Server, name: str
) -> None:
    # rule 5.1
    first = server(307, Location=elsewhere.url)

    class Own:
        def __init__(self) -> None:
            setattr(self, name, requests.Session())

        def send(self, endpoint: str, json_message: str) -> None:
            getattr(self, name).post(f"{first.url}/{endpoint}", data=json_message)

    everybody = {"registry": lambda subject, purpose, at=None: True, "policy": FieldPolicy.keep_all()}
    for consumer in (Own(), BufferedConsumer(consumer=Own())):
        mp = Mixpanel("TOKEN", consumer, **everybody)  # type: ignore[arg-type]
        with pytest.raises(Exception, match="307"):
            call(mp, "track")
    assert len(first.asked) == 2
    assert not elsewhere.asked


AT_CLASS_LEVEL = requests.Session()


def _senders(url: str) -> dict[str, Callable[[str], object]]:
    """Ways to keep a session, by what they are called with a body."""
    session = requests.Session()
    held = {"session": requests.Session()}
    post = requests.Session().post
    deep = type("Api", (), {})()
    deep.session = requests.Session()
    return {
        "an attribute": lambda body: session.post(url, data=body),
        "a new one each time": lambda body: requests.Session().post(url, data=body),
        "the module's function": lambda body: requests.post(url, data=body, timeout=9),
        "a global": lambda body: AT_CLASS_LEVEL.post(url, data=body),
        "a dict": lambda body: held["session"].post(url, data=body),
        "a bound method": lambda body: post(url, data=body),
        "an object of its own": lambda body: deep.session.post(url, data=body),
        "a prepared request": lambda body: session.send(
            session.prepare_request(requests.Request("POST", url, data=body))
        ),
    }


@pytest.mark.parametrize("way", _senders(""))
@pytest.mark.parametrize("buffered", [False, True])
def test_a_session_follows_none_wherever_it_is_kept(
    client: Any, server: Any, elsewhere: Server, way: str, buffered: bool
) -> None:
    # rule 5.1
    first = server(307, None, Location=elsewhere.url)
    send = _senders(first.url)[way]

    class Theirs:
        def send(self, endpoint: str, json_message: str) -> None:
            send(json_message)

    mp = client(BufferedConsumer(consumer=Theirs()) if buffered else Theirs())
    for _ in range(2):
        with pytest.raises(Exception, match="307"):
            call(mp, "track")
    assert len(first.asked) == 2
    assert elsewhere.asked == []


@pytest.mark.usefixtures("_netrc")
def test_what_the_application_asks_by_the_same_session_goes_on_as_it_did(
    client: Any, server: Any, elsewhere: Server
) -> None:
    # rule 5.1 is about what carries a body
    session = requests.Session()
    consumer = Counting(mixpanel.Consumer(**elsewhere.http.urls))
    consumer.behind._session = session
    mp = client(consumer)
    mp.track("user-1", "Signed up")
    first = server(302, None, Location=f"{elsewhere.url}/new")
    assert session.get(first.url).status_code == 200
    assert session.get(server(304).url).status_code == 304
    assert pickle.loads(pickle.dumps(session)).get(f"{elsewhere.url}/new").status_code == 200
    # Of the requests that arrived the vendor's alone has no credentials of the `.netrc`.
    assert [bool(authorization) for *_, authorization in elsewhere.asked] == [False, True, True]
