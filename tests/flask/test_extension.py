"""The extension for Flask (contract rule 11.1), over the core that all frameworks share (rule 11.4)."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("flask")
from flask import Blueprint, Flask, request, stream_with_context

from consentpanel import (
    BackgroundConsumer,
    BufferedConsumer,
    ConfigurationError,
    ConsentStatus,
    FieldPolicy,
    Mixpanel,
    Purpose,
    RegistryError,
    keep,
)
from consentpanel.flask import ConsentPanel, current_consent, mixpanel
from consentpanel.registry import MemoryRegistry, SQLAlchemyRegistry
from consentpanel.testing import FakeTransport

POLICY = FieldPolicy(events={"plan": keep()})
pages = Blueprint("pages", __name__)


@pages.post("/answer/<said>")
def answer(said: str) -> str:
    current_consent.answer(analytics=said == "yes", source="form")
    return current_consent.subject_id or ""


@pages.get("/visit")
def visit() -> str:
    return str(current_consent.track("Visited", {"plan": "pro", "email": "ann@shop.example"}).outcome.value)


@pages.get("/status")
def status() -> str:
    return current_consent.status("analytics").value


@pages.get("/plain")
def plain() -> str:
    return "plain"


@pages.get("/later")
async def later() -> str:
    return str(current_consent.track("Visited").outcome.value)


@pages.post("/withdraw")
def withdraw() -> str:
    current_consent.withdraw()
    return ""


def make(**options: Any) -> Flask:
    app = Flask("shop")
    app.config.update(SECRET_KEY="k" * 32, TESTING=True)
    app.register_blueprint(pages)
    given = {"token": "TOKEN", "policy": POLICY, "registry": MemoryRegistry(), "consumer": FakeTransport(), **options}
    ConsentPanel(app, **given)
    return app


def vendor_of(app: Flask) -> FakeTransport:
    with app.app_context():
        found: FakeTransport = mixpanel._consumer
        return found


@pytest.fixture
def app() -> Flask:
    return make()


@pytest.fixture
def vendor(app: Flask) -> FakeTransport:
    return app.extensions["consentpanel"].said.consumer


# rule 11.1
def test_a_visitor_is_tracked_after_a_yes_and_known_by_a_cookie(app: Flask, vendor: FakeTransport) -> None:
    browser = app.test_client()
    assert browser.get("/visit").text == "dropped"
    assert browser.get_cookie("consentpanel") is None
    who = browser.post("/answer/yes").text
    cookie = browser.get_cookie("consentpanel")
    assert cookie is not None
    assert (cookie.http_only, cookie.same_site, who.startswith("visitor-")) == (True, "Lax", True)
    assert browser.get("/visit").text == "redacted"
    vendor.assert_tracked("Visited", distinct_id=who, properties={"plan": "pro"})
    vendor.assert_no_personal_data()
    assert app.test_client().get("/visit").text == "dropped"


def test_what_asks_for_the_person_varies_with_the_cookie_and_what_does_not_asks_nobody(app: Flask) -> None:
    browser = app.test_client()
    assert {each.strip() for each in browser.get("/visit").headers["Vary"].split(",")} == {"Cookie", "Sec-GPC"}
    assert "Vary" not in browser.get("/plain").headers


def test_a_refusal_is_obeyed_and_so_is_a_withdrawal(app: Flask, vendor: FakeTransport) -> None:
    browser = app.test_client()
    browser.post("/answer/no")
    assert browser.get("/visit").text == "dropped"
    browser.post("/answer/yes")
    browser.post("/withdraw")
    assert browser.get("/visit").text == "dropped"
    vendor.assert_nothing_sent()


def test_global_privacy_control_is_a_denial(app: Flask, vendor: FakeTransport) -> None:
    browser = app.test_client()
    who = browser.post("/answer/yes").text
    assert browser.get("/visit", headers={"Sec-GPC": "1"}).text == "dropped"
    last = app.extensions["consentpanel"].said.registry.history(who)[-1]
    assert (last.status, last.source) == (ConsentStatus.DENIED, "gpc")
    browser.post("/answer/yes")
    assert browser.get("/visit", headers={"Sec-GPC": "1"}).text == "redacted"


def test_an_asynchronous_view_tracks_too(app: Flask, vendor: FakeTransport) -> None:
    pytest.importorskip("asgiref")
    browser = app.test_client()
    browser.post("/answer/yes")
    assert browser.get("/later").text == "sent"


def test_log_in_carries_over_and_the_next_person_inherits_nothing(vendor: FakeTransport) -> None:
    login = pytest.importorskip("flask_login")
    app = make()
    manager = login.LoginManager(app)

    class User(login.UserMixin):
        id = "user-1"

    manager.user_loader(lambda _: User())
    app.add_url_rule("/log-in", view_func=lambda: str(login.login_user(User())), endpoint="in", methods=["POST"])
    app.add_url_rule("/log-out", view_func=lambda: str(login.logout_user()), endpoint="out", methods=["POST"])
    browser = app.test_client()
    browser.post("/answer/yes")
    browser.post("/log-in")
    assert browser.get_cookie("consentpanel") is None
    assert browser.get("/visit").text == "redacted"
    vendor_of(app).assert_tracked("Visited", distinct_id="user-1")
    browser.post("/log-out")
    assert browser.get("/visit").text == "dropped"


class Stuck(MemoryRegistry):
    """Answers, and can record nothing as long as it is full."""

    is_full = False

    def record_many(self, records: Any, **where: Any) -> None:
        self._must_have_room()
        super().record_many(records, **where)

    def deny(self, *arguments: Any, **fields: Any) -> None:
        self._must_have_room()
        super().deny(*arguments, **fields)

    def _must_have_room(self) -> None:
        if self.is_full:
            raise RegistryError("the disk is full")


# rule 11.4
def test_a_signal_that_cannot_be_recorded_is_obeyed_all_the_same() -> None:
    registry = Stuck()
    app = make(registry=registry)
    browser = app.test_client()
    browser.post("/answer/yes")
    registry.is_full = True
    gpc = {"Sec-GPC": "1"}
    assert browser.get("/visit", headers=gpc).text == "dropped"
    assert browser.get("/status", headers=gpc).text == "denied"
    registry.is_full = False
    assert browser.get("/visit").text == "redacted"
    assert browser.get("/visit", headers=gpc).text == "dropped"


# rule 11.4
def test_a_refusal_that_cannot_be_carried_over_is_obeyed_all_the_same() -> None:
    registry = Stuck()
    registry.grant("user-1", "analytics")
    app = make(registry=registry, subject=lambda: request.headers.get("X-Account"))
    browser = app.test_client()
    browser.post("/answer/no")
    registry.is_full = True
    account = {"X-Account": "user-1"}
    for _ in range(2):
        assert browser.get("/visit", headers=account).text == "dropped"
        assert browser.get("/status", headers=account).text == "denied"
    assert app.test_client().get("/visit", headers=account).text == "redacted"
    registry.is_full = False
    assert browser.get("/visit", headers=account).text == "dropped"
    assert app.test_client().get("/visit", headers=account).text == "dropped"


def test_an_answer_after_the_response_has_begun_is_refused_and_records_nothing(app: Flask) -> None:
    @app.get("/streamed")
    def streamed() -> Any:
        def parts() -> Any:
            try:
                current_consent.answer(analytics=True)
            except RuntimeError:
                yield "too late"

        return stream_with_context(parts())

    browser = app.test_client()
    response = browser.get("/streamed")
    assert (response.text, "Set-Cookie" in response.headers) == ("too late", False)
    browser.post("/answer/no")
    assert browser.get("/streamed").text == ""


def test_an_answer_to_a_purpose_that_no_call_is_for_is_recorded_and_warned_of(app: Flask, caplog: Any) -> None:
    with app.test_request_context():
        current_consent.answer(anlytics=False)
        assert current_consent.status("anlytics") is ConsentStatus.DENIED
    assert "to a purpose for which no call" in caplog.text
    assert "anlytics" not in caplog.text


def test_an_answer_may_be_part_of_a_transaction(tmp_path: Any) -> None:
    orm = pytest.importorskip("sqlalchemy.orm")
    import sqlalchemy

    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/shop.db")
    app = make(registry=None, database=engine, subject=lambda: "user-1")
    app.extensions["consentpanel"].client._guard.settings().registry.create_tables()
    with app.test_request_context(), orm.Session(engine) as session:
        session.execute(sqlalchemy.text("CREATE TABLE account (id text)"))
        session.execute(sqlalchemy.text("INSERT INTO account VALUES ('user-1')"))
        current_consent.answer(analytics=True, profiles=False, session=session)
        session.rollback()
        assert current_consent.status("analytics") is ConsentStatus.UNKNOWN
        session.execute(sqlalchemy.text("INSERT INTO account VALUES ('user-1')"))
        current_consent.answer(analytics=True, profiles=False, session=session)
        session.commit()
        assert current_consent.status("analytics") is ConsentStatus.GRANTED
        assert current_consent.status("profiles") is ConsentStatus.DENIED
    engine.dispose()


def test_what_waits_for_a_transaction_of_its_own_request_says_so(tmp_path: Any) -> None:
    orm = pytest.importorskip("sqlalchemy.orm")
    import sqlalchemy

    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/shop.db", connect_args={"timeout": 0.05})
    app = make(registry=None, database=engine)
    app.extensions["consentpanel"].client._guard.settings().registry.create_tables()
    with app.test_request_context(), orm.Session(engine) as session:
        session.execute(sqlalchemy.text("CREATE TABLE account (id text)"))
        session.execute(sqlalchemy.text("INSERT INTO account VALUES ('user-1')"))
        with pytest.raises(RegistryError, match="another transaction has the file"):
            current_consent.answer(analytics=True)
    engine.dispose()


def test_the_account_may_be_named_by_a_function() -> None:
    registry = MemoryRegistry()
    registry.grant("user-7", "analytics")
    app = make(registry=registry, subject=lambda: 7 if True else None)
    assert app.test_client().get("/visit").text == "dropped"
    app = make(registry=registry, subject=lambda: "user-7")
    assert app.test_client().get("/visit").text == "redacted"


def test_several_applications_of_one_process_have_each_its_own() -> None:
    one, other = make(), make(token="OTHER")
    for app in (one, other):
        browser = app.test_client()
        browser.post("/answer/yes")
        browser.get("/visit")
    assert [len(vendor_of(app).events) for app in (one, other)] == [1, 1]
    assert vendor_of(other).events[0].properties["token"] == "OTHER"


def test_a_factory_takes_its_configuration() -> None:
    panel = ConsentPanel()
    for _ in range(2):
        app = Flask("shop")
        app.config.from_mapping(
            SECRET_KEY="k" * 32,
            CONSENTPANEL_TOKEN="TOKEN",
            CONSENTPANEL_POLICY=POLICY,
            CONSENTPANEL_REGISTRY="consentpanel.registry.MemoryRegistry",
            CONSENTPANEL_CONSUMER="consentpanel.testing.FakeTransport",
            CONSENTPANEL_GPC=("analytics",),
            CONSENTPANEL_COOKIE={"NAME": "choice"},
        )
        panel.init_app(app)
        with app.app_context():
            assert isinstance(mixpanel, Mixpanel)
            assert not mixpanel.track("user-1", "Visited")
        with pytest.raises(ConfigurationError, match="already"):
            panel.init_app(app)


def test_consent_is_kept_in_the_database_of_flask_sqlalchemy_or_one_that_is_named(tmp_path: Any) -> None:
    extension = pytest.importorskip("flask_sqlalchemy")
    app = Flask("shop")
    app.config.update(SECRET_KEY="k" * 32, SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/shop.db")
    app.register_blueprint(pages)
    database = extension.SQLAlchemy(app)
    panel = ConsentPanel(app, token="TOKEN", policy=POLICY, consumer=FakeTransport(), policy_version="3")
    panel.create_tables(app)
    with app.app_context():
        registry: Any = mixpanel._guard.settings().registry
        assert isinstance(registry, SQLAlchemyRegistry)
    browser = app.test_client()
    who = browser.post("/answer/yes").text
    with app.app_context():
        assert registry.history(who)[0].policy_version == "3"
        database.engine.dispose()
    named = make(registry=None, database=f"sqlite:///{tmp_path}/shop.db", policy_version="3")
    with named.app_context():
        own: Any = mixpanel._guard.settings().registry
        assert own.status(who, Purpose.ANALYTICS) is ConsentStatus.GRANTED
        own.close()
    registry.close()


class Failing(FakeTransport):
    def send(self, *arguments: Any) -> None:
        raise OSError("ann@shop.example")


def test_what_waits_is_flushed_after_the_response_which_never_fails_for_it(caplog: Any) -> None:
    vendor = FakeTransport()
    app = make(consumer=BufferedConsumer(consumer=vendor))
    browser = app.test_client()
    browser.post("/answer/yes")
    with browser.get("/visit") as response:
        assert response.text == "redacted"
        assert vendor.events == []
    assert len(vendor.events) == 1
    broken = make(consumer=BufferedConsumer(consumer=Failing()))
    browser = broken.test_client()
    browser.post("/answer/yes")
    with browser.get("/visit") as response:
        assert response.status_code == 200
    assert "the flush after a response" in caplog.text
    assert "ann@shop.example" not in caplog.text
    with broken.app_context():
        mixpanel._consumer.purge(browser.post("/answer/no").text)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"token": ""}, "CONSENTPANEL_TOKEN is missing"),
        ({"registry": None}, "CONSENTPANEL_REGISTRY is missing"),
        ({"polcy": POLICY}, "there is no key CONSENTPANEL_POLCY"),
        ({"policy": "shop.nowhere.POLICY"}, "CONSENTPANEL_POLICY: 'shop.nowhere.POLICY' cannot be imported"),
        ({"cookie": {"NAEM": 1}}, "CONSENTPANEL_COOKIE has no key 'NAEM'"),
        ({"gpc": "analytics"}, "CONSENTPANEL_GPC"),
        ({"gpc": "analytics"}, "must be several purposes"),
        ({"cookie": "choice"}, "must be a mapping"),
        ({"policy": 5}, "policy must be a FieldPolicy"),
        ({"policy": "shop.analytics:POLICY"}, "a dot in the place of the colon"),
        ({"policy_version": 3}, "CONSENTPANEL_POLICY_VERSION must be"),
        ({"consumer": BackgroundConsumer(), "api_host": "api-eu.mixpanel.com"}, "sends elsewhere"),
    ],
)
def test_a_configuration_that_cannot_work_raises_at_the_start(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        make(**given)


def test_a_key_that_is_unknown_is_refused_at_once_and_an_application_without_a_panel_is_told() -> None:
    with pytest.raises(ConfigurationError, match="no key CONSENTPANEL_TOKN"):
        ConsentPanel(tokn="TOKEN")
    with pytest.raises(ConfigurationError, match="no ConsentPanel"):
        ConsentPanel().create_tables(Flask("shop"))


def test_without_a_secret_key_it_says_so() -> None:
    with pytest.raises(ConfigurationError, match="SECRET_KEY is missing"):
        ConsentPanel(Flask("shop"), token="TOKEN", registry=MemoryRegistry())


def test_outside_of_a_request_or_an_application_it_says_what_to_do(app: Flask) -> None:
    with app.app_context(), pytest.raises(RuntimeError, match="name the data subject"):
        current_consent.subject_id  # noqa: B018 - what it raises
    with pytest.raises(RuntimeError):
        mixpanel.stats()
    with Flask("bare").app_context(), pytest.raises(ConfigurationError, match="no ConsentPanel"):
        mixpanel.stats()


def test_the_commands_of_the_command_line_are_there(app: Flask, tmp_path: Any) -> None:  # rule 10.9
    runner = app.test_cli_runner()
    assert {"erase", "export", "prune", "deliver", "audit", "notice", "scan"} <= set(
        runner.invoke(args=["consent", "--help"]).output.split()
    )
    (tmp_path / "views.py").write_text(
        "from consentpanel.flask import mixpanel\nmixpanel.track(1, 'Paid', {'total': 9})\n"
    )
    done = runner.invoke(args=["consent", "scan", str(tmp_path)])
    assert (done.exit_code, "events: Paid" in done.output) == (0, True)
    done = runner.invoke(args=["consent", "deliver", "--once"])
    assert (done.exit_code, "nothing waits" in done.output + done.stderr) == (2, True)
    assert runner.invoke(args=["consent", "prune", "--days", "30", "--yes"]).output == "0 people forgotten\n"
    assert "--days" in runner.invoke(args=["consent", "prune", "--help"]).output


def test_the_fixture_sees_what_it_sends(consentpanel_outbox: FakeTransport) -> None:
    app = make(consumer="consentpanel.BackgroundConsumer")
    browser = app.test_client()
    who = browser.post("/answer/yes").text
    browser.get("/visit")
    consentpanel_outbox.assert_tracked("Visited", distinct_id=who)


def test_answers_are_to_the_version_that_the_registry_asks_for_and_in_the_language_of_the_texts() -> None:
    registry = MemoryRegistry(required_policy_version="7", strict_records=True)
    for language in ("de", lambda: "de"):
        app = make(registry=registry, language=language)
        browser = app.test_client()
        who = browser.post("/answer/yes").text
        assert browser.get("/visit").text == "redacted"
        assert (registry.history(who)[0].policy_version, registry.history(who)[0].language) == ("7", "de")
    with make(registry=registry).test_request_context():
        current_consent.answer(analytics=True, language="fr")
        assert registry.history(current_consent.subject_id)[0].language == "fr"


def test_of_two_cookies_the_one_that_was_signed_here_counts(app: Flask) -> None:
    browser = app.test_client()
    browser.post("/answer/no")
    cookie = browser.get_cookie("consentpanel")
    assert cookie is not None
    header = f"consentpanel=evil; consentpanel={cookie.value}"
    assert app.test_client(use_cookies=False).get("/status", headers={"Cookie": header}).text == "denied"


@pytest.mark.parametrize("within", ["session", "connection"])
@pytest.mark.parametrize("end", ["committed", "rolled back", "a savepoint of it is", "another one is"])
def test_a_visitor_is_known_again_where_the_transaction_of_the_answer_is_committed(
    tmp_path: Any, end: str, within: str
) -> None:
    orm = pytest.importorskip("sqlalchemy.orm")
    import sqlalchemy

    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/shop.db")
    app = make(registry=None, database=engine)
    app.extensions["consentpanel"].client._guard.settings().registry.create_tables()

    @app.get("/sign-up")
    def sign_up() -> str:
        opened = orm.Session(engine) if within == "session" else engine.connect()
        with opened:
            current_consent.withdraw(**{within: opened})
            if end == "a savepoint of it is":
                opened.begin_nested().commit()
            if end == "committed":
                opened.commit()
            else:
                opened.rollback()
            if end == "another one is":
                opened.execute(sqlalchemy.text("CREATE TABLE account (id text)"))
                opened.commit()
        return ""

    assert ("Set-Cookie" in app.test_client().get("/sign-up").headers) is (end == "committed")
    engine.dispose()


def test_a_context_that_was_pushed_before_is_nobodys_consent(app: Flask, vendor: FakeTransport) -> None:
    with app.app_context():
        one, other, third = (app.test_client() for _ in range(3))
        whose = {one.post("/answer/yes").text, other.post("/answer/no").text}
        assert len(whose) == 2
        assert [each.get("/visit").text for each in (one, other, third)] == ["redacted", "dropped", "dropped"]


def test_a_server_of_ones_own_may_stand_in_the_place_of_the_vendors_host() -> None:
    urls = {f"{name}_url": f"http://127.0.0.1:8300/{name}" for name in ("events", "people", "groups", "import")}
    app = make(consumer=BackgroundConsumer(**urls), api_host="api-eu.mixpanel.com")
    assert app.test_client().get("/plain").text == "plain"
    assert make(consumer=BackgroundConsumer(api_host="api-eu.mixpanel.com"), api_host="api-eu.mixpanel.com")
