// The dashboard's pages by their address behind the #, and signing in.

import {ApiError, identify, may, me, session} from "/ui/api.js";
import {auditPage} from "/ui/audit.js";
import {complain, field, form, h, submit} from "/ui/dom.js";
import {eventsPage} from "/ui/events.js";
import {instancePage, instancesPage} from "/ui/instances.js";
import {keysPage} from "/ui/keys.js";
import {webhookPage, webhooksPage} from "/ui/webhooks.js";

const PAGES = [
  [/^#\/instances$/, instancesPage],
  [/^#\/instance\/([0-9a-f]{32})$/, instancePage],
  [/^#\/events$/, eventsPage],
  [/^#\/webhooks$/, webhooksPage],
  [/^#\/webhook\/(whk_\w+)$/, webhookPage],
  [/^#\/keys$/, keysPage],
  [/^#\/audit$/, auditPage],
];
const main = document.getElementById("main");
let leaving = new AbortController();
let signedIn = false;

/** Show the page that the address names. A page gets a signal that aborts what it does when it is left. */
async function show() {
  leaving.abort();
  leaving = new AbortController();
  const {signal} = leaving;
  signedIn = Boolean(session.key);
  if (signedIn && me.role === null) await identify().catch((error) => { if (error.status !== 401) throw error; });
  if (signal.aborted) return;
  document.getElementById("top").hidden = !signedIn;
  if (!signedIn) { signIn(); return; }
  document.getElementById("who").textContent = me.name ? `${me.name}, ${me.role}` : "";
  for (const link of document.querySelectorAll("nav [data-needs]")) link.hidden = !may(link.dataset.needs);
  const hash = location.hash || "#/instances";
  const [pattern, page] = PAGES.find(([pattern]) => pattern.test(hash)) ?? PAGES[0];
  for (const link of document.querySelectorAll("nav a")) {
    const current = hash.startsWith(link.getAttribute("href").replace(/s$/, ""));
    current ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  const root = h("div");
  main.replaceChildren(root);
  try {
    await page(root, signal, ...(pattern.exec(hash) ?? []).slice(1));
  } catch (error) {
    if (signal.aborted) return;
    root.append(h("section", {}, h("h1", {}, "This can't be shown"), h("p", {role: "alert"}, error.message)));
  }
  // who types already keeps the field
  if (!signal.aborted && !main.contains(document.activeElement)) main.focus({preventScroll: true});
}

function signIn() {
  const wrong = h("p", {role: "alert", class: "bad", hidden: true});
  const entered = async ({key}) => {
    session.key = key.trim();
    try {
      await identify();
      await show();
    } catch (error) {
      session.key = null;
      if (!(error instanceof ApiError)) throw error;
      wrong.textContent = error.message;
      wrong.hidden = false;
    }
  };
  main.replaceChildren(form({class: "card"}, entered,
    h("h1", {}, "Sign in"),
    h("p", {class: "faint"}, "With an API key. It stays in this browser tab and is forgotten when the tab is closed."),
    field("API key", {name: "key", type: "password", required: true, autocomplete: "current-password", autofocus: true}),
    wrong, h("p", {}, submit("Sign in"))));
  main.querySelector("input").focus();
}

const leave = () => { session.key = null; me.role = null; };

document.getElementById("sign-out").addEventListener("click", () => { leave(); show().catch(complain); });
window.addEventListener("signed-out", () => { if (signedIn) { leave(); show().catch(complain); } });
window.addEventListener("hashchange", () => show().catch(complain));
show().catch(complain);
