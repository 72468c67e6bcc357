"""How well and how fast personal data is found, beside other libraries where they are installed.

``python -m benchmarks.detectors`` prints recall by kind and context, false positives by class, and time. Needs Faker.
Recall beside peers is once of what stands as it is, alone or in a sentence, and once with what is percent-encoded in URLs.
Peers: ``presidio-analyzer`` (its pattern recognizers, without a language model), ``datafog``, ``scrubadub``.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from importlib import import_module

from benchmarks.labelled import Labelled, harmless, personal
from consentpanel.policy import detect

Found = Callable[[str], bool]


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--missed", type=int, default=0, help="how many misses to show")
    options = parser.parse_args()
    hidden, plain = list(personal(options.seed)), list(harmless(options.seed + 1))
    print(f"{len(hidden)} personal texts, {len(plain)} harmless ones, seed {options.seed}\n")
    _by_kind(hidden)
    _by_class(plain)
    _show(hidden, plain, options.missed)
    logging.disable()  # peers complain that they cannot fetch lists
    print(f"{'':24}{'as written':>11}{'all':>8}{'false':>8}{'us a text':>11}")
    for name, find in _finders():
        written = statistics.fmean(find(each.text) for each in hidden if each.group in {"plain", "sentence"})
        recall = statistics.fmean(find(each.text) for each in hidden)
        wrong = statistics.fmean(find(each.text) for each in plain)
        short = [each.text for each in plain if len(each.text) <= 40]
        print(f"{name:24}{written:11.4f}{recall:8.4f}{wrong:8.4f}{_microseconds(find, short):11.1f}")
    _adversaries()


def _by_kind(hidden: Iterable[Labelled]) -> None:
    found: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for each in hidden:
        kinds = {finding.kind for finding in detect(each.text)}
        found[str(each.kind), each.group].append(each.kind in kinds)
        found[str(each.kind), "all"].append(each.kind in kinds)
    groups = list(dict.fromkeys(group for _, group in found))
    print("recall by kind      " + "".join(f"{group:>20}" for group in groups))
    for kind in dict.fromkeys(kind for kind, _ in found):
        cells = (found.get((kind, group)) for group in groups)
        print(
            f"{kind:20}"
            + "".join("                   -" if not cell else f"{statistics.fmean(cell):20.4f}" for cell in cells)
        )
    print()


def _by_class(plain: Iterable[Labelled]) -> None:
    found: dict[str, list[bool]] = defaultdict(list)
    for each in plain:
        found[each.group].append(bool(detect(each.text)))
    print("false positives by class, where there are any")
    for group, hits in found.items():
        if any(hits):
            print(f"  {group:28}{statistics.fmean(hits):8.4f}")
    print()


def _show(hidden: Iterable[Labelled], plain: Iterable[Labelled], count: int) -> None:
    missed = [each for each in hidden if each.kind not in {finding.kind for finding in detect(each.text)}]
    wrong = [each for each in plain if detect(each.text)]
    for title, texts in (("missed", missed), ("wrong", wrong)):
        for each in texts[:count]:
            kinds = [finding.kind for finding in detect(each.text)]
            print(f"{title}: {each.kind or each.group}: {each.text!r} {kinds}")


def _finders() -> Iterable[tuple[str, Found]]:
    yield "consentpanel", lambda text: bool(detect(text))
    for name, build in _PEERS.items():
        try:
            yield name, build()
        except ImportError:
            print(f"{name} is not installed")


def _presidio() -> Found:
    registry = import_module("presidio_analyzer").RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    pattern_recognizer = import_module("presidio_analyzer.pattern_recognizer").PatternRecognizer
    recognizers = [each for each in registry.recognizers if isinstance(each, pattern_recognizer)]
    return lambda text: any(
        result.score >= 0.4 for each in recognizers for result in each.analyze(text, each.supported_entities) or ()
    )


def _datafog() -> Found:
    service = import_module("datafog.services.text_service").TextService(engine="regex")
    return lambda text: any(service.annotate_text_sync(text).values())


def _scrubadub() -> Found:
    scrubber = import_module("scrubadub").Scrubber()
    return lambda text: any(True for _ in scrubber.iter_filth(text))


_PEERS: dict[str, Callable[[], Found]] = {
    "presidio-analyzer": _presidio,
    "datafog": _datafog,
    "scrubadub": _scrubadub,
}


def _microseconds(find: Found, texts: list[str]) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        for text in texts:
            find(text)
        times.append(time.perf_counter() - start)
    return min(times) / len(texts) * 1e6


#: What is repeated to make a text slow: beginnings, near misses, digits in rows and in groups, marks, other digits, escapes.
_PIECES = (
    *(
        "a@",
        "4",
        "4444 ",
        "4 ",
        ":",
        "1::1 ",
        ".",
        "1.1.1.1 ",
        "%",
        "%25",
        "%41",
        "[",
        '{"a":',
        "DE89 ",
        "eyJaaaaaaaa.",
    ),
    *(
        "-----BEGIN PRIVATE KEY-----",
        "email=b&",
        "+1 ",
        "01 ",
        "(01) ",
        "\u200b",
        "x@a.co ",
        '"@a.co',
        "password=",
        "123-45-",
    ),
    *(
        "01 " + "1" * 47 + "a ",
        "(12) " + "1" * 21 + "a ",
        "01)(",
        "(((1",
        "00 1",
        "20 12 34 56 ",
        "4111 1111 1111 1111 ",
    ),
    *(
        "+49 30 1234567;",
        "123-45-6789 ",
        "DE89370400440532013000 ",
        ";a/1.1.1.1",
        "a=1+1&",
        "eyJaaaaaaaaaaaaa-",
        "sk-a-",
    ),
    *(
        "\u0300\u0316",
        "\uff9e\u0300",
        "\u00bd",
        "\u0663",
        "\u6f224",
        "\ufb01",
        "+\uff14\uff14 \uff12\uff10 \uff17\uff19\uff14\uff16 ",
    ),
    *(
        "&#64;",
        "&amp;",
        "&aa ",
        "%26%2364%3B",
        "\\u0040",
        "\\\\",
        '\\"',
        '"a":',
        '"token":',
        '{"a":1}\n',
        "\n[",
        "[1e9,",
        "=+",
    ),
)


def _adversaries() -> None:
    times: list[tuple[float, str]] = []
    for piece in _PIECES:
        text = piece * (1_000_000 // len(piece))
        start = time.process_time()
        detect(text)
        times.append((time.process_time() - start, piece))
    print(
        f"\n{len(times)} texts of a million characters that are made to be slow, the slowest in seconds of processor time"
    )
    for seconds, piece in sorted(times, reverse=True)[:5]:
        print(f"  {seconds:6.2f}  {piece!a}")


if __name__ == "__main__":
    main()
