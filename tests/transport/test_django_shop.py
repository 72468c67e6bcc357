"""The example shop as it is run: gunicorn, Celery and a database that restarts under load (contract rules 9.7, 10.2, 10.4)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

import consentpanel

pytestmark = [pytest.mark.slow, pytest.mark.service]

SHOP = Path(__file__).parents[2] / "examples" / "django_shop"
SETTINGS = """
from shop_site.settings import *
from shop_site.settings import CONSENTPANEL

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
CONSENTPANEL = {**CONSENTPANEL, "CONSUMER": "proof_outbox.OUTBOX"}
"""
OUTBOX = """
import json, os
from consentpanel.django import DjangoOutbox

OUTBOX = DjangoOutbox(**json.loads(os.environ["VENDOR_URLS"]), linger=0.2)
"""
PASSWORD = "correct horse battery"
ORDER = {"product": "tea", "quantity": "1", "email": "ann@shop.example"}


class Outage:
    """When the database is away, and who has failed while it was not."""

    def __init__(self) -> None:
        self.is_on = False
        self.ended = 0.0
        self.failed: list[str] = []

    def note(self, begun: float, what: str) -> None:
        if not self.is_on and begun > self.ended + 1:
            self.failed.append(what)


class Customer(threading.Thread):
    """Answers, signs up, orders, takes back or not, logs out and in, and orders again; tries again what fails, as people do."""

    def __init__(self, number: int, address: str, outage: Outage, orders: int) -> None:
        super().__init__(daemon=True)
        self.who, self.address, self.outage, self.orders = f"customer-{number}", address, outage, orders
        self.agrees, self.withdraws = number % 3 != 0, number % 6 == 1
        self.browser = requests.Session()
        self.browser.trust_env = False
        self.error: BaseException | None = None
        self.is_done = False

    def submit(self, path: str, fields: dict[str, str], page: str = "") -> None:
        until = time.monotonic() + 90
        while time.monotonic() < until:
            begun = time.monotonic()
            try:
                shown = self.browser.get(self.address + (page or path), timeout=30).text
                hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', shown)
                said = self.browser.post(
                    self.address + path,
                    {**dict(hidden), **fields},
                    allow_redirects=False,
                    timeout=30,
                )
            except requests.RequestException as error:
                self.outage.note(begun, f"{path}: {type(error).__name__}")
            else:
                if said.status_code in {302, 303} or (path == "/sign-up/" and b"already exists" in said.content):
                    return
                self.outage.note(begun, f"{path}: {said.status_code}")
            time.sleep(0.2)
        raise TimeoutError(path)

    def log_in(self) -> None:
        self.submit("/log-in/", {"username": self.who, "password": PASSWORD})

    def run(self) -> None:
        try:
            account = {"username": self.who, "password1": PASSWORD, "password2": PASSWORD}
            self.submit("/privacy/", {"answer.analytics": "yes" if self.agrees else "no"})
            self.submit("/sign-up/", account)
            # Whose sign-up was committed, and its answer lost, is not logged in.
            self.log_in()
            for _ in range(self.orders):
                self.submit("/", ORDER)
            if self.withdraws:
                self.submit("/privacy/withdraw", {}, page="/privacy/")
            self.submit("/log-out/", {}, page="/")
            self.log_in()
            for _ in range(self.orders):
                self.submit("/", ORDER)
            self.is_done = True
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.error = error


class Site:
    """The shop under gunicorn with two workers, a worker of Celery's, PostgreSQL and Redis."""

    def __init__(self, folder: Path, services: Any, vendor_urls: Any, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self.database = stack.enter_context(services.postgresql())
        port = services.free_port()
        self.address = f"http://127.0.0.1:{port}"
        self._env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(map(str, (folder, SHOP, Path(consentpanel.__file__).parents[1]))),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DJANGO_SETTINGS_MODULE": "proof_settings",
            "SHOP_DEBUG": "1",
            "SHOP_SECRET_KEY": "k" * 50,
            "SHOP_DATABASE": self.database.url.replace("postgresql+psycopg", "postgresql"),
            "SHOP_BROKER": stack.enter_context(services.redis()),
            "MIXPANEL_TOKEN": "TOKEN",
            "VENDOR_URLS": json.dumps(vendor_urls),
            "no_proxy": "*",
        }
        (folder / "proof_settings.py").write_text(SETTINGS)
        (folder / "proof_outbox.py").write_text(OUTBOX)
        migrate = [sys.executable, SHOP / "manage.py", "migrate", "-v0"]
        subprocess.run(migrate, cwd=folder, env=self._env, check=True, timeout=120)
        options = ["-k", "gthread", "-w", "2", "--threads", "3", "-b", f"127.0.0.1:{port}", "--log-level", "error"]
        self._start("gunicorn", *options, "shop_site.wsgi")
        options = ["-c", "1", "--without-mingle", "--without-gossip", "-l", "error"]
        self._start("celery", "-A", "shop_site", "worker", *options)
        _wait_for(self._answers, 60)

    def _start(self, *command: str) -> None:
        log = self._stack.enter_context((self.folder / command[0]).open("w"))
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=self.folder, env=self._env, stdout=log, stderr=log
        )
        self._stack.callback(_end, process)

    def _answers(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(self.address, timeout=5).status_code == 200
        return False

    @property
    def logs(self) -> str:
        return "\n".join((self.folder / name).read_text()[-3000:] for name in ("gunicorn", "celery"))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def test_nothing_is_lost_nothing_leaks_and_no_request_fails_for_our_sake(
    tmp_path: Path, faulty: Any, needs: Any, services: Any
) -> None:
    needs("django", "gunicorn", "celery", "redis", "psycopg")
    outage = Outage()
    with ExitStack() as stack:
        try:
            site = Site(tmp_path, services, faulty.urls, stack)
        except services.MissingError as error:
            pytest.skip(str(error))
        customers = [Customer(number, site.address, outage, orders=4) for number in range(12)]
        for each in customers:
            each.start()
        _wait_for(lambda: len(faulty.records) > 5, 60)
        outage.is_on = True
        site.database.stop()
        time.sleep(1)
        site.database.start()
        outage.ended, outage.is_on = time.monotonic(), False
        for each in customers:
            each.join(120)
        assert [(each.who, each.error) for each in customers if not each.is_done] == []
        orders = _orders(site.database.url)
        expected = {each.who: orders[each.who] for each in customers if each.agrees and not each.withdraws}
        names = "Order placed", "Receipt sent"

        def have_arrived() -> bool:
            events = _events(faulty, site.database.url)
            return all(events[who, name] >= count for who, count in expected.items() for name in names)

        with suppress(TimeoutError):
            _wait_for(have_arrived, 60)
        events = _events(faulty, site.database.url)

    assert outage.failed == [], site.logs
    # Who has lost an answer in the outage may have ordered once more; what was committed counts.
    assert {who: [events[who, name] for name in names] for who in expected} == {
        who: [count, count] for who, count in expected.items()
    }, site.logs
    assert all(events[who, "Signed up"] == 1 for who in expected)
    assert not [who for who, _ in events if who in {each.who for each in customers if not each.agrees}]
    for each in customers:
        if each.agrees and each.withdraws:
            # What was ordered after it is not among them.
            assert events[each.who, "Order placed"] <= orders[each.who] - each.orders
    assert "ann@shop.example" not in json.dumps(faulty.records)


def _orders(url: str) -> Counter[str]:
    """How many orders of each customer the database has."""
    return Counter(
        dict(
            _asked(
                url, "SELECT username, count(*) FROM shop_order JOIN auth_user ON auth_user.id = customer_id GROUP BY 1"
            )
        )
    )


def _events(faulty: Any, url: str) -> Counter[tuple[str, str]]:
    """How many events of each customer the vendor has got, by their names; each of them once."""
    names = {str(number): name for number, name in _asked(url, "SELECT id, username FROM auth_user")}
    with faulty.lock:
        records = {each["properties"]["$insert_id"]: each for each in faulty.records if "event" in each}
    found = Counter(
        (names.get(str(each["properties"]["distinct_id"]), "?"), each["event"]) for each in records.values()
    )
    assert not any(who == "?" for who, _ in found)
    return found


def _asked(url: str, query: str) -> list[Any]:
    from sqlalchemy import create_engine, text

    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return list(connection.execute(text(query)))
    finally:
        engine.dispose()


def _wait_for(is_so: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.1)
