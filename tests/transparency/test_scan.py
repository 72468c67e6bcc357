"""What a code base sends is found by its syntax alone (contract rule 6.1)."""

import json
import textwrap

import pytest

from consentpanel import FieldPolicy
from consentpanel._cli import main
from consentpanel.policy import drop, keep
from consentpanel.transparency import scan


@pytest.fixture
def shop(tmp_path):
    def write(**files):
        for name, text in files.items():
            file = tmp_path / f"{name.replace('__', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))
        return tmp_path

    return write


def found(folder, *clients):
    return [(call.scope, call.events, sorted(call.properties)) for call in scan(folder, clients).calls]


CALL = "mp.track(user.id, 'Paid', {'total': 9})"
PAID = [("events", ("Paid",), ["total"])]


@pytest.mark.parametrize(
    "code",
    [
        "from mixpanel import Mixpanel\nmp = Mixpanel('T')\n{}",
        "from consentpanel import Mixpanel as M\nmp = M('T')\n{}",
        "import mixpanel\nmp = mixpanel.Mixpanel('T')\n{}",
        "from consentpanel.django import mixpanel as mp\n{}",
        "from consentpanel.django import mixpanel\nmp = mixpanel\n{}",
        "import consentpanel as mixpanel\nmp = mixpanel.Mixpanel('T')\n{}",
        "from mixpanel import Mixpanel\ndef pay(mp: Mixpanel, user):\n    {}",
        "from mixpanel import Mixpanel\nfrom typing import Optional\ndef pay(mp: Optional[Mixpanel], user):\n    {}",
        "from mixpanel import Mixpanel\ndef pay(mp: 'Mixpanel | None', user):\n    {}".replace(
            "'Mixpanel | None'", "Mixpanel | None"
        ),
        "from mixpanel import Mixpanel\ndef client():\n    return Mixpanel('T')\ndef pay(user):\n    mp = client()\n    {}",
        "from mixpanel import Mixpanel\ndef client() -> Mixpanel: ...\ndef pay(user):\n    mp = client()\n    {}",
        "from mixpanel import Mixpanel\nfirst = Mixpanel('T')\nmp = first\n{}",
        "from mixpanel import Mixpanel\nmp = Mixpanel('T') if True else None\n{}",
        "from mixpanel import Mixpanel\nwith Mixpanel('T') as mp:\n    {}",
        "from mixpanel import Mixpanel\nif (mp := Mixpanel('T')):\n    {}",
        "from mixpanel import Mixpanel\nmp: Mixpanel = make()\n{}",
    ],
)
def test_a_client_is_known_however_it_comes(shop, code):
    assert found(shop(app=code.format(CALL))) == PAID


@pytest.mark.parametrize(
    "code",
    [
        "import consentpanel.django as cd\ncd.mixpanel.track(user.id, 'Paid', {'total': 9})",
        "import consentpanel.django\nconsentpanel.django.track_on_commit(user.id, 'Paid', {'total': 9})",
        "from consentpanel.django import track_on_commit\ntrack_on_commit(user.id, 'Paid', {'total': 9})",
        "from consentpanel.django import track_on_commit as later\nlater(user.id, 'Paid', {'total': 9})",
        "def pay(request):\n    request.consent.track('Paid', {'total': 9})",
        "class Pay:\n    def get(self):\n        self.request.consent.track_on_commit('Paid', properties={'total': 9})",
        "async def pay(request):\n    await request.consent.atrack('Paid', {'total': 9})",
    ],
)
def test_calls_by_way_of_a_framework_are_found(shop, code):
    assert found(shop(shop=code)) == PAID


def test_a_method_of_that_name_elsewhere_is_no_call(shop):
    assert (
        found(shop(shop="from shop import track_on_commit\ntrack_on_commit(1, 'Paid')\nform.consent.track('x')")) == []
    )


def test_a_client_is_known_as_an_attribute_and_in_other_files(shop):
    folder = shop(
        analytics="from mixpanel import Mixpanel\nmp = Mixpanel('T')\n",
        service="""
            from mixpanel import Mixpanel
            class Service:
                def __init__(self):
                    self.client = Mixpanel("T")
                def pay(self):
                    self.client.track(1, "Paid", {"total": 9})
        """,
        views__shop="""
            from analytics import mp
            from service import Service
            mp.people_set(1, {"plan": "pro"})
            class View:
                def get(self):
                    self.service.client.group_set("company", "c", {"industry": "x"})
        """,
    )
    assert found(folder) == [*PAID, ("people", (), ["plan"]), ("groups", (), ["industry"])]


def test_something_else_with_a_method_of_that_name_is_no_client(shop):
    folder = shop(
        app="import other\nsong.track(1, 'Paid', {'total': 9})\n",
        lines="from mixpanel import Mixpanel\nx.track(1, 'A')",
    )
    result = scan(folder)
    assert result.calls == ()
    assert [(line, text) for _, line, text in result.doubtful] == [(2, "x.track(...)")]


def test_an_object_can_be_named(shop):
    folder = shop(app="analytics.track(1, 'Paid', {'total': 9})\nself.tracker.people_set(1, {'a': 1})")
    assert found(folder) == []
    assert found(folder, "analytics", "self.tracker") == [*PAID, ("people", (), ["a"])]


HEAD = "from mixpanel import Mixpanel\nmp = Mixpanel('T')\n"


@pytest.mark.parametrize(
    ("code", "events", "properties", "others"),
    [
        ("mp.track(1, 'A')", ("A",), [], (False, False)),
        ("mp.track(1, 'A', None)", ("A",), [], (False, False)),
        ("mp.track(1, event_name='A', properties={'a': 1})", ("A",), ["a"], (False, False)),
        ("mp.import_data('k', 1, 'A', 5, {'a': 1})", ("A",), ["a"], (False, False)),
        ("mp.track(1, 'A', dict(a=1, b=2))", ("A",), ["a", "b"], (False, False)),
        (
            "mp.track(1, 'A', {'a': {'b': 1, 'c': 2}, 'd': [{'e': 1}, {'f': 1}]})",
            ("A",),
            ["a.b", "a.c", "d[].e", "d[].f"],
            (False, False),
        ),
        ("mp.track(1, 'A', {'a.b': 1})", ("A",), ["'a.b'"], (False, False)),
        ("mp.track(1, 'A' if x else 'B', {'a': 1})", ("A", "B"), ["a"], (False, False)),
        ("NAME = 'A'\nmp.track(1, NAME)", ("A",), [], (False, False)),
        ("class Events:\n    PAID = 'A'\nmp.track(1, Events.PAID)", ("A",), [], (False, False)),
        (
            "from enum import Enum\nclass Events(Enum):\n    PAID = 'A'\nmp.track(1, Events.PAID.value)",
            ("A",),
            [],
            (False, False),
        ),
        ("KEY = 'a'\nmp.track(1, 'A', {KEY: 1})", ("A",), ["a"], (False, False)),
        (
            "p = {'a': 1}\np['b'] = 2\np.update({'c': 3}, d=4)\np |= {'e': 5}\nmp.track(1, 'A', p)",
            ("A",),
            list("abcde"),
            (False, False),
        ),
        ("p = {'a': 1}\nmp.track(1, 'A', {**p, 'b': 2} | {'c': 3})", ("A",), list("abc"), (False, False)),
        ("p = {'a': 1} if x else {'b': 1}\nmp.track(1, 'A', p or {})", ("A",), ["a", "b"], (False, False)),
        ("mp.track(1, f'A {x}', {'a': 1})", (), ["a"], (True, False)),
        ("mp.track(1, name(), properties())", (), [], (True, True)),
        ("mp.track(*arguments)", (), [], (True, True)),
        ("mp.track(1, 'A', **keywords)", ("A",), [], (False, True)),
        ("mp.track(1, 'A', {**more, 'a': 1})", ("A",), ["a"], (False, True)),
        ("mp.track(1, 'A', {key(): 1})", ("A",), [], (False, True)),
        ("p = {'a': 1}\np[key()] = 2\nmp.track(1, 'A', p)", ("A",), ["a"], (False, True)),
    ],
)
def test_what_is_written_down_is_found_and_the_rest_is_told(shop, code, events, properties, others):
    (call,) = scan(shop(app=HEAD + code)).calls
    assert (call.events, sorted(call.properties)) == (events, properties)
    assert (call.has_other_events, call.has_other_properties) == others


def test_names_of_one_function_are_not_those_of_another(shop):
    code = HEAD + textwrap.dedent(
        """
        properties = {"global": 1}
        def one():
            properties = {"a": 1}
            mp.track(1, "A", properties)
        def two():
            properties = {"b": 1}
            mp.track(1, "B", properties)
        def three():
            mp.track(1, "C", properties)
        """
    )
    assert found(shop(app=code)) == [
        ("events", ("A",), ["a"]),
        ("events", ("B",), ["b"]),
        ("events", ("C",), ["global"]),
    ]


def test_calls_of_a_wrapper_are_followed(shop):
    wrapper = HEAD + textwrap.dedent(
        """
        class Analytics:
            def event(self, name, properties=None, **more):
                properties = properties or {}
                properties.update(more)
                mp.track(self.user, name, properties)
        def profile(user, values):
            mp.people_set(user, values)
        """
    )
    folder = shop(
        wrapper=wrapper, app="a.event('Paid', {'total': 9}, currency='EUR')\nprofile(1, {'plan': 1})\nsocket.event()\n"
    )
    calls = scan(folder).calls
    assert [(call.method, call.events, call.properties) for call in calls if call.file.endswith("app.py")] == [
        ("event (track)", ("Paid",), ("total", "currency")),
        ("profile (people_set)", (), ("plan",)),
    ]
    assert [call.has_other_events for call in calls if call.file.endswith("wrapper.py")] == [True, False]


def test_an_update_is_opened(shop):
    code = (
        HEAD
        + "mp.people_update({'$distinct_id': 1, '$set': {'a': 1}, '$add': {'b': 1}, '$unset': ['c']})\nmp.people_update(x)\n"
    )
    calls = scan(shop(app=code)).calls
    assert [(call.properties, call.has_other_properties) for call in calls] == [(("a", "b"), False), ((), True)]


def test_calls_without_properties_are_counted(shop):
    code = (
        HEAD
        + "mp.alias('a', 'b')\nmp.people_delete(1)\nmp.people_unset(1, ['a'])\nmp.people_track_charge(1, 5, {'a': 1})\n"
    )
    assert [(call.method, call.properties) for call in scan(shop(app=code)).calls] == [
        ("alias", ()),
        ("people_delete", ()),
        ("people_unset", ()),
        ("people_track_charge", ("a",)),
    ]


def test_an_id_that_is_personal_by_its_name_is_told(shop):
    code = HEAD + "mp.track(user.email, 'A')\nmp.track(user_id, 'A')\nmp.import_data('k', user.phone, 'A', 5)\n"
    assert [call.id_category for call in scan(shop(app=code)).calls] == [
        "user.contact.email",
        None,
        "user.contact.phone_number",
    ]


def test_what_is_no_python_is_told_and_other_folders_are_left_out(shop):
    folder = shop(app=HEAD + CALL, wrong="def (:\n", node_modules__x=HEAD + CALL, venv__lib__y=HEAD + CALL)
    (folder / "latin.py").write_bytes(b"x = '\xff'\n")
    result = scan(folder)
    assert [(name.rpartition("/")[2], problem) for name, problem in result.unread] == [
        ("latin.py", "SyntaxError"),
        ("wrong.py", "SyntaxError"),
    ]
    assert (len(result.calls), result.files) == (1, 1)
    assert len(scan(folder / "app.py").calls) == 1
    with pytest.raises(FileNotFoundError):
        scan(folder / "nowhere")


def test_nothing_of_the_code_is_run(shop):
    assert found(shop(app="raise SystemExit('it was run')\n" + HEAD + CALL)) == PAID


# python -m consentpanel scan


CODE = HEAD + textwrap.dedent(
    """
    mp.track(user.email, "Paid", {"total": 9, "email": user.email, "cart": {"sku": 1}})
    mp.track(1, "Viewed", {"page": "/"})
    mp.people_set(1, {"plan": "pro", "$name": "Ada"})
    mp.track(1, f"Order {number}", properties)
    other.people_set(1, {})
    """
)


@pytest.fixture
def project(shop, monkeypatch):
    folder = shop(app=CODE)
    (folder / "scanned_policy.py").write_text(
        "from consentpanel import FieldPolicy, drop, keep\n"
        "POLICY = FieldPolicy(events={'total': keep(), 'email': drop(), 'coupon': keep(), 'cart': keep(deep=True)})\n"
    )
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_the_command_lists_what_is_sent_and_what_the_policy_does(project, capsys):
    assert main(["scan", ".", "--policy", "scanned_policy:POLICY"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "events: Paid cart.sku keep app.py:4 email dropped; user.contact.email app.py:4 total keep app.py:4" in out
    assert "people $name dropped; user.name app.py:6 plan dropped app.py:6" in out
    assert "made at run time, look yourself app.py:7 track: the event's name and properties" in out
    assert "ids that are personal by their names app.py:4 track: user.contact.email" in out
    assert "perhaps sent, look yourself; a client is named with --client app.py:8 other.people_set(...)" in out
    assert "rules that no call uses, as far as names are written down events['coupon']" in out
    assert "4 calls in 2 files: 2 names of events, 6 properties, 2 of them personal by their names" in out


def test_the_command_prints_json(project, capsys):
    assert main(["scan", "app.py", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [call["line"] for call in said["calls"]] == [4, 5, 6, 7]
    assert said["unused_rules"] == []


def test_a_first_policy_is_drafted_that_drops_what_is_personal(project, capsys):
    (project / "app.py").write_text(CODE.replace("Order {number}", "Ordered").replace('f"Ordered"', '"Ordered"'))
    assert main(["scan", "app.py", "--write-policy", "drafted.py"]) == 0
    space: dict[str, FieldPolicy] = {}
    exec((project / "drafted.py").read_text(), space)
    policy = space["POLICY"]
    said = {"total": 9, "email": "x", "cart": {"sku": 1}, "page": "/"}
    assert policy.apply_event("Paid", said).properties == {"total": 9, "cart": {"sku": 1}}
    assert policy.apply_event("Viewed", said).properties == {"page": "/"}
    assert policy.apply_people({"$set": {"plan": "pro", "$name": "Ada"}}).properties == {"$set": {"plan": "pro"}}
    assert policy.planned_events is not None
    assert policy.planned_events >= {"Paid", "Viewed", "Ordered"}
    assert main(["scan", "app.py", "--write-policy", "drafted.py"]) == 1
    assert "stays as it is" in capsys.readouterr().out


def test_wrong_usage_is_told(project, capsys):
    assert main(["scan", "nowhere"]) == 2
    assert "there is no nowhere" in capsys.readouterr().err
    (project / "wrong.py").write_text("def (:")
    assert main(["scan", "."]) == 1


@pytest.mark.parametrize(
    ("path", "action"),
    [
        ("a", "keep"),
        ("a.b", "keep"),
        ("b", "unnamed"),
        ("c.d", "drop"),
        ("c.e", "keep"),
        ("l[].x", "keep"),
        ("l[].y", "unnamed"),
        ("s[]", "keep"),
    ],
)
def test_the_action_on_a_path_is_the_policy_s(path, action):
    from consentpanel.transparency._scan.coverage import action_on

    policy = FieldPolicy(
        events={"a": keep(deep=True), "c": keep(deep=True), "c.d": drop(), "l[].x": keep(), "s": keep()}
    )
    assert action_on(policy, "events", "E", path) == action
    assert action_on(FieldPolicy.keep_all(), "events", "E", path) == "keep"
