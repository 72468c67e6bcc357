"""System checks: what cannot work, and what would send more or less than meant, is told before a request comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from inspect import isclass, isfunction
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import checks
from django.db import connections
from django.utils.module_loading import import_string

from consentpanel._consent.ids import BUILT_IN_PURPOSES
from consentpanel._messages.purposes import PurposeMap
from consentpanel._visits.setting import Options
from consentpanel.django import conf
from consentpanel.django._outbox_tables import DIALECTS, OF_ANOTHER_KIND
from consentpanel.errors import ConfigurationError, ConsentPanelError
from consentpanel.policy import FieldPolicy


def register() -> None:
    """Has ``manage.py check`` run them."""
    checks.register(check_setting, "consentpanel")
    checks.register(check_deployment, "consentpanel", deploy=True)


def check_setting(app_configs: Any, **_: Any) -> list[checks.CheckMessage]:
    """Checks the setting ``CONSENTPANEL``; nothing is opened."""
    del app_configs  # the setting is the project's
    try:
        said = conf.options()
    except ConfigurationError as error:
        return [checks.Error(str(error), hint="See the reference of the setting CONSENTPANEL.", id="consentpanel.E001")]
    found: list[checks.CheckMessage] = []
    if not isinstance(said.token, str) or not said.token.strip():
        found.append(
            checks.Error(
                "CONSENTPANEL['TOKEN'] is missing.",
                hint="Give the token of the project at the vendor, as by os.environ; for tests any text.",
                id="consentpanel.E002",
            )
        )
    found += _of_policy(said)
    if said.database is not None and said.database not in connections:
        found.append(
            checks.Error(
                f"CONSENTPANEL['DATABASE']: there is no database {said.database!r} in DATABASES.",
                id="consentpanel.E005",
            )
        )
    try:
        PurposeMap(said.purposes or {})
    except ConfigurationError as error:
        found.append(checks.Error(f"CONSENTPANEL['PURPOSES']: {error}", id="consentpanel.E006"))
    try:
        conf.panel()
    except ConfigurationError as error:
        found.append(checks.Error(str(error), id="consentpanel.E011"))
    else:
        found += _of_notice(said.notice)
    if said.panel_url is not None:
        text = "CONSENTPANEL['PANEL_URL'] means nothing here: the place of the panel is that of its urls."
        found.append(
            checks.Warning(text, hint='path("privacy/", include("consentpanel.django.urls"))', id="consentpanel.W009")
        )
    found += _of_file(said.registry)
    if isfunction(said.registry):
        found.append(
            checks.Warning(
                "CONSENTPANEL['REGISTRY'] is a function, which cannot record: request.consent.answer() and withdraw() will fail.",
                hint="Record answers where the function looks, or name a registry with record and history.",
                id="consentpanel.W006",
            )
        )
    if not any(isinstance(each, checks.Error) for each in found):
        try:
            conf.try_out()
        except (ConsentPanelError, TypeError) as error:
            found.append(checks.Error(f"CONSENTPANEL describes no client: {error}", id="consentpanel.E009"))
        else:
            found += _of_outbox(said)
    return found + _of_middleware()


def _of_outbox(said: Options) -> list[checks.CheckMessage]:
    from consentpanel.django.outbox import DjangoOutbox

    consumer = (
        conf.consumer_of(said) if isclass(said.consumer) and issubclass(said.consumer, DjangoOutbox) else said.consumer
    )
    if not isinstance(consumer, DjangoOutbox):
        return []
    alias = consumer.using
    if alias not in connections:
        text = f"the outbox of CONSENTPANEL['CONSUMER']: there is no database {alias!r} in DATABASES."
        return [checks.Error(text, id="consentpanel.E010")]
    used = connections[alias]
    if used.vendor not in DIALECTS:
        return [checks.Error(f"CONSENTPANEL['CONSUMER']: {OF_ANOTHER_KIND}.", id="consentpanel.E010")]
    if used.vendor == "sqlite" and used.settings_dict["OPTIONS"].get("transaction_mode") != "IMMEDIATE":
        return [
            checks.Warning(
                "The outbox writes to the SQLite database beside your requests; a request that reads first and then writes may fail: 'database is locked'.",
                hint=f"Give DATABASES[{alias!r}] 'OPTIONS': {{'transaction_mode': 'IMMEDIATE'}}.",
                id="consentpanel.W007",
            )
        ]
    return []


def _several(values: Iterable[Any]) -> Iterator[Any]:
    for each in values:
        yield from (each,) if isinstance(each, str) else each


_MIDDLEWARE = "consentpanel.django.ConsentMiddleware"
_LOG_IN = "django.contrib.auth.middleware.AuthenticationMiddleware"


def _of_middleware() -> list[checks.CheckMessage]:
    try:
        gpc = conf.visits().gpc
    except ConsentPanelError as error:
        return [checks.Error(str(error), id="consentpanel.E008")]
    used = {*BUILT_IN_PURPOSES, *map(str, _several((conf.options().purposes or {}).values()))}
    if unknown := sorted(set(map(str, gpc)) - used):
        text = f"CONSENTPANEL['GPC'] denies {unknown[0]!r}, which is the purpose of nothing that is sent."
        return [checks.Warning(text, hint=f"Purposes are {', '.join(sorted(used))}.", id="consentpanel.W008")]
    installed = list(settings.MIDDLEWARE)
    ours = [place for place, each in enumerate(installed) if _is_ours(each)]
    if not ours:
        hint = f"Add {_MIDDLEWARE!r} to MIDDLEWARE; without it there is no request.consent, and Sec-GPC is not heeded."
        return [checks.Warning("The middleware of consentpanel is not installed.", hint=hint, id="consentpanel.W004")]
    if _LOG_IN in installed[ours[0] :]:
        hint = f"Put {_MIDDLEWARE!r} after {_LOG_IN!r}."
        return [
            checks.Error(
                "The middleware of consentpanel stands before that of log-in, and would know no account.",
                hint=hint,
                id="consentpanel.E007",
            )
        ]
    return []


def _is_ours(path: str) -> bool:
    from consentpanel.django.middleware import ConsentMiddleware

    try:
        found = import_string(path)
    except ImportError:
        return False
    return isclass(found) and issubclass(found, ConsentMiddleware)


def check_deployment(app_configs: Any, **_: Any) -> list[checks.CheckMessage]:
    """Checks what matters in production alone, for ``check --deploy``."""
    del app_configs  # the setting is the project's
    try:
        is_secure = conf.visits().cookie.is_secure
    except ConsentPanelError:
        return []
    if is_secure:
        return []
    return [
        checks.Warning(
            "The visitors' cookie of consentpanel is sent without HTTPS.",
            hint="Set SESSION_COOKIE_SECURE, or CONSENTPANEL['COOKIE']['SECURE'], to True.",
            id="consentpanel.W005",
        )
    ]


def _of_policy(said: Options) -> list[checks.CheckMessage]:
    if said.policy is None:
        return [
            checks.Warning(
                "CONSENTPANEL['POLICY'] is missing: no property is sent that a rule does not name.",
                hint="Name a FieldPolicy, such as 'shop.analytics.POLICY'.",
                id="consentpanel.W001",
            )
        ]
    if not isinstance(said.policy, FieldPolicy):
        kind = type(said.policy).__name__
        return [checks.Error(f"CONSENTPANEL['POLICY'] must be a FieldPolicy, not {kind}.", id="consentpanel.E003")]
    found: list[checks.CheckMessage] = [
        checks.Warning(f"CONSENTPANEL['POLICY']: {warning}", id="consentpanel.W002") for warning in said.policy.warnings
    ]
    if getattr(said.identity, "needs_secret", False) and said.policy.keyed is None:
        found.append(
            checks.Error(
                "CONSENTPANEL['IDENTITY'] needs a secret.",
                hint="Give secret= to the FieldPolicy, or to pseudonymous(): at least 32 bytes, not SECRET_KEY.",
                id="consentpanel.E004",
            )
        )
    return found


def _of_file(registry: Any) -> list[checks.CheckMessage]:
    """A file of consent in the directory of the code would be replaced by a deployment."""
    path = getattr(getattr(registry, "_database", None), "real_path", None)
    base = getattr(settings, "BASE_DIR", None)
    if not isinstance(path, str) or base is None or Path(base).resolve() not in Path(path).resolve().parents:
        return []
    return [
        checks.Warning(
            "CONSENTPANEL['REGISTRY'] keeps consent in a file inside BASE_DIR, which a deployment may replace.",
            hint="Put it next to your other data, or leave REGISTRY out: consent is then kept in the project's database.",
            id="consentpanel.W003",
        )
    ]


def _of_notice(notice: Any) -> list[checks.CheckMessage]:
    """Whether the function that makes the notice can."""
    if not callable(notice):
        return []
    try:
        notice("en")
    except ConfigurationError as error:
        return [checks.Error(f"CONSENTPANEL['NOTICE'] made no notice: {error}", id="consentpanel.E011")]
    except Exception as error:  # noqa: BLE001 - the publisher's own function, which may need tables that are not there yet
        return [
            checks.Warning(f"CONSENTPANEL['NOTICE'] made no notice: {type(error).__name__}", id="consentpanel.W010")
        ]
    return []
