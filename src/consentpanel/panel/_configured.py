"""The panel that a framework's configuration says."""

from __future__ import annotations

from typing import Any

from consentpanel._visits.setting import Named, Options
from consentpanel.errors import ConfigurationError
from consentpanel.panel._panel import Panel


def panel_of(said: Options, named: Named) -> Panel:
    """The panel that a configuration says: ``PANEL`` itself, or one of ``NOTICE``.

    Args:
        said: The configuration.
        named: How a key is written.

    Raises:
        ConfigurationError: It cannot work.
    """
    given: Any = said.panel
    if given is not None and said.notice is not None:
        raise ConfigurationError(
            f"{named('NOTICE')} and {named('PANEL')} are both given: the panel has a notice of its own"
        )
    if given is not None:
        if not isinstance(given, Panel):
            raise ConfigurationError(f"{named('PANEL')} must be a Panel, not {type(given).__name__}")
        return given
    try:
        return Panel(said.notice)
    except ConfigurationError as error:
        problem = f"{named('NOTICE')}: {error}"
    raise ConfigurationError(problem)


def mount_of(said: Options, named: Named) -> str:
    """The path of the panel, without a slash at its end, where the configuration says it.

    Raises:
        ConfigurationError: ``PANEL_URL`` is no path.
    """
    found = "/privacy" if said.panel_url is None else said.panel_url
    if not isinstance(found, str) or not found.startswith("/") or found.startswith("//"):
        raise ConfigurationError(f"{named('PANEL_URL')} must be a path, such as '/privacy'")
    return found.rstrip("/")
