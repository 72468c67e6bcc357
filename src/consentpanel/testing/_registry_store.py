"""The part of `RegistryContract` about the store beneath: whom it tells apart, who else writes, what it outlives."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from consentpanel._consent.ids import Purpose
from consentpanel.testing._registry_proof import (
    ANALYTICS,
    DENIED,
    GRANTED,
    PROFILES,
    UNKNOWN,
    RegistryProof,
    expect,
    expect_status,
    expect_statuses,
    record_of,
    skip,
)

#: Ids that collations of databases take for one: by case, accent, width, composition, trailing space, or case alone in part.
ALIKE = (
    *("ada", "Ada", "ADA", "ada ", "ada  ", " ada", "ada\t", "adä", "adá", "a\u0308da", "\u00e4da", "ada\u200b"),
    *("\uff41da", "stra\u00dfe", "strasse", "\u0131", "i", "I", "\u0130", "ad\u00e0", "ada\u0300", "\u212a", "k", "K"),
)
#: As long as an id may be, in characters that are long in every encoding.
LONGEST = "\N{GRINNING FACE}" * 255


class KeptByAStore(RegistryProof):
    """Proves what a registry owes to the store beneath it."""

    def open_again(self) -> Any:
        """Open another registry over the store of the one that `make_registry` made last, as another process would.

        Override it when your registry keeps its records outside of the process.
        """
        raise NotImplementedError

    def restart_store(self) -> None:
        """Restart the server of the store; what was recorded is there again afterwards. Override it where there is one."""
        raise NotImplementedError

    def rolled_back(self) -> AbstractContextManager[dict[str, Any]]:
        """A transaction of the caller's, given as the keywords of `record`, that is rolled back at the end.

        Override it when your registry writes into a transaction of the caller's, as with ``session=``.
        """
        raise NotImplementedError

    # whom it tells apart

    def test_ids_that_look_alike_are_different_people(self) -> None:
        registry = self._registry()
        for place, subject_id in enumerate(ALIKE):
            registry.record(record_of(GRANTED if place % 2 else DENIED, 1, subject_id=subject_id))
        expected = {each: GRANTED if place % 2 else DENIED for place, each in enumerate(ALIKE)}
        for subject_id, status in expected.items():
            expect_status(registry.status(subject_id, ANALYTICS), status, f"the id {subject_id!a}")
            expect(len(registry.history(subject_id)), 1, f"the number of records of the id {subject_id!a}")
        expect_statuses(registry.statuses(ALIKE, ANALYTICS), expected)
        registry.forget(ALIKE[0])
        expect_statuses(registry.statuses(ALIKE, ANALYTICS), {**expected, ALIKE[0]: UNKNOWN})

    def test_the_longest_id_is_kept_whole(self) -> None:
        registry = self._registry(record_of(GRANTED, 1, subject_id=LONGEST))
        expect_status(registry.status(LONGEST, ANALYTICS), GRANTED, "an id of 255 characters")
        expect_status(registry.status(LONGEST[:-1], ANALYTICS), UNKNOWN, "an id that is a character shorter")
        expect([each.subject_id for each in registry.history(LONGEST)], [LONGEST], "the id in the history")

    def test_purposes_that_look_alike_are_different(self) -> None:
        registry = self._registry(record_of(GRANTED, 1, purpose=Purpose("\u00e4" * 64)))
        expect_status(registry.status("user-1", "\u00e4" * 64), GRANTED, "a purpose of 64 characters")
        for other in ("a" * 64, "\u00c4" * 64, "\u00e4" * 63):
            expect_status(registry.status("user-1", other), UNKNOWN, f"the purpose {other!a}")

    def test_many_people_in_one_question(self) -> None:
        registry = self._registry(
            *(record_of(DENIED, 1, subject_id=f"user-{number}") for number in range(0, 25_000, 2_500))
        )
        ids = [f"user-{number}" for number in range(25_000)]
        expected = {each: DENIED if place % 2_500 == 0 else UNKNOWN for place, each in enumerate(ids)}
        expect_statuses(registry.statuses(ids, ANALYTICS), expected)

    # who else writes

    def test_what_another_registry_over_the_store_writes_is_seen(self) -> None:
        registry = self._registry(record_of(GRANTED, 2))
        other = self._again()
        expect_status(other.status("user-1", ANALYTICS), GRANTED, "what the first one wrote")
        other.record(record_of(DENIED, 1))
        expect_status(registry.status("user-1", ANALYTICS), DENIED, "what the other one wrote")
        expect(len(registry.history("user-1")), 2, "the number of records of both")
        other.forget("user-1")
        expect_status(registry.status("user-1", ANALYTICS), UNKNOWN, "what the other one has forgotten")

    def test_two_that_write_about_one_person_at_once_lose_nothing(self) -> None:
        writers = [self._registry(), *(self._again() for _ in range(3))]
        failures: list[str] = []
        start = threading.Barrier(len(writers))

        def write(registry: Any, number: int) -> None:
            try:
                start.wait(60)
                for count in range(15):
                    # In another order in each, so that whoever locks one after the other meets.
                    people = (number % 2, 1 - number % 2)
                    records = [record_of(GRANTED, 1, subject_id=f"user-{each}") for each in people]
                    if count % 3 and callable(getattr(registry, "record_many", None)):
                        registry.record_many(records)
                    else:
                        for record in records:
                            registry.record(record)
            except BaseException as error:  # noqa: BLE001 - told below, in the thread of the test
                failures.append(f"{type(error).__name__}: {error}")

        threads = [threading.Thread(target=write, args=each) for each in zip(writers, range(4), strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expect(failures, [], "failures in threads")
        for subject_id in ("user-0", "user-1"):
            expect(len({each.record_id for each in writers[0].history(subject_id)}), 60, "the number of records")
            self._expect_whole(writers[0], subject_id, 60)

    # what it outlives

    def test_it_outlives_a_restart_of_its_store(self) -> None:
        registry = self._registry(record_of(GRANTED, 2))
        expect_status(registry.status("user-1", ANALYTICS), GRANTED, "before the restart")
        try:
            self.restart_store()
        except NotImplementedError:
            skip("restart_store is not overridden: this registry has no server")
        expect_status(registry.status("user-1", ANALYTICS), GRANTED, "the first question after the restart")
        registry.record(record_of(DENIED, 1))
        expect_status(registry.status("user-1", ANALYTICS), DENIED, "what was recorded after the restart")
        expect(len(registry.history("user-1")), 2, "the number of records of before and after")

    def test_a_fork_leaves_both_working(self) -> None:
        if not hasattr(os, "fork") or sys.platform == "darwin":
            skip("a fork is not safe on this system")
        registry = self._registry(record_of(GRANTED, 2))
        expect_status(registry.status("user-1", ANALYTICS), GRANTED, "before the fork")
        children = []
        for number in range(3):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests may be there
                child = os.fork()
            if not child:
                # Nothing of the tests may run in it.
                _leave(registry, number)
            children.append(child)
        for _ in range(20):
            expect_status(registry.status("user-1", ANALYTICS), GRANTED, "in the parent, beside its children")
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        expect(codes, [0, 0, 0], "what the children said: 0 when they were answered as the parent")
        registry.record(record_of(DENIED, 1))
        expect_status(registry.status("user-1", ANALYTICS), DENIED, "in the parent, after its children")

    def test_what_is_rolled_back_was_never_said(self) -> None:
        registry = self._registry(record_of(DENIED, 2))
        with self._transaction() as where:
            registry.record(record_of(GRANTED, 1), **where)
            registry.record(record_of(GRANTED, 1, purpose=PROFILES), **where)
            # Of a thread's own transaction nobody need be told, and the thread asks within.
            seen = DENIED if where else GRANTED
            expect_status(registry.status("user-1", ANALYTICS), seen, "asked while the transaction is open")
        expect_status(registry.status("user-1", ANALYTICS), DENIED, "after the transaction was rolled back")
        expect(len(registry.history("user-1")), 1, "the number of records after it was rolled back")
        registry.record(record_of(GRANTED, 1))
        expect_status(registry.status("user-1", ANALYTICS), GRANTED, "what was recorded after it")
        self._expect_whole(registry, "user-1", 2)

    def _expect_whole(self, registry: Any, subject_id: str, records: int) -> None:
        verify = getattr(registry, "verify", None)
        if callable(verify):
            found: Any = verify(subject_id)
            expect((bool(found), found.records), (True, records), "the chain of the records")

    def _again(self) -> Any:
        try:
            registry = self.open_again()
        except NotImplementedError:
            skip("open_again is not overridden: this registry keeps its records in the process")
        self.__dict__.setdefault("_made", []).append(registry)
        return registry

    @contextmanager
    def _transaction(self) -> Generator[dict[str, Any], None, None]:
        try:
            transaction = self.rolled_back()
        except NotImplementedError:
            skip("rolled_back is not overridden: this registry writes into no transaction of the caller's")
        with transaction as where:
            yield where


def _leave(registry: Any, number: int) -> None:
    code = 1
    try:
        said = registry.status("user-1", ANALYTICS) is GRANTED
        registry.record(record_of(GRANTED, 1, subject_id=f"child-{number}"))
        code = 0 if said and registry.status(f"child-{number}", ANALYTICS) is GRANTED else 2
    finally:
        os._exit(code)
