"""The vendor's tests of its OpenFeature provider, as they lie in the installed package, over our flags (rules 1.3, 1.7).

They set what the vendor's flags answer by a mock; here the mock stands beneath our flags, in place of the vendor's code.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import mixpanel
import pytest

from consentpanel import FieldPolicy, LocalFlagsConfig, Mixpanel, RemoteFlagsConfig
from consentpanel.testing import FakeTransport

pytest.importorskip("openfeature", reason="needs openfeature-sdk")
HOME = Path(mixpanel.__file__).parents[1] / "openfeature-provider"
if not hasattr(mixpanel.flags.types, "FallbackReason"):
    pytest.skip("mixpanel 5.3 brought the reasons of a fallback", allow_module_level=True)

#: Rule 1.7: about nobody, remote flags are not asked; so there is somebody beneath a context in which a test names nobody.
SOMEBODY = {"distinct_id": "user-1"}


def _suite() -> Any:
    with patch.object(sys, "path", [str(HOME / "src"), *sys.path]):
        spec = importlib.util.spec_from_file_location("openfeature_suite", HOME / "tests" / "test_provider.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


SUITE = _suite()
TESTS = {name: value for name, value in vars(SUITE).items() if name.startswith("test_")}


def everybody(subject_id: str, purpose: str, at: datetime | None = None) -> bool:
    return True


VENDORS = SUITE.MixpanelProvider


class OverOurs(VENDORS):  # type: ignore[misc]
    """The vendor's provider over our flags, beneath which the mock takes the place of the vendor's code."""

    def __init__(self, mock: Any, kind: str) -> None:
        config: Any = LocalFlagsConfig(enable_polling=False) if kind == "local" else RemoteFlagsConfig()
        policy = FieldPolicy.keep_all()
        mp = Mixpanel("TOKEN", FakeTransport(), registry=everybody, policy=policy, **{f"{kind}_flags_config": config})
        flags = getattr(mp, f"{kind}_flags")
        flags.are_flags_ready = getattr(mock, "are_flags_ready", lambda: True)

        def vendors(_: Any, flag: str, fallback: Any, context: Any, *__: Any, **___: Any) -> Any:
            return mock.get_variant(flag, fallback, {name: context[name] for name in context.keys() - SOMEBODY})

        self.patch = patch.object(type(flags).__mro__[1], "get_variant", vendors)
        self.patch.start()
        super().__init__(flags)

    @staticmethod
    def _build_user_context(evaluation_context: Any) -> dict[str, Any]:
        return {**SOMEBODY, **VENDORS._build_user_context(evaluation_context)}

    def close(self) -> None:
        self.patch.stop()
        self._flags_provider._sync_client.close()


@pytest.fixture(params=["local", "remote"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def over_ours(kind: str) -> Iterator[Callable[[Any], OverOurs]]:
    built: list[OverOurs] = []

    def build(mock: Any) -> OverOurs:
        built.append(OverOurs(mock, kind))
        return built[-1]

    yield build
    for each in reversed(built):
        each.close()


@pytest.mark.parametrize("name", TESTS)
def test_the_vendors_test_passes_over_our_flags(name, over_ours):
    # rules 1.3 and 1.7
    mock = MagicMock()
    mock.are_flags_ready.return_value = True
    arguments = {"mock_flags": mock, "provider": over_ours(mock)}
    wanted = TESTS[name].__code__.co_varnames[: TESTS[name].__code__.co_argcount]
    with patch.dict(TESTS[name].__globals__, MixpanelProvider=over_ours):
        TESTS[name](**{each: arguments[each] for each in wanted})
