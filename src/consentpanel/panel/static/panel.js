// Spares the page a reload. Without this file, or when anything here fails, the forms are sent as any form is.
(() => {
  "use strict";

  const stateOf = (page) => {
    const element = page.getElementById("consent-state");
    return element ? JSON.parse(element.textContent) : null;
  };

  // The vendor's library in the browser does what the person said. Nobody's profile is deleted by a no: there is a form for that.
  const follow = (state) => {
    const library = window.mixpanel;
    const said = state && state.purposes && state.purposes.analytics;
    if (!said || !library || typeof library.opt_out_tracking !== "function") return;
    const has = (name) => typeof library[name] === "function" && library[name]() === true;
    if (!said.sent) {
      if (!has("has_opted_out_tracking")) library.opt_out_tracking({ delete_user: false });
    } else if (said.answer === true || has("has_opted_out_tracking")) {
      if (!has("has_opted_in_tracking")) library.opt_in_tracking();
    }
  };

  const announce = (state) => {
    follow(state);
    document.dispatchEvent(new CustomEvent("consentpanel:change", { detail: state }));
  };

  const focusOn = (element) => {
    element.setAttribute("tabindex", "-1");
    element.focus();
  };

  // The page's main part, or the banner, becomes what the server has answered.
  const show = (form, page) => {
    const fresh = page.querySelector('[data-consentpanel="main"]');
    if (!fresh) throw new Error("no panel in the answer");
    const result = fresh.querySelector("#consentpanel-result");
    if (form.dataset.consentpanel === "banner") {
      const banner = form.closest(".consentpanel");
      if (!result || !banner) throw new Error("no result in the answer");
      banner.replaceChildren(document.importNode(result, true));
      focusOn(banner.firstElementChild);
      return;
    }
    const main = document.querySelector('[data-consentpanel="main"]');
    if (!main) throw new Error("no panel on this page");
    const next = document.importNode(fresh, true);
    main.replaceWith(next);
    document.title = page.title || document.title;
    // Focus goes where it goes when the page is loaded anew, which is how the result is announced.
    focusOn(next.querySelector("#consentpanel-result") || next.querySelector("h1"));
    const old = document.getElementById("consent-state");
    const state = page.getElementById("consent-state");
    if (old && state) old.textContent = state.textContent;
  };

  const send = async (form, button) => {
    const fields = new URLSearchParams(new FormData(form));
    if (button && button.name) fields.append(button.name, button.value);
    const answer = await fetch(form.getAttribute("action"), {
      method: "POST",
      body: fields,
      credentials: "same-origin",
      headers: { Accept: "text/html" },
    });
    return answer;
  };

  const pageIn = async (answer) => {
    const kind = answer.headers.get("Content-Type") || "";
    if (!kind.startsWith("text/html")) throw new Error("not a page");
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  };

  // Sent again as it was, by the browser itself.
  const sendAsAnyForm = (form, button) => {
    form.dataset.consentpanelFailed = "yes";
    if (button) form.requestSubmit(button);
    else form.requestSubmit();
  };

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || !form.dataset.consentpanel || form.dataset.consentpanelFailed) return;
    if (event.defaultPrevented) return;
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    form.setAttribute("aria-busy", "true");
    const button = event.submitter;
    let answer = null;
    try {
      answer = await send(form, button);
      const page = await pageIn(answer);
      show(form, page);
      announce(stateOf(page));
    } catch {
      form.removeAttribute("aria-busy");
      // What the server has taken, and leads on from, is not sent to it twice.
      if (answer && answer.ok && answer.redirected) window.location.assign(answer.url);
      else sendAsAnyForm(form, button);
    }
  });

  // The library may be loaded after this file.
  const begin = () => follow(stateOf(document));
  if (document.readyState === "complete") begin();
  else window.addEventListener("load", begin);
})();
