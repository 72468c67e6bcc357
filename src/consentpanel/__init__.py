"""Mixpanel with consent in front: a typed client that sends, redacts or drops each call by opt-in status and policy.

``import consentpanel as mixpanel`` is enough for existing code: the vendor's public names are here too.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixpanel import Consumer as Consumer
    from mixpanel import DatetimeSerializer as DatetimeSerializer
    from mixpanel import LocalFlagsConfig as LocalFlagsConfig
    from mixpanel import MixpanelException as MixpanelException
    from mixpanel import RemoteFlagsConfig as RemoteFlagsConfig
    from mixpanel import ServiceAccountCredentials as ServiceAccountCredentials
    from mixpanel import json_dumps as json_dumps

    from consentpanel import policy as policy
    from consentpanel import registry as registry
    from consentpanel import testing as testing
    from consentpanel import transparency as transparency
    from consentpanel._consent import ConsentRecord, ConsentStatus, Purpose, Regime, by_country, subject_key
    from consentpanel._messages.decision import Cause, Decision, MessageError, Outcome, Reason
    from consentpanel.client import AsyncMixpanel, Mixpanel, Withdrawal, configure, reset
    from consentpanel.errors import ConfigurationError, ConsentPanelError, InvalidRecordError, RegistryError
    from consentpanel.policy import (
        FieldPolicy,
        drop,
        generalize,
        keep,
        mask,
        per_subject,
        plain,
        pseudonymize,
        pseudonymous,
        redact,
        refuse,
        transform,
        truncate,
        url,
    )
    from consentpanel.privacy_requests import PrivacyRequestError, PrivacyRequests, PrivacyTask, TaskStatus
    from consentpanel.registry import carry_over
    from consentpanel.transport import BackgroundConsumer, BufferedConsumer, SpoolConsumer
    from consentpanel.transport import SQLAlchemyOutbox as SQLAlchemyOutbox

    __version__: str

__all__ = [
    "AsyncMixpanel",
    "BackgroundConsumer",
    "BufferedConsumer",
    "Cause",
    "ConfigurationError",
    "ConsentPanelError",
    "ConsentRecord",
    "ConsentStatus",
    "Consumer",
    "DatetimeSerializer",
    "Decision",
    "FieldPolicy",
    "InvalidRecordError",
    "LocalFlagsConfig",
    "MessageError",
    "Mixpanel",
    "MixpanelException",
    "Outcome",
    "PrivacyRequestError",
    "PrivacyRequests",
    "PrivacyTask",
    "Purpose",
    "Reason",
    "Regime",
    "RegistryError",
    "RemoteFlagsConfig",
    "ServiceAccountCredentials",
    "SpoolConsumer",
    "TaskStatus",
    "Withdrawal",
    "by_country",
    "carry_over",
    "configure",
    "drop",
    "generalize",
    "json_dumps",
    "keep",
    "mask",
    "per_subject",
    "plain",
    "pseudonymize",
    "pseudonymous",
    "redact",
    "refuse",
    "reset",
    "subject_key",
    "transform",
    "truncate",
    "url",
]

#: Not among `__all__`, because it needs an extra, which `import *` must not.
_WITH_AN_EXTRA = {"SQLAlchemyOutbox": "transport"}
#: Where the names are written, from the one that loads least to the one that loads most.
_HOMES = ("errors", "_consent", "_messages.decision", "registry", "policy", "client", "transport", "privacy_requests")
_MODULES = {"policy", "registry", "testing", "transparency", "transport"}


def __getattr__(name: str) -> Any:
    # At first use: the pytest plugin is in this package and must not load the vendor's client.
    if name in __all__ and (home := _home_of(name)) is not None:
        found = getattr(home, name)
    elif name in _WITH_AN_EXTRA:
        found = getattr(import_module(f"consentpanel.{_WITH_AN_EXTRA[name]}"), name)
    elif name in _MODULES:
        found = import_module(f"consentpanel.{name}")
    elif name == "__version__":
        from importlib.metadata import version

        found = version("consentpanel")
    elif not name.startswith("_") and name in (vendors := import_module("consentpanel._mixpanel.vendor").NAMES):
        found = vendors[name]
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if getattr(found, "__module__", None) == __name__:
        # Only ours: the vendor's may be there for a test, and so may a mock in a home of ours.
        globals()[name] = found
    return found


def _home_of(name: str) -> ModuleType | None:
    homes = (import_module(f"consentpanel.{each}") for each in _HOMES)
    return next((home for home in homes if name in home.__all__), None)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
