"""RQ's workers: what waits is delivered before the process of a job ends (extra ``rq``)."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

from consentpanel.errors import ConfigurationError
from consentpanel.transport._ends import end_all

try:
    import_module("rq.worker")
except ImportError as error:
    raise ConfigurationError("consentpanel.rq needs RQ: pip install 'consentpanel[rq]'") from error


def install() -> None:
    """Has workers deliver what waits in the buffers of a process before it ends; to be called once, where the jobs are.

    RQ runs each job in a process of its own and leaves it by `os._exit`, after which no exit handler of Python's runs. The
    module of a job is first imported in that process, so that the call is in time there too.

    Example:
        .. code-block:: python

            import consentpanel.rq

            consentpanel.rq.install()


            def send_receipt(order_id): ...
    """
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "rq" and vars(module).get("os") is os:
            module.os = _OS  # type: ignore[attr-defined]


class _Os(ModuleType):
    """The module `os` as RQ's own code sees it: delivers before it leaves a process."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    @staticmethod
    def _exit(status: int) -> NoReturn:
        end_all()
        os._exit(status)


_OS = _Os("os")
