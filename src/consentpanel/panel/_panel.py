"""The panel: a request of a person, and what is answered."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import urlencode

import attrs

from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentStatus, now
from consentpanel._log import note_failure, warn_once
from consentpanel._visits import ConsentSummary, Visit
from consentpanel.client import Mixpanel
from consentpanel.client._consent_calls import keeps_erasures, settings_of
from consentpanel.errors import ConfigurationError, ConsentPanelError, InvalidRecordError
from consentpanel.panel import _actions as actions
from consentpanel.panel import _files as files
from consentpanel.panel._answers import Given, given_in, named_in, who_in
from consentpanel.panel._choices import Hidden
from consentpanel.panel._http import RefusedError, Request, Response, answer, as_html, as_json, see_other
from consentpanel.panel._lookups import LookUps
from consentpanel.panel._notices import Kept, Notices, NoticeSource, Shown
from consentpanel.panel._owed import Owed
from consentpanel.panel._page import assets_of, banner_of, page_of
from consentpanel.panel._receipt import receipt_of
from consentpanel.panel._regimes import regimes_of, under
from consentpanel.panel._safety import Limiter, Rate, check_origin, check_size
from consentpanel.panel._situation import Situation, Urls
from consentpanel.panel._state import is_opt_out_of, others_of, state_now, statuses_of
from consentpanel.panel._turns import Turns
from consentpanel.panel._view import BROWSER_PURPOSES, View, view_of
from consentpanel.transparency import Notice, NoticeArchive

#: By path the methods that it takes; HEAD goes where GET does.
_ROUTES = {
    "": ("GET", "POST"),
    "withdraw": ("POST",),
    "erase": ("POST",),
    "export": ("POST",),
    "receipt": ("GET",),
    "notice": ("GET",),
    "api": ("GET", "POST"),
    "api/withdraw": ("POST",),
    "api/erase": ("POST",),
    "api/export": ("POST",),
    **dict.fromkeys(sorted(files.NAMES), ("GET",)),
}
#: What the vendor is asked counts as so many answers.
_DEAR = 5
_FAILED = (
    "This page cannot be shown at the moment. Please try again.",
    "Your answer could not be saved. Please try again.",
)
_WEAKLY_SIGNED = (
    "the panel is mounted without secret_key=: the visitors' cookie is signed by a key made of the project's token, so that whoever knows"
    " that and a visitor's id reads that visitor's answers"
)
_UNSHOWN = {"yes_failed": "Your no is saved. Your yes could not be saved. Please try again."}
_STYLES = re.compile(r"<style[^>]*>(.*?)</style>", re.DOTALL)


class Panel:
    """The page on which a person sees what is sent about them, says yes or no to each purpose, and takes it back.

    It knows no framework: `consentpanel.asgi.PanelApp`, `consentpanel.wsgi.PanelApp`, Flask's and Django's settings mount it. One
    panel serves one client, and one site: where a notice depends on the tenant, the shop or the host, give each of them a panel of its
    own, because what `notice` gives for a language is kept and shown to everybody.

    Args:
        notice: The notice, or a function that is given a language and makes one in it, such as ``"de"``: called once for each
            language, and never again: nothing in it may depend on the request. When left out, a minimal one is made of the client.
        contact: Where people can write to, for a notice that is made of the client; when left out, it says nothing of that.
        archive: Keeps each text that was shown before an answer to it is recorded; a yes is recorded only once that is kept.
        earlier: Older notices, or what their `Notice.to_json` wrote: who has answered one is told what has changed.
        languages: The languages that there are, the first for those who read none of them; when left out all that there are, also of catalogues that were added
            before.
        offers_erasure: Whether people may ask here for the deletion of what the vendor has, where the client has ``privacy=``.
        offers_export: Whether they may ask for a copy of it.
        rate: How often somebody may answer.
        browser_purposes: The purposes that the vendor's library in the browser serves, where a page has it. It has one switch for all that
            it sends, so that it sends only while the person allows each of these.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        >>> from consentpanel.panel import Panel, Rate
        >>> panel = Panel(contact="privacy@shop.example", languages=("en", "de"), rate=Rate(per_minute=5))
    """

    def __init__(
        self,
        notice: NoticeSource | None = None,
        *,
        contact: str | None = None,
        archive: NoticeArchive | None = None,
        earlier: Sequence[Notice | str] = (),
        languages: Sequence[str] | None = None,
        offers_erasure: bool = True,
        offers_export: bool = True,
        rate: Rate | None = None,
        browser_purposes: Sequence[str] = BROWSER_PURPOSES,
    ) -> None:
        if rate is not None and not isinstance(rate, Rate):
            raise ConfigurationError(f"rate must be a Rate, not {type(rate).__name__}")
        self._notices = Notices(notice, contact=contact, languages=languages)
        self._kept = Kept(archive, earlier)
        self._offers_erasure, self._offers_export = offers_erasure, offers_export
        self._browser_purposes = _named(browser_purposes)
        self._limiter, self._look_ups = Limiter(rate or Rate()), LookUps()
        self._owed, self._turns = Owed(), Turns()

    def respond(
        self, request: Request, visit: Visit, hidden: Hidden = "", *, render: Callable[[View], str] | None = None
    ) -> Response:
        """Answers a request; raises nothing.

        Args:
            request: The request.
            visit: The consent of whoever has sent it: all that is shown and changed is that person's.
            hidden: HTML that stands in each form, such as a framework's field against forgery; or a function that makes it, which is
                called only where there is a form.
            render: Makes the page, such as by a template of the application's; `page_of` when left out.
        """
        if visit.cookie.is_of_token:
            warn_once(_WEAKLY_SIGNED)
        drawn = render or (lambda view: page_of(view, hidden=hidden))
        try:
            found = self._answered(request, visit, drawn)
        except RefusedError as refused:
            found = self._explained(refused, request, visit, drawn) or refused.response(request)
        except Exception as error:  # noqa: BLE001 - no trace of it may reach a log or a browser: it may hold values
            note_failure("the panel", error)
            found = RefusedError(503, "failed", _FAILED[request.method == "POST"]).response(request)
        length = () if found.status == 304 else (("Content-Length", str(len(found.body))),)
        body = b"" if request.method == "HEAD" else found.body
        return Response(found.status, (*found.headers, *length), body)

    def view(self, request: Request, visit: Visit) -> View:
        """What the page shows now, for an application that writes a page of its own.

        Raises:
            ConfigurationError: The notice cannot be made.
        """
        found = self._shown(request, visit)
        return self._view(request, found, self._situation(visit, found))

    def banner(self, request: Request, visit: Visit, hidden: Hidden = "") -> str:
        """A fragment of HTML that asks whoever has not answered; empty for all others. It raises nothing.

        Args:
            request: The request for whatever page it stands on; of it `mount` and the languages are looked at.
            visit: As for `respond`.
            hidden: As for `respond`.
        """
        try:
            found = self._shown(request, visit)
            if all(visit.status(each) is not ConsentStatus.UNKNOWN for each in found.purposes):
                # Of most people on most pages, so that no history is read.
                return ""
            situation = self._situation(visit, found, looks_up=False)
            return banner_of(self._view(request, found, situation), hidden=hidden)
        except Exception as error:  # noqa: BLE001 - the page around it is shown all the same
            note_failure("the banner", error)
            return ""

    def link(self, request: Request, visit: Visit) -> str:
        """A link to the panel, for the foot of each page."""
        try:
            words = self._shown(request, visit).notice.words("panel.footer.link")
        except Exception as error:  # noqa: BLE001 - as for the banner
            note_failure("the link to the panel", error)
            words = "Privacy"
        return f'<a href="{escape(self.urls(request).page)}">{escape(words)}</a>'

    def version(self, client: Mixpanel, mount: str) -> str | None:
        """The version of what the panel shows, which is the same in every language; None where it cannot be made.

        Args:
            client: The client.
            mount: The path of the panel.
        """
        try:
            return self._notices.of(self._notices.languages[0], client, f"{mount}/").notice.version
        except ConfigurationError as error:
            note_failure("the version of the notice", error)
            return None

    def head(self, request: Request, *, nonce: str | None = None) -> str:
        """The panel's sheet and script, for the head of any page: so that a banner needs no reload, and the vendor's library follows.

        Args:
            request: As for `banner`.
            nonce: That of the page's ``Content-Security-Policy``, where it allows scripts by a nonce.
        """
        return assets_of(self.urls(request), self._browser_purposes, nonce=nonce)

    def state(self, request: Request, visit: Visit) -> dict[str, Any]:
        """What the scripts of any page are told, as `View.state`; it raises nothing.

        Args:
            request: As for `banner`.
            visit: As for `respond`.
        """
        needs_consent: dict[str, bool] = {}
        try:
            uses = under(self._shown(request, visit).notice, regimes_of(visit)).uses
            # Where nobody can tell what silence means, scripts wait.
            needs_consent = {use.purpose: use.needs_consent is not False for use in uses}
        except Exception as error:  # noqa: BLE001 - as for the banner
            note_failure("the notice", error)
        return state_now(visit, needs_consent)

    def urls(self, request: Request) -> Urls:
        """Where the pages of the panel are; in the language that was asked for by name, where one was."""
        mount, language = request.mount, self._notices.asked_for(request.asked("language"))
        more = "" if language is None else f"?{urlencode({'language': language})}"
        return Urls(
            page=f"{mount}/{more}",
            withdraw=f"{mount}/withdraw{more}",
            erase=f"{mount}/erase{more}",
            export=f"{mount}/export{more}",
            receipt=f"{mount}/receipt{more}",
            notice=f"{mount}/notice{more}",
            style=files.address_of(mount, "panel.css"),
            script=files.address_of(mount, "panel.js"),
            api=f"{mount}/api{more}",
        )

    def _answered(self, request: Request, visit: Visit, render: Callable[[View], str]) -> Response:
        methods = _ROUTES.get(request.name)
        if methods is None:
            raise RefusedError(404, "not_found", "There is no such page.")
        method = "GET" if request.method == "HEAD" else request.method
        if method not in methods:
            allowed = ", ".join((*methods, "HEAD") if "GET" in methods else methods)
            raise RefusedError(405, "wrong_method", f"This page takes {allowed}.", ("Allow", allowed))
        if request.name in files.NAMES:
            visit.is_for_all = True
            return files.respond(request)
        if method == "POST":
            check_size(request)
            check_origin(request)
            return self._acted(request, visit, render)
        found = self._shown(request, visit)
        if request.name == "notice":
            visit.is_for_all = True
            return _published(request, found, is_by_name=self._notices.asked_for(request.asked("language")) is not None)
        if request.name == "receipt":
            return receipt_of(visit, found)
        situation = self._situation(visit, found, told=request.asked("done"))
        return self._shows(request, found, situation, render, 200 if situation.is_available else 503)

    def _acted(self, request: Request, visit: Visit, render: Callable[[View], str]) -> Response:
        name = request.name.removeprefix("api").strip("/")
        who = who_in(request) if name else ""
        given = None if name else given_in(request)
        found: Shown | None
        if given is None:
            self._limit(request, visit, _DEAR if name in {"erase", "export"} else 1, says_no=name == "withdraw")
            # It can be taken back also where nothing can be shown.
            named = named_in(request)
            found = self._shown_if_any(request, visit, named.language if named else None)
            found = found and found.under(regimes_of(visit))
            result = self._asked(name, visit, actions.proof_of_form(visit, named, found), who)
        else:
            taken = self._within_limits(request, visit, given)
            found = self._shown_if_any(request, visit, given.language)
            result = actions.save(visit, taken, found, self._kept)
            if taken is not given and result == "saved":
                result = "yes_failed"
        if result == actions.LATER:
            # The records tell on the next page what became of it.
            result = "withdrawn" if request.is_json else "erased"
        if result in actions.TOLD_LATER and not request.is_json and not self._owes(visit):
            language = self._notices.asked_for(request.asked("language"))
            fields = {"done": result} | ({} if language is None else {"language": language})
            return see_other(f"{request.mount}/?{urlencode(fields)}")
        try:
            if found is None:
                raise RefusedError(503, result, _UNSHOWN.get(result, _FAILED[True]))  # noqa: TRY301 - handled here only where it is done
            situation = self._situation(visit, found, result=result)
            return self._shows(request, found, situation, render, actions.STATUS[result])
        except Exception as error:
            if result not in actions.TOLD_LATER:
                raise
            # It is done, and must not be told otherwise.
            note_failure("the panel", error)
            return as_json(actions.STATUS[result], {"result": result})

    def _explained(
        self, refused: RefusedError, request: Request, visit: Visit, render: Callable[[View], str]
    ) -> Response | None:
        """The page with the reason on it, in the person's language; None where only programs meet it."""
        result = actions.REFUSALS.get(refused.code)
        if result is None or request.is_json:
            return None
        try:
            found = self._shown(request, visit)
            situation = self._situation(visit, found, result=result)
            response = self._shows(request, found, situation, render, refused.status)
        except Exception as error:  # noqa: BLE001 - it is refused all the same
            note_failure("the panel", error)
            return None
        return Response(response.status, (*response.headers, *refused.headers), response.body)

    def _shows(
        self, request: Request, found: Shown, situation: Situation, render: Callable[[View], str], status: int
    ) -> Response:
        view = self._view(request, found, situation)
        if not request.is_json:
            return as_html(status, render(view))
        return as_json(status, {**view.as_json(), "result": situation.result})

    def _view(self, request: Request, found: Shown, situation: Situation) -> View:
        return view_of(found.notice, situation, self.urls(request), now=now(), browser_purposes=self._browser_purposes)

    def _asked(self, name: str, visit: Visit, proof: Mapping[str, Any], who: str) -> str:
        if name == "withdraw":
            return actions.withdraw(visit, proof)
        privacy = settings_of(visit.client).privacy
        offered = self._offers_erasure if name == "erase" else self._offers_export
        if not offered or privacy is None:
            raise RefusedError(404, "not_offered", "This is not offered here.")
        kind = "deletion" if name == "erase" else "retrieval"
        try:
            if not actions.is_theirs(visit, who):
                return "changed"
            with self._turns.of((kind, visit.subject_id)) as has_come:
                return self._asked_vendor(kind, visit, proof) if has_come else actions.pass_by(kind, visit, proof)
        except ConsentPanelError as error:
            note_failure("a request's data subject", error)
            return "failed"

    def _asked_vendor(self, kind: str, visit: Visit, proof: Mapping[str, Any]) -> str:
        known = self._known(visit, ())
        if known is None:
            return "failed"
        if not known.is_known:
            raise RefusedError(409, "nobody", "Nothing was sent about you, so that there is nothing to ask for.")
        privacy = settings_of(visit.client).privacy
        asked = actions.is_asked(known, kind, lambda each: self._look_ups.of(privacy, [each])[0])
        if kind == "deletion":
            return actions.erase(visit, proof, self._owed, asked)
        return "exported" if asked else actions.export(visit, self._owed)

    def _owes(self, visit: Visit) -> bool:
        """Whether the person's record lacks a number, so that the next page, by another process, could not tell it."""
        try:
            return self._owed.is_to(visit.subject_id)
        except ConsentPanelError as error:
            note_failure("a request's data subject", error)
            return False

    def _known(self, visit: Visit, purposes: Sequence[str]) -> ConsentSummary | None:
        try:
            owed = self._owed.of(visit.subject_id)
            known = visit.summary(purposes)
        except ConsentPanelError as error:
            note_failure("the panel's look-up", error)
            return None
        return attrs.evolve(known, requests=(*known.requests, *owed)) if owed else known

    def _within_limits(self, request: Request, visit: Visit, given: Given) -> Given:
        """As much of an answer as is not too often: what is no of it in any case."""
        if given.has_yes or not given.has_no:
            try:
                self._limit(request, visit, 1)
            except RefusedError:
                if not given.has_no:
                    raise
            else:
                return given
        self._limit(request, visit, 1, says_no=True)
        return given.without_yes() if given.has_yes else given

    def _limit(self, request: Request, visit: Visit, cost: int, *, says_no: bool = False) -> None:
        try:
            subject = visit.subject_id
        except ConsentPanelError as error:
            note_failure("a request's data subject", error)
            subject = None
        self._limiter.check(subject, request.address, cost, says_no=says_no)

    def _shown(self, request: Request, visit: Visit, said: str | None = None) -> Shown:
        language = self._notices.language_for(
            said or request.asked("language"), request.language, request.header("accept-language")
        )
        return self._notices.of(language, visit.client, f"{request.mount}/")

    def _shown_if_any(self, request: Request, visit: Visit, said: str | None = None) -> Shown | None:
        try:
            return self._shown(request, visit, said)
        except ConfigurationError as error:
            note_failure("the panel", error)
            return None

    def _situation(
        self, visit: Visit, found: Shown, *, result: str | None = None, told: str | None = None, looks_up: bool = True
    ) -> Situation:
        settings = settings_of(visit.client)
        known, names = self._known(visit, found.purposes), others_of(visit, found.purposes)
        others = None if known is None else statuses_of(visit, names)
        if known is None or others is None:
            return Situation(
                statuses=dict.fromkeys(found.purposes, ConsentStatus.UNKNOWN),
                others=dict.fromkeys(names, ConsentStatus.UNKNOWN),
                has_gpc=visit.has_gpc,
                is_available=False,
                result=result,
                regimes=regimes_of(visit),
                who=_mark_of(visit),
            )
        privacy, keeps = settings.privacy, keeps_erasures(visit.client)
        return Situation(
            records=known.records,
            statuses=known.statuses,
            others=others,
            is_opt_out=is_opt_out_of(visit),
            refused_by_signal=known.refused_by_signal,
            has_gpc=known.has_gpc,
            ask_again=known.ask_again,
            ends=known.ends,
            changes=self._kept.changes_since(known.records, found.notice),
            requests=self._look_ups.of(privacy, known.requests) if looks_up else (),
            can_erase=self._offers_erasure and privacy is not None and known.is_known,
            can_export=self._offers_export and privacy is not None and known.is_known,
            keeps_erasures=keeps,
            held_minutes=actions.minutes_held(visit),
            result=result or actions.told(told, known, keeps=keeps),
            regimes=regimes_of(visit),
            who=_mark_of(visit),
            is_nobody=not known.is_known,
        )


def _mark_of(visit: Visit) -> str:
    try:
        return visit.mark()
    except ConsentPanelError as error:
        note_failure("a request's data subject", error)
        return ""


def _named(purposes: Sequence[str]) -> tuple[str, ...]:
    """Purposes that may stand in an attribute, one beside the other.

    Raises:
        ConfigurationError: They are none.
    """
    try:
        named = () if isinstance(purposes, str) else tuple(str(Purpose(each)) for each in purposes)
    except (InvalidRecordError, TypeError):
        named = ()
    if not named or any(" " in each for each in named):
        raise ConfigurationError('browser_purposes must be purposes without spaces, such as ("analytics",)')
    return named


def _published(request: Request, found: Shown, *, is_by_name: bool) -> Response:
    """The notice, which is the same for all who read its language."""
    # What a site takes a language from, such as an account or a cookie of its own, is not known here.
    is_of_site = request.language is not None and not is_by_name
    page = found.notice.to_html()
    digests = (b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in _STYLES.findall(page))
    headers = (
        ("Cache-Control", f"{'private' if is_of_site else 'public'}, max-age=300"),
        ("Vary", "Accept-Language, Cookie" if is_of_site else "Accept-Language"),
        ("Content-Language", found.notice.language),
    )
    style = " ".join(f"'sha256-{each}'" for each in digests)
    return answer(200, "text/html; charset=utf-8", page, *headers, style=style)
