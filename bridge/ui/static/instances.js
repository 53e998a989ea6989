// The list of instances, and one of them: its state, its pairing, a test message, its events.

import {call, get, may, me, post, query} from "/ui/api.js";
import {button, complain, confirmed, facts, field, form, h, notice, pager, pill, submit, table, when} from "/ui/dom.js";
import {liveEvents} from "/ui/events.js";
import {latestFiles} from "/ui/files.js";
import {pairing} from "/ui/pairing.js";

const REFRESH_MS = 3000;
const AWAY = new Set(["created", "conflict", "restricted", "paused", "failed"]);
const title = (instance) => instance.name || instance.phone_number || instance.instance_key;

/** Do `work` now and every few seconds until `signal` aborts; nothing while the tab is hidden. */
async function repeat(signal, work) {
  await work();
  const timer = setInterval(() => { if (!document.hidden) work().catch((error) => signal.aborted || complain(error)); },
    REFRESH_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
}

export async function instancesPage(root, signal) {
  const list = h("div"), pages = pager(async (cursor) => { at = cursor; await refresh(); });
  let at = null;
  const create = async (values, made) => {
    const instance = await post("/instance/create", {name: values.name || null});
    made.reset();
    location.hash = `#/instance/${instance.instance_key}`;
  };
  const refresh = async () => {
    const page = await get(`/instances?${query({limit: 100, cursor: at})}`, signal);
    if (list.contains(document.activeElement) && document.activeElement !== document.body) return;
    const rows = page.instances.map((instance) => [
      h("a", {href: `#/instance/${instance.instance_key}`}, title(instance)),
      instance.phone_number || "not paired", pill(instance.state), instance.reason, when(instance.since)]);
    list.replaceChildren(
      rows.length ? table(["Instance", "Number", "State", "Reason", "Since"], rows, "Instances")
        : h("p", {}, "There is none yet. Create one, then pair it with a phone."),
      pages.shown(page.next_cursor));
  };
  root.append(h("h1", {}, "Instances"), h("section", {}, list));
  // a key that is limited to some instances makes no others
  if (may("manage") && me.instances === null) root.append(
    form({class: "card"}, create, h("h2", {}, "New instance"), h("div", {class: "row"},
      field("Name", {name: "name", maxlength: 200, placeholder: "e.g. Front desk"}), submit("Create"))));
  await repeat(signal, refresh);
}

export async function instancePage(root, signal, key) {
  const head = h("h1", {}, "…"), state = h("div"), pair = h("div");
  const sheet = {shown: null};
  const act = (text, work, kind) => button(text, async () => { await work(); await refresh(); }, kind);
  const remove = async () => {
    const question = "Delete this instance? It is logged out of WhatsApp, and its session and media are removed.";
    if (!await confirmed(question, "Delete")) return;
    await call("DELETE", `/instance/${key}`);
    location.hash = "#/instances";
  };
  const connect = () => post("/instance/connect", {instance_key: key, wait_s: 0});
  const logout = async () => {
    if (await confirmed("Log out? The number must be paired again afterwards.", "Log out")) {
      await post(`/instance/${key}/logout`);
    }
  };
  const refresh = async () => {
    const instance = await get(`/instance/${key}/status`, signal);
    const word = JSON.stringify([instance.state, instance.reason, instance.needs, instance.phone_number]);
    if (word === sheet.shown) return;
    sheet.shown = word;
    head.replaceChildren(instance.phone_number ? `+${instance.phone_number} ` : "New instance ", pill(instance.state));
    state.replaceChildren(
      facts({Reason: instance.reason, Since: when(instance.since), "Next try": when(instance.next_retry_at),
        "Last event": when(instance.last_event_at), Needs: instance.needs === "none" ? null : instance.needs, Key: key}),
      !may("manage") ? null : h("div", {class: "row"},
        instance.logged_in && AWAY.has(instance.state) ? act("Connect", connect) : null,
        instance.logged_in && !AWAY.has(instance.state) ? act("Pause", () => post(`/instance/${key}/disconnect`), "quiet") : null,
        act("Restart", () => post(`/instance/${key}/restart`), "quiet"),
        instance.logged_in ? act("Log out", logout, "danger") : null,
        button("Delete", remove, "danger")));
    if (instance.logged_in) pair.replaceChildren();
    else if (may("manage") && !pair.firstChild) pair.replaceChildren(pairing(key, signal, refresh));
  };
  root.append(head, h("section", {}, state), h("div", {class: "columns"}, pair, may("send") ? testMessage(key) : null));
  await repeat(signal, refresh);
  const files = h("div", {}, await latestFiles(key, signal));
  const renew = async () => files.replaceChildren(await latestFiles(key, signal));
  root.append(h("section", {}, h("h2", {}, "Files that came in"), files, button("Look again", renew, "quiet")));
  root.append(h("section", {}, h("h2", {}, "Events of this instance"), liveEvents(signal, {instance_key: key})));
}

function testMessage(key) {
  const send = async (values, made) => {
    const sent = await post("/message/send", {instance_key: key, ...values});
    notice(`${sent.status}: ${sent.message_id}`);
    made.elements.message.value = "";
  };
  return form({class: "card"}, send, h("h2", {}, "Send a message"),
    field("To", {name: "to", required: true, inputmode: "tel", placeholder: "+49 151 00000002"}),
    field("Text", {name: "message", required: true, element: "textarea", rows: 2}),
    h("p", {}, submit("Send")));
}
