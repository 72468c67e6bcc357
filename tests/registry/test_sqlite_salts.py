"""Salts of `per_subject` ids in a consent file (contract rule 3.9)."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from consentpanel.policy import per_subject
from consentpanel.registry import SQLiteRegistry


@pytest.fixture
def file(tmp_path):
    return tmp_path / "consent.db"


def test_ids_last_as_long_as_the_file(file):
    with SQLiteRegistry(file) as registry:
        before = per_subject(registry.salts).of("user-1", None)
    with SQLiteRegistry(file) as registry:
        identity = per_subject(registry.salts)
        assert identity.of("user-1", None) == before
        identity.forget("user-1")
        identity.forget("user-1")
        assert identity.of("user-1", None) != before


def test_a_forgotten_salt_is_nowhere_in_the_files(file):
    with SQLiteRegistry(file) as registry:
        identity = per_subject(registry.salts)
        identity.of("user-1", None)
        salt = registry.salts["user-1"].encode()
        assert any(salt in each.read_bytes() for each in file.parent.iterdir())
        identity.forget("user-1")
        assert not any(salt in each.read_bytes() for each in file.parent.iterdir())


def test_many_threads_agree_on_the_salt_of_a_person(file):
    with SQLiteRegistry(file) as registry, ThreadPoolExecutor(8) as pool:
        identity = per_subject(registry.salts)
        assert len(set(pool.map(lambda _: identity.of("user-1", None), range(64)))) == 1


def test_salts_are_a_mapping(file):
    with SQLiteRegistry(file) as registry:
        salts = registry.salts
        salts["a"], salts["b"] = "1", "2"
        salts["a"] = "3"
        assert dict(salts) == {"a": "3", "b": "2"}
        assert len(salts) == 2
        assert salts.setdefault("b", "9") == "2"
        assert repr(salts) == "<SQLiteSalts>"
        for use in (lambda: salts["nobody"], lambda: salts.__delitem__("nobody")):
            with pytest.raises(KeyError) as caught:
                use()
            assert "nobody" not in str(caught.value)


def test_consent_and_salts_are_forgotten_apart(file):
    with SQLiteRegistry(file) as registry:
        identity = per_subject(registry.salts)
        registry.grant("user-1")
        before = identity.of("user-1", None)
        registry.forget("user-1")
        assert identity.of("user-1", None) == before
        registry.grant("user-1")
        identity.forget("user-1")
        assert registry.status("user-1", "analytics") == "granted"
