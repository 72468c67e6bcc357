"""What tests of Flask share: the samples of the panel's."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def _module(name: str) -> ModuleType:
    path = Path(__file__).parents[1] / "panel" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"consentpanel_panel_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="session")
def notice_in():
    """A function that is given a language and makes the notice of the panel's samples."""
    samples, shop = _module("samples"), _module("conftest")
    return shop.Shop(samples).notice
