// Spares the page a reload, and has the vendor's library in the browser do what the person said. Without this file, or when anything
// here fails, the forms are sent as any form is.
(() => {
  "use strict";

  // The library has one switch, for events and profiles alike: it sends only while each of these is allowed.
  const script = document.currentScript;
  const needed = ((script && script.dataset.consentpanelPurposes) || "").match(/\S+/g) || ["analytics", "profiles"];
  const followed = new Set();
  let latest = null;

  const stateOf = (page) => {
    try {
      return JSON.parse(page.getElementById("consent-state").textContent);
    } catch {
      return null;
    }
  };

  // True for a yes, false where nothing may be sent, as where nobody knows; null for what is sent unless somebody objects.
  const verdict = () => {
    const state = latest || stateOf(document) || {};
    if (needed.every((each) => state[each] === "granted")) return true;
    const sent = state[" sent"] || [];
    return needed.every((each) => state[each] === "granted" || sent.includes(each)) ? null : false;
  };

  // Nobody's profile is deleted by a no: there is a form for that. A yes is no event of its own.
  const tell = (library) => {
    try {
      const said = verdict();
      if (said === false) library.opt_out_tracking({ delete_user: false });
      else if (said && library.has_opted_in_tracking() !== true) library.opt_in_tracking({ track() {} });
    } catch {
      // There is none, or it has not begun.
    }
  };

  const start = (begin) => {
    if (verdict() === false) return;
    followed.delete(begin);
    try {
      follow(begin());
    } catch (error) {
      reportError(error);
    }
  };

  const heed = (each) => (typeof each === "function" ? start(each) : tell(each));

  // A library, once it has begun; or a function that begins one and returns it, which is called when something may be sent.
  const follow = (each) => {
    if (!each) return;
    followed.add(each);
    heed(each);
  };

  const heedAll = () => {
    tell(window.mixpanel);
    for (const each of [...followed]) heed(each);
  };

  const change = (state) => {
    latest = state || {};
    heedAll();
    document.dispatchEvent(new CustomEvent("consentpanel:change", { detail: latest }));
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
      // The way to the page stays, where the answer can be changed.
      const more = banner.querySelector("[data-consentpanel-more]");
      banner.replaceChildren(document.importNode(result, true), ...(more ? [more] : []));
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

  // Where the page tells what the vendor was asked for, whatever became of the answer: that is not asked for twice. Null for any other form.
  const pageOfRequest = (form) => {
    const url = new URL(form.getAttribute("action"), window.location.href);
    const page = url.pathname.replace(/\/(erase|export)$/, "/");
    return page === url.pathname ? null : page + url.search;
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
      const [old, fresh] = [document, page].map((each) => each.getElementById("consent-state"));
      if (old && fresh) old.textContent = fresh.textContent;
      change(stateOf(page));
    } catch {
      form.removeAttribute("aria-busy");
      const asked = pageOfRequest(form);
      // What the server has taken, and leads on from, is not sent to it twice.
      if (answer && answer.ok && answer.redirected) window.location.assign(answer.url);
      else if (asked) window.location.assign(asked);
      else sendAsAnyForm(form, button);
    }
  });

  window.consentpanel = Object.freeze({ follow, change });
  // The library may be there already, or be loaded after this file.
  heedAll();
  if (document.readyState !== "complete") window.addEventListener("load", heedAll);
})();
