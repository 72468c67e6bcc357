"""Each public name says that it comes from the package it is imported from, and pickles keep loading."""

from __future__ import annotations

import base64
import importlib
import inspect
import pickle
from datetime import datetime, timezone

import pytest

import consentpanel
from consentpanel import ConsentRecord, ConsentStatus, Decision, MessageError, Outcome, Purpose, Reason

PACKAGES = ("", ".cmp", ".observers", ".panel", ".policy", ".registry", ".testing", ".transparency", ".transport")
FIRST_DECISION = (
    "fCQCQ0RR910001t7GrO2b7gLHaA9s`Y%X79Wn*b`X>V?nj0i+!V`+0~Z*G*6lqrFfeUvDS2XA$BV{dI`lxP5q2Tyf$V{dI`l#`T<2y$g)VPkY<"
    "WR!)JQk0Aaa%Ew2Z*G)m0E`AwWnpt~Zj_Uhj1OaPZgXXBbYEw3VQzF~WR!)JQk0AcWo~3}Z)t9Hl#B*tc4cmKbCiq)Wp-t5bd-z)P+@6gl#B;("
    "b#icTb7ho_6=QF1b7gLHaA9s`Y%X78Z*FsCZgiB42T*l#aBp*El#`T<33Op{XJvG0ZfBH*l!26t26J>_baiu-XcmkOLvL<#Wo~p+bYXOLbCi>m"
    "j0b0OVQzF~WR!)JQk0AbWO8qCaAjnaeUyv^Wo=<;Y?O=#b#889ZDnMXbBqULXkl(=Wn`3nl#B#pVRB@Yj0A0Ab8D1yj0j|9bY)|7Wn`3nlyzb*"
)
FIRST_RECORD = (
    "fCQCf0RR910001t6=QF1b7gLHaA9s`Y%X78Z*FsCZgiB44MT5kb7gLHQe|Ura%7Z~lqrFfeUvDS3UhU0YGq?|Uuk5Nj0SacWpXVsl#B;(b#icT"
    "b7hoh0E`Dvb#icTb7hp1l#B^sZeeVBbZKLAl!cUml#B**bYXOLbChTRj15C?ZgXXBbW?O;baiu-la!1GWMyt?Wn`3vlv0$83vy*+Z*pX1WM5%)"
    "l#B>uVRU75X>Dbcj0j|5bY*mDZDo{`ltT&!>IDG+000000F-DHj0kjTZDo3IZe^5{lxP%;33O>~Wn^V+bYYZ}luH0h080Relv0$1lv0$2lv0$8"
    "3T1e3X>w(AUtx5VPK*w4Z)|B}d0%#Aa&u{KZj?@p26Jz9a${wbj09$Ha&4513~F_9X>(+0V{~b6Zj?@p2xWF@WMyt+Wt4rCi~(VkO969?336p)"
    "Z*pW`X=Id)0&+2wbz&|"
)
FIRST_PURPOSE = "fCQB_000000001t6=QF1b7gLHaA9s`Y%X78Z*FsCZgiB42T*l#aBp*El#`T<33Op{XJvG0ZfBH*l!25k"
"""Pickled when private modules were still named, protocol 4."""

DECISION = Decision(
    outcome=Outcome.REDACTED,
    reason=Reason.CONSENT_GRANTED,
    endpoint="events",
    event="Paid",
    purpose=Purpose("targeting"),
    status=ConsentStatus.GRANTED,
    dropped={"email": "unnamed"},
    changed={"card": "mask"},
)
RECORD = ConsentRecord(
    "user-1",
    Purpose.ANALYTICS,
    ConsentStatus.DENIED,
    datetime(2026, 5, 1, tzinfo=timezone.utc),
    source="form",
    evidence={"a": 1},
    record_id="r1",
)


def _named() -> list[tuple[str, str]]:
    """Each class and function of ours that a package exports, and the package that is to be its home."""
    homes: dict[int, tuple[str, str]] = {}
    for package in PACKAGES:
        home = f"consentpanel{package}"
        module = importlib.import_module(home)
        for name in module.__all__:
            thing = getattr(module, name, None)
            is_ours = str(getattr(thing, "__module__", "")).startswith("consentpanel")
            if is_ours and (inspect.isclass(thing) or inspect.isfunction(thing)):
                homes.setdefault(id(thing), (home, name))
    return list(homes.values())


@pytest.mark.parametrize(("home", "name"), _named())
def test_a_public_name_is_at_home_where_it_is_imported_from(home: str, name: str) -> None:
    thing = getattr(importlib.import_module(home), name)
    assert (thing.__module__, thing.__qualname__) == (home, name)


def test_names_of_the_top_level_are_all_at_home_there() -> None:
    vendors = {"Consumer", "DatetimeSerializer", "LocalFlagsConfig", "MixpanelException", "RemoteFlagsConfig"}
    vendors |= {"ServiceAccountCredentials", "json_dumps"}
    homes = {getattr(consentpanel, name).__module__ for name in consentpanel.__all__ if name not in vendors}
    assert homes == {"consentpanel"}


@pytest.mark.parametrize("thing", [DECISION, RECORD, Purpose("targeting"), Reason.EXPIRED, ConsentStatus.DENIED])
def test_a_pickle_names_no_private_module(thing: object) -> None:
    pickled = pickle.dumps(thing)
    assert pickle.loads(pickled) == thing
    assert b"consentpanel._" not in pickled


def test_an_error_names_no_private_module() -> None:
    error = pickle.loads(pickle.dumps(MessageError(DECISION)))
    assert error.decision == DECISION
    assert f"{type(error).__module__}.{type(error).__qualname__}" == "consentpanel.MessageError"


@pytest.mark.parametrize(
    ("pickled", "expected"),
    [(FIRST_DECISION, DECISION), (FIRST_RECORD, RECORD), (FIRST_PURPOSE, Purpose("targeting"))],
    ids=["decision", "record", "purpose"],
)
def test_what_was_pickled_by_private_names_still_loads(pickled: str, expected: object) -> None:
    loaded = pickle.loads(base64.b85decode(pickled))
    assert loaded == expected
    assert type(loaded) is type(expected)
