"""The vendor's own tests of feature flags, as they lie in the installed package, against our client (rule 1.3).

They are read from there and not kept here, so that each version of the vendor brings its own.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator
from datetime import datetime
from types import ModuleType
from typing import Any
from unittest.mock import patch

import mixpanel
import pytest
import respx

import consentpanel
from consentpanel import FieldPolicy
from consentpanel.testing import FakeTransport

pytestmark = pytest.mark.filterwarnings("default")  # of the vendor's own tests


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    # Some of these tests poll without a pause, and on for a moment after their own mock has ended.
    with respx.mock(assert_all_called=False):
        yield


def everybody(subject_id: str, purpose: str, at: datetime | None = None) -> bool:
    return True


def _client(token: str, version: str, credentials: Any, **config: Any) -> Any:
    given = {} if credentials is None else {"credentials": credentials}
    with patch.object(mixpanel, "__version__", version):
        return consentpanel.Mixpanel(
            token, FakeTransport(), registry=everybody, policy=FieldPolicy.keep_all(), **config, **given
        )


class OnOurClient:
    """Stands for a vendor's provider class: called, it gives the provider of a client of ours."""

    def __init__(self, provider: type, keyword: str) -> None:
        vars(self).update(_provider=provider, _keyword=keyword)

    def __call__(self, token: str, config: Any, version: str, tracker: Any, credentials: Any = None) -> Any:
        mp = _client(token, version, credentials, **{f"{self._keyword}_config": config})
        provider = getattr(mp, self._keyword)
        assert isinstance(provider, self._provider)
        provider._tracker = tracker
        return provider

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._provider, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._provider, name)


def _vendors_module(name: str) -> ModuleType:
    found = importlib.util.find_spec(f"mixpanel.flags.{name}")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def _tests_of(module: ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name.startswith(("test_", "Test"))}


_remote = _vendors_module("test_remote_feature_flags")
_local = _vendors_module("test_local_feature_flags")
remote = vars(_remote)["RemoteFeatureFlagsProvider"] = OnOurClient(_remote.RemoteFeatureFlagsProvider, "remote_flags")
vars(_local)["LocalFeatureFlagsProvider"] = OnOurClient(_local.LocalFeatureFlagsProvider, "local_flags")
globals().update(_tests_of(_remote))
globals().update(_tests_of(_local))


def test_the_vendors_tests_are_there_and_run_on_our_client():
    tests = {**_tests_of(_remote), **_tests_of(_local)}
    methods = [
        name
        for value in tests.values()
        for name in (vars(value) if inspect.isclass(value) else [value.__name__])
        if name.startswith("test_")
    ]
    assert len(methods) >= 40
    remote_flags = remote("TOKEN", consentpanel.RemoteFlagsConfig(), "1.0.0", print)
    assert type(remote_flags).__module__ == "consentpanel.client._flags"
    remote_flags._sync_client.close()
