"""The servers in which consent is kept."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def postgresql(services):
    try:
        with services.postgresql() as server:
            yield server
    except services.MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def mariadb(services):
    try:
        with services.mariadb() as server:
            yield server
    except services.MissingError as error:
        pytest.skip(str(error))
