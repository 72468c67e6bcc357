"""The vendor's own classes and functions, bound once: the only place that looks them up.

Existing code swaps the client in place (``mixpanel.Mixpanel = consentpanel.Mixpanel``, ``sys.modules["mixpanel"] =
consentpanel``), and its tests put mocks over the vendor's names for a while. What is bound here is the vendor's own all
the same.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping
from importlib import import_module
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

__all__ = [
    "NAMES",
    "BufferedConsumer",
    "Consumer",
    "DatetimeSerializer",
    "LocalFeatureFlagsProvider",
    "Mixpanel",
    "MixpanelException",
    "RemoteFeatureFlagsProvider",
    "consumer_put_over",
    "group_update",
    "import_data",
    "json_dumps",
    "make_insert_id",
    "merge",
    "people_update",
    "track",
]

_PACKAGE = "mixpanel"


def _is_vendors(namespace: Mapping[str, Any]) -> bool:
    return getattr(namespace.get("__spec__"), "name", None) == _PACKAGE


def _namespace() -> Mapping[str, Any]:
    there = sys.modules.get(_PACKAGE)
    if there is None:
        return vars(import_module(_PACKAGE))
    if issubclass(type(there), ModuleType) and _is_vendors(vars(there)):
        return vars(there)
    # Something else stands there. Where the vendor's package was loaded before, its functions know it.
    for each in gc.get_objects():
        if type(each) is FunctionType and each.__module__ == _PACKAGE and _is_vendors(each.__globals__):
            return each.__globals__
    for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
        del sys.modules[name]
    try:
        return vars(import_module(_PACKAGE))
    finally:
        sys.modules[_PACKAGE] = there


#: What the vendor's own code reads, live: also what a test has put there for a while, so nothing in it is to be kept.
NAMES = _namespace()


def _own(path: str, kind: type = type, home: str = _PACKAGE) -> Any:
    """A class or function as the vendor wrote it, whatever stands under its name now.

    Args:
        path: Its name, after that of its class for a method.
        kind: `type` or `FunctionType`.
        home: The module that defines it.

    Raises:
        ImportError: It is gone: it was replaced for good, and nothing else holds it.
    """

    def is_own(found: object) -> bool:
        return (
            type(found) is kind
            and getattr(found, "__module__", None) == home
            and getattr(found, "__qualname__", None) == path
            # A wrapper of somebody's may bear the name of what it wraps.
            and (kind is type or found.__globals__ is NAMES)  # type: ignore[attr-defined]
        )

    owner, _, name = path.rpartition(".")
    found = (vars(_own(owner)) if owner else NAMES).get(name)
    if not is_own(found):
        found = next(filter(is_own, gc.get_objects()), None)
    if found is None:
        raise ImportError(f"{home}.{path} was replaced before consentpanel was used: import consentpanel before that")
    return found


if TYPE_CHECKING:
    from mixpanel import BufferedConsumer, Consumer, DatetimeSerializer, Mixpanel, MixpanelException, json_dumps
    from mixpanel.flags.local_feature_flags import LocalFeatureFlagsProvider
    from mixpanel.flags.remote_feature_flags import RemoteFeatureFlagsProvider
else:
    Mixpanel, Consumer, BufferedConsumer = map(_own, ("Mixpanel", "Consumer", "BufferedConsumer"))
    MixpanelException, DatetimeSerializer = map(_own, ("MixpanelException", "DatetimeSerializer"))
    LocalFeatureFlagsProvider = _own("LocalFeatureFlagsProvider", home=f"{_PACKAGE}.flags.local_feature_flags")
    RemoteFeatureFlagsProvider = _own("RemoteFeatureFlagsProvider", home=f"{_PACKAGE}.flags.remote_feature_flags")
    json_dumps = _own("json_dumps", FunctionType)


def consumer_put_over() -> Any:
    """What a test or an application has put over the name ``Consumer``, in the vendor's package or ours; None for nothing.

    A client or a buffer without a consumer is to build that.
    """
    there = NAMES.get("Consumer", Consumer), vars(sys.modules["consentpanel"]).get("Consumer", Consumer)
    return next((each for each in there if each is not Consumer), None)


track = _own("Mixpanel.track", FunctionType)
make_insert_id = _own("Mixpanel._make_insert_id", FunctionType)
import_data = _own("Mixpanel.import_data", FunctionType)
merge = _own("Mixpanel.merge", FunctionType)
people_update = _own("Mixpanel.people_update", FunctionType)
group_update = _own("Mixpanel.group_update", FunctionType)
