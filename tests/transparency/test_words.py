"""What is said to visitors is whole in every language, and reads as a person would say it (contract rules 12.1, 12.2, 12.5)."""

import datetime as dt
import importlib.util
import io
import re
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import consentpanel.transparency
from consentpanel import ConfigurationError
from consentpanel._mixpanel.names import EXPOSURE, IDS, PERSONAL
from consentpanel.transparency import (
    AMBIGUOUS,
    LANGUAGES,
    TEXTS,
    Words,
    add_catalogue,
    best_language,
    is_ambiguous,
    languages,
)
from consentpanel.transparency import _catalogues as catalogues
from consentpanel.transparency._labels import LABELS, label_of

PACKAGE = Path(consentpanel.transparency.__file__).parent
LOCALE = PACKAGE / "locale"
SCRIPT = Path(__file__).parents[2] / "scripts/messages"
TRANSLATED = [each for each in LANGUAGES if each != "en"]
DAY = dt.date(2026, 11, 3)


def braces(text):
    return set(re.findall(r"{\w+}", text))


@pytest.fixture(autouse=True)
def only_our_own_catalogues(monkeypatch):
    monkeypatch.setattr(catalogues, "_added", {})


@pytest.fixture(name="messages", scope="module")
def _messages():
    pytest.importorskip("babel")
    loader = SourceFileLoader("messages", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("messages", loader))
    loader.exec_module(module)
    return module


def pairs(message):
    """Each text of a message with each of its translations."""
    if isinstance(message.id, tuple):
        return [(text, translated) for text in message.id for translated in message.string]
    return [(message.id, message.string)]


# Catalogues


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_is_translated_and_compiled(language, messages):
    # rule 12.2
    from babel.messages.mofile import read_mo
    from babel.messages.pofile import read_po

    directory = LOCALE / language / "LC_MESSAGES"
    catalog = read_po(io.BytesIO((directory / "consentpanel.po").read_bytes()), locale=language)
    compiled = read_mo(io.BytesIO((directory / "consentpanel.mo").read_bytes()))
    wanted = messages.template()
    assert {(each.id, each.context) for each in catalog} == {(each.id, each.context) for each in wanted}
    for message in catalog:
        if message.id:
            assert not message.fuzzy
            assert tuple(compiled.get(message.id, message.context).string) == tuple(
                message.string
            )  # scripts/messages does it
            for text, translated in pairs(message):
                assert translated
                assert braces(translated) == braces(text)


def test_the_template_for_translators_is_up_to_date(messages):
    from babel.messages.pofile import read_po

    template = read_po(io.BytesIO((LOCALE / "consentpanel.pot").read_bytes()))
    assert [(each.id, each.context) for each in template] == [(each.id, each.context) for each in messages.template()]
    assert not any(each.string for each in template if isinstance(each.id, str) and each.id)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", TEXTS)
def test_every_text_can_be_said_in_full(language, name):
    said = Words(language)(name, **{each.strip("{}"): "x" for each in braces(TEXTS[name])})
    assert said
    assert "{" not in said
    assert said == said.strip()
    assert "  " not in said


@pytest.mark.parametrize("language", LANGUAGES)
def test_quotes_and_spaces_are_those_of_the_language(language):
    words = Words(language)
    for said in [*map(words, TEXTS), *map(words.label, (names[0] for names in LABELS.values()))]:
        assert not set(said or "") & set("\"'`")
        if language == "fr":
            assert not re.search(r"[^\u00a0][;?!»]|(?<!\d)[^\u00a0]:(?!\d)|«[^\u00a0]", said or "")
        if language == "de":
            assert "”" not in (said or "")
            assert "»" not in (said or "")


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_empty_leaves_no_gap_and_no_sentence_ends_twice(language):
    words = Words(language)
    without = words("basis.opt_in", legal_basis="")
    assert without.endswith(".")
    assert without == without.strip()
    assert "  " not in words("who.text", vendor="Mixpanel", role="", region="EU")
    assert words("dpo", dpo="A. B., Inc.").endswith("A. B., Inc.")
    assert words("complaint", authority="A. B., Inc.").count(".") == "A. B., Inc.".count(".") + (language == "de")
    assert words("why", why="{vendor}").endswith("{vendor}")  # what is filled in is not filled in itself


def test_nothing_is_promised_absolutely():
    # rule 12.5
    for name in ("detectors", "detectors.but"):
        assert "We do not recognise all" in TEXTS[name]
    assert not [
        text for text in TEXTS.values() if re.search(r"(?i)nobody|anonym|best experience|\bshared?\b with", text)
    ]


def test_every_kind_of_form_identity_and_search_has_words():
    for name in (
        "form.keep form.keep.one_of form.keep.deep form.redact form.mask form.mask.email form.truncate form.truncate.one"
        " form.generalize.time.day form.generalize.bucket form.generalize.ip form.generalize.decimals.coordinate"
        " form.generalize.bands.age form.pseudonymize form.url form.url.none form.url.ids form.url.fragment form.computed"
        " detect.off identity.plain identity.pseudonymous identity.per_subject"
    ).split():
        assert name in TEXTS


@pytest.mark.parametrize("status", "pending staging started success failure revoked not_found unknown".split())
def test_every_state_of_a_request_has_words(status):
    # rule 12.1
    assert TEXTS[f"panel.task.{status}"]


def test_yes_and_no_to_all_are_of_one_length():
    # rule 12.1
    for language in LANGUAGES:
        yes, no = (len(Words(language)(f"panel.button.{each}")) for each in ("accept_all", "reject_all"))
        assert abs(yes - no) <= 2


# Labels


@pytest.mark.parametrize("name", ["unit_price", "unitPrice", "UnitPrice", "Unit Price", "unit-price", "UNIT_PRICE"])
def test_a_label_is_found_in_any_spelling(name):
    # rule 12.5
    labels = [Words(language).label(name) for language in LANGUAGES]
    assert labels == ["the price for one", "der Preis für ein Stück", "le prix à l’unité"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("$email", "your e-mail address"),
        ("$Email", None),
        ("$unit_price", None),
        ("distinctId", "the ID we know you by"),
        ("time", "the date and time of what you did"),
        ("Time", None),
        ("utm_campaign", "the campaign that brought you here"),
        ("Variant fetch latency (ms)", "how long the look-up took"),
        ("sessions_of_the_moon", None),
        ("", None),
        ("status", None),
    ],
)
def test_the_vendor_s_names_count_as_the_vendor_writes_them(name, label):
    assert Words("en").label(name) == label


def test_a_group_s_properties_are_not_said_to_be_the_person_s():
    words = Words("en")
    assert words.label("$name") == "your name"
    assert words.label("$name", scope="groups") == "the name of your company, team or other group"
    assert words.label("$phone", scope="groups") is None
    assert words.label("industry", scope="groups") == words.label("industry")


@pytest.mark.parametrize("name", sorted((PERSONAL | set(EXPOSURE) | IDS) - {"alias"}))
def test_the_vendor_s_properties_have_labels(name):
    assert Words("en").label(name)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_label_is_written_for_developers(language):
    names = [name for names in LABELS.values() for name in names]
    assert len(names) > 200
    for name in names:
        label = Words(language).label(name)
        assert label
        assert not re.search(r"[_${}]|(?i:\buser\b|nutzer|utilisateur|property|boolean|string|null)", label)
        assert not label.endswith(".")


def test_ambiguous_names_have_no_label():
    # rule 12.5
    for name in "total amount status title region source position count date type value name".split():
        assert name in AMBIGUOUS
    assert not [name for name in AMBIGUOUS if label_of(name)]
    assert is_ambiguous("Status")
    assert is_ambiguous("TITLE")
    assert not is_ambiguous("order_status")
    assert is_ambiguous("createdAt")
    assert not is_ambiguous("$region")


def test_no_two_labels_claim_one_name():
    names = [name for names in LABELS.values() for name in names]
    assert len(names) == len(set(names))
    for label, mine in LABELS.items():
        assert {label_of(name) for name in mine} == {label}


@given(st.text())
def test_any_name_may_be_asked_for(name):
    words = Words("de")
    assert words.label(name) is None or words.label(name)
    assert isinstance(is_ambiguous(name), bool)
    assert isinstance(words.country(name), str)


# Dates, periods, lists, countries


@pytest.mark.parametrize(
    ("language", "day", "first", "time"),
    [
        ("en", "3 November 2026", "1 November 2026", "3 November 2026, 9:05 (universal time, UTC)"),
        ("de", "3. November 2026", "1. November 2026", "3. November 2026, 9:05 Uhr (Weltzeit, UTC)"),
        ("fr", "3 novembre 2026", "1er novembre 2026", "3 novembre 2026 à 9 h 05 (temps universel, UTC)"),
    ],
)
def test_dates_and_times(language, day, first, time):
    words = Words(language)
    assert words.date(DAY) == day
    assert words.date(DAY.replace(day=1)) == first
    moment = dt.datetime(2026, 11, 3, 11, 5, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert words.time(moment).replace("\u00a0", " ") == time
    assert words.date(dt.datetime(2026, 11, 4, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))) == day
    assert words.time(dt.datetime(2026, 11, 3, 9, 5)).replace("\u00a0", " ") == time  # noqa: DTZ001 (it is the point)


def test_every_month_has_its_name():
    assert len({Words(each).date(DAY.replace(month=month)) for each in LANGUAGES for month in range(1, 13)}) == 36


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", ["1 day", "180 days", "1 year", "2 years", "366 days", "0 days", "1 month", "6 months"]),
        ("de", ["1 Tag", "180 Tage", "1 Jahr", "2 Jahre", "366 Tage", "0 Tage", "1 Monat", "6 Monate"]),
        ("fr", ["1 jour", "180 jours", "1 an", "2 ans", "366 jours", "0 jour", "1 mois", "6 mois"]),
    ],
)
def test_periods(language, said):
    words = Words(language)
    days = [words.period(each) for each in (1, 180, 365, 730, 366, 0)]
    assert [*days, words.months(1), words.months(6)] == said


@pytest.mark.parametrize(("language", "last"), [("en", "a, b and c"), ("de", "a, b und c"), ("fr", "a, b et c")])
def test_lists(language, last):
    words = Words(language)
    assert [words.listed(each) for each in ("", "a", "abc")] == ["", "a", last]
    assert words.listed(["{last}", "{first}"]).startswith("{last} ")


@pytest.mark.parametrize(
    ("language", "names"),
    [
        ("en", ["Germany", "United States", "United States (CA)", "Guadeloupe"]),
        ("de", ["Deutschland", "Vereinigte Staaten", "Vereinigte Staaten (CA)", "Guadeloupe"]),
        ("fr", ["Allemagne", "États-Unis", "États-Unis (CA)", "Guadeloupe"]),
    ],
)
def test_countries(language, names):
    words = Words(language)
    assert [words.country(each) for each in ("DE", "us", "US-CA", "GP")] == names
    assert [words.country(each) for each in ("QQ", "*", "", "QQ-CA", "-")] == ["QQ", "*", "", "QQ-CA", "-"]


# A publisher's own texts


def test_a_publisher_s_text_is_taken_in_the_language_of_the_page():
    # rule 12.7
    text = {"en": "for receipts", "de": "für Belege"}
    assert [Words(each).own(text) for each in LANGUAGES] == ["for receipts", "für Belege", "for receipts"]
    assert Words("de").own("as it is") == "as it is"
    words = Words("de", {"choices": {"de": "Ihre Rechte", "en": "Your rights"}, "title": "Tee"})
    assert [words("choices"), words("title")] == ["Ihre Rechte", "Tee"]


@pytest.mark.parametrize("own", [{"headline": "x"}, {"title": 1}, {"title": {}}, {"title": {"de": 1}}])
def test_texts_of_no_name_and_texts_that_are_none_are_refused(own):
    with pytest.raises(ConfigurationError, match="the names are those of"):
        Words("en", own)


# More languages


def compile_catalogue(folder, language, texts, **more):
    catalog = pytest.importorskip("babel.messages.catalog").Catalog(locale=language.replace("-", "_"), charset="utf-8")
    for text, translated in texts.items():
        catalog.add(text, translated, **more)
    file = folder / language / "LC_MESSAGES/consentpanel.mo"
    file.parent.mkdir(parents=True)
    with file.open("wb") as stream:
        pytest.importorskip("babel.messages.mofile").write_mo(stream, catalog)
    return folder


def test_a_catalogue_adds_a_language_and_what_it_lacks_is_english(tmp_path):
    # rule 12.2
    days = (TEXTS["period.days.one"], TEXTS["period.days.many"])
    compile_catalogue(
        tmp_path, "pl", {"Yes": "Tak", days: ("{count} dzień", "{count} dni", "{count} dni", "{count} dnia")}
    )
    assert add_catalogue(tmp_path) == ("pl",)
    assert languages() == ("en", "de", "fr", "pl")
    assert LANGUAGES == ("en", "de", "fr")
    words = Words("pl")
    assert words("panel.switch.on") == "Tak"
    assert words("panel.switch.off") == "No"
    assert [words.period(each) for each in (1, 2, 22)] == ["1 dzień", "2 dni", "22 dni"]
    assert (words.language, words.language_name, words.direction) == ("pl", "pl", "ltr")
    assert words.country("DE") == "Germany"
    assert best_language("pl") == "pl"


def test_a_region_s_words_fall_back_to_the_language_s(tmp_path):
    compile_catalogue(tmp_path, "pt_BR", {"Yes": "Sim!"})
    compile_catalogue(tmp_path, "pt", {"Yes": "Sim", "No": "Não"})
    compile_catalogue(tmp_path, "de-AT", {"January": "Jänner"})
    assert set(add_catalogue(tmp_path)) == {"pt-BR", "pt", "de-AT"}
    assert [Words("PT-br")("panel.switch.on"), Words("pt-BR")("panel.switch.off")] == ["Sim!", "Não"]
    assert Words("pt-BR").language == "pt-BR"
    assert Words("de-AT").date(dt.date(2026, 1, 3)) == "3. Jänner 2026"
    assert Words("de-AT").own({"en": "tea", "de": "Tee"}) == "Tee"
    assert Words("de-AT").label("currency") == Words("de").label("currency")


def test_the_last_catalogue_of_a_language_goes_first(tmp_path):
    add_catalogue(compile_catalogue(tmp_path / "a", "de", {"Yes": "Jawohl", "No": "Nö"}))
    add_catalogue(compile_catalogue(tmp_path / "b", "de", {"Yes": "Gern"}))
    add_catalogue(compile_catalogue(tmp_path / "c", "en", {"Yes": "Aye"}))
    assert languages() == LANGUAGES
    assert [Words("de")(f"panel.switch.{each}") for each in ("on", "off")] == ["Gern", "Nö"]
    assert Words("en")("panel.switch.on") == "Aye"


def test_labels_and_countries_are_translated_by_a_catalogue_too(tmp_path):
    compile_catalogue(tmp_path, "es", {"the price for one": "el precio por unidad"})
    compile_catalogue(tmp_path, "it", {"Germany": "Germania"}, context="territory")
    add_catalogue(tmp_path)
    assert Words("es").label("unitPrice") == "el precio por unidad"
    assert Words("it").country("DE") == "Germania"


@pytest.mark.parametrize(("tag", "direction"), [("ar", "rtl"), ("he", "rtl"), ("fa-IR", "rtl"), ("ur-Latn", "ltr")])
def test_the_direction_is_that_of_the_script(tmp_path, tag, direction):
    add_catalogue(compile_catalogue(tmp_path, tag, {"Yes": "x"}))
    assert Words(tag).direction == direction


@pytest.mark.parametrize(
    "text", [{"Yes": "Sí {name}"}, {TEXTS["why"]: "¿Por qué?"}, {TEXTS["purpose.none"]: "{vendor}"}]
)
def test_a_translation_with_other_braces_is_refused(tmp_path, text):
    compile_catalogue(tmp_path, "es", text)
    with pytest.raises(ConfigurationError, match="the catalogue for es has other names in braces in: "):
        add_catalogue(tmp_path)
    assert languages() == LANGUAGES


def test_a_plural_and_a_country_with_braces_are_refused(tmp_path):
    days = (TEXTS["period.days.one"], TEXTS["period.days.many"])
    compile_catalogue(tmp_path / "a", "es", {days: ("{n} día", "{count} días", "{count} días")})
    compile_catalogue(tmp_path / "b", "it", {"Germany": "{code}"}, context="territory")
    for folder in ("a", "b"):
        with pytest.raises(ConfigurationError, match="other names in braces"):
            add_catalogue(tmp_path / folder)
    # One day need not say its number.
    add_catalogue(compile_catalogue(tmp_path / "c", "es", {days: ("un día", "{count} días", "{count} días")}))
    assert [Words("es").period(each) for each in (1, 2)] == ["un día", "2 días"]


@pytest.mark.parametrize("junk", [b"", b"no catalogue", b"\xde\x12\x04\x95" + b"\xff" * 40])
def test_what_is_no_catalogue_is_refused(tmp_path, junk):
    with pytest.raises(ConfigurationError, match="in this folder"):
        add_catalogue(tmp_path)
    file = tmp_path / "es/LC_MESSAGES/consentpanel.mo"
    file.parent.mkdir(parents=True)
    file.write_bytes(junk)
    with pytest.raises(ConfigurationError, match="the catalogue for es is no compiled"):
        add_catalogue(tmp_path)


@pytest.mark.parametrize("language", ["es", "", "de-", "../de", None, 3])
def test_a_language_that_is_not_there_is_refused(language):
    with pytest.raises(ConfigurationError, match="language must be one of en, de, fr"):
        Words(language)


# Accept-Language


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, "en"),
        ("", "en"),
        ("fr", "fr"),
        ("FR-ca", "fr"),
        ("de-CH-1996", "de"),
        ("de-x-private", "de"),
        ("ja, de;q=0.3, fr;q=0.7", "fr"),
        ("de;q=0.5, fr;q=0.5", "de"),
        ("de;q=0, fr;q=0.1", "fr"),
        ("en;q=0", "de"),
        ("en;q=0, de;q=0", "fr"),
        ("*;q=0.5, fr;q=0.1", "fr"),
        ("*", "en"),
        ("*;q=0", "en"),
        ("de;q=0, de-CH", "en"),
        ("en;q=0, de;q=0, fr;q=0, pt;q=0", "en"),
        ("pt", "pt-BR"),
        ("pt-PT, de;q=0.1", "de"),
        ("PT-br", "pt-BR"),
        ("pt-BR;q=0, pt", "en"),
        (" de ; Q=1.000 ,", "de"),
        ("de;q=1.001, fr;q=0.1", "fr"),
        ("de;q=, fr;q=0.1", "fr"),
        ("de;level=1, fr;q=0.1", "fr"),
        ("de;q=0.1234, fr;q=0.1", "fr"),
        ("d\u00e9, fr", "fr"),
        ("de_DE, fr", "fr"),
        ("deutschland, fr", "fr"),
        ("\x00, fr", "fr"),
        ("de\n, fr", "fr"),
    ],
)
def test_the_language_is_the_one_that_the_browser_prefers(header, found):
    # RFC 9110, 12.5.4; RFC 4647, 3.4
    assert best_language(header, ["en", "de", "fr", "pt-BR"]) == found


def test_the_first_language_is_for_everybody_else():
    assert best_language("ja", ["fr", "en"]) == "fr"
    with pytest.raises(ConfigurationError, match="at least one language"):
        best_language("ja", [])


@given(st.text(st.sampled_from("defrEN-*;=q01. ,\t") | st.characters()))
def test_any_header_is_answered(header):
    assert best_language(header) in LANGUAGES


@pytest.mark.parametrize("header", ["a-" * 100_000, "de;" + " " * 100_000, ",".join(["fr"] * 100_000), "x" * 100_000])
def test_a_long_header_is_read_from_its_beginning(header):
    assert best_language("de," + header) == "de"


def test_no_babel_is_needed():
    code = "import sys; from consentpanel.transparency import Words; Words('fr').country('DE'); print('babel' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
