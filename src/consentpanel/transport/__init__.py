"""What stands between the gate and the vendor's server: the sealed transport and the buffers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consentpanel.transport._background import BackgroundConsumer
    from consentpanel.transport._buffered import BufferedConsumer

__all__ = ["BackgroundConsumer", "BufferedConsumer"]

_HOMES = {"BackgroundConsumer": "_background", "BufferedConsumer": "_buffered"}


def __getattr__(name: str) -> object:
    # At first use: a client that sends at once need not load what threads and processes need.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
