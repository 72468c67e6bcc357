"""The texts that visitors were shown can be found again (contract rule 12.6)."""

from __future__ import annotations

import hashlib
import stat

import pytest

from consentpanel import ConfigurationError, FieldPolicy, keep
from consentpanel.transparency import NoticeArchive, notice

POLICY = FieldPolicy(events={"plan": keep(reason="to see what is bought")})


def test_what_was_shown_is_kept_for_each_version_and_language(tmp_path):
    archive = NoticeArchive(tmp_path / "notices")
    shown = [notice(POLICY, contact="privacy@shop.example", language=language) for language in ("en", "de")]
    kept = [archive.keep(each) for each in shown]
    again = NoticeArchive(tmp_path / "notices")
    assert list(again) == kept
    assert again.of_version(shown[0].version, "de") == [kept[1]]
    assert again.find(kept[0].digest).text == shown[0].to_html()
    assert hashlib.sha256(shown[0].to_html().encode()).hexdigest() == kept[0].digest


def test_a_text_that_is_kept_again_is_kept_once_and_another_wording_beside_it(tmp_path):
    archive = NoticeArchive(tmp_path)
    first = archive.keep_text("v1.2/a", "de", "<p>Dürfen wir?</p>")
    assert archive.keep_text("v1.2/a", "de", "<p>Dürfen wir?</p>") == first
    archive.keep_text("v1.2/a", "de", "<p>Ist es recht?</p>")
    assert [each.version for each in archive.of_version("v1.2/a")] == ["v1.2/a"] * 2
    assert len(list(tmp_path.iterdir())) == 2
    assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()} == {0o644}


def test_a_text_that_was_changed_is_proof_of_nothing(tmp_path):
    archive = NoticeArchive(tmp_path)
    kept = archive.keep_text("1", "en", "<p>May we?</p>")
    (file,) = tmp_path.iterdir()
    file.write_text("<p>We may!</p>", "utf-8")
    (tmp_path / "other.html").write_text("not ours", "utf-8")
    assert archive.find(kept.digest) is None
    assert list(archive) == []


@pytest.mark.parametrize("arguments", [("", "en", "a"), ("1", None, "a"), ("1", "en", b"a")])
def test_what_is_no_text_is_refused(tmp_path, arguments):
    with pytest.raises(ConfigurationError):
        NoticeArchive(tmp_path).keep_text(*arguments)
    with pytest.raises(ConfigurationError, match="notice must be"):
        NoticeArchive(tmp_path).keep("a text")


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="folder"):
        NoticeArchive(tmp_path / "file")
    with pytest.raises(ConfigurationError, match="folder"):
        NoticeArchive(None)
