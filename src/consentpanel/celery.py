"""Celery's workers: what waits is delivered before one of their processes ends (extra ``celery``)."""

from __future__ import annotations

from typing import Any

from consentpanel.errors import ConfigurationError
from consentpanel.transport._ends import end_all

try:
    from celery import signals
except ImportError as error:
    raise ConfigurationError("consentpanel.celery needs Celery: pip install 'consentpanel[celery]'") from error


def install(app: Any = None) -> None:
    """Has workers deliver what waits in the buffers of a process before it ends; to be called once, where the tasks are.

    A process of the prefork pool leaves by `os._exit`, also when it is recycled (``--max-tasks-per-child``), after which no
    exit handler of Python's runs. Those of other pools (solo, threads, gevent) end by themselves.

    Args:
        app: The `celery.Celery` application; the signals are those of all, so that it may be left out.

    Example:
        .. code-block:: python

            app = Celery("shop")
            consentpanel.celery.install(app)
    """
    del app
    for signal in (signals.worker_process_shutdown, signals.worker_shutdown):
        signal.connect(_deliver, weak=False, dispatch_uid="consentpanel")


def _deliver(**_: Any) -> None:
    end_all()
