// API keys: who may do what with which instances until when. A new one is shown once; one that is revoked is refused at once.

import {call, get, me, post, query} from "/ui/api.js";
import {confirmed, field, form, h, button, notice, pager, pill, submit, table, when} from "/ui/dom.js";

const ROLES = [["viewer", "viewer: reads"], ["sender", "sender: reads and sends"],
  ["operator", "operator: manages instances and endpoints too"], ["admin", "admin: makes keys too"]];

export async function keysPage(root, signal) {
  const list = h("div"), made = h("div"), pages = pager((cursor) => refresh(cursor));
  const chosen = h("select", {name: "instances", multiple: true, size: 4});
  const names = new Map();
  const refresh = async (cursor = null) => {
    const page = await get(`/keys?${query({limit: 100, cursor})}`, signal);
    const rows = page.keys.map((key) => [
      [h("strong", {}, key.name), key.key_id === me.id ? " (this one)" : null, h("br"), h("code", {class: "faint"}, `${key.hint ?? ""}…`)],
      key.role, key.instances ? key.instances.map((one) => names.get(one) ?? one.slice(0, 8)).join(", ") : "all",
      key.ips ? key.ips.join(", ") : "anywhere",
      key.expires_at ? (Date.parse(key.expires_at) < Date.now() ? pill("expired") : when(key.expires_at)) : "never",
      when(key.created_at), button("Revoke", () => revoke(key), "danger")]);
    list.replaceChildren(table(["Key", "Role", "Instances", "From", "Expires", "Made", ""], rows, "API keys"), pages.shown(page.next_cursor));
  };
  const revoke = async (key) => {
    const own = key.key_id === me.id ? " It is the one you are signed in with." : "";
    if (!await confirmed(`Revoke “${key.name}”? Whoever uses it is refused at once, and its open streams end.${own}`, "Revoke")) return;
    await call("DELETE", `/keys/${key.key_id}`);
    notice(`“${key.name}” is revoked.`);
    await refresh();
  };
  const create = async (values, sheet) => {
    const instances = [...chosen.selectedOptions].map((option) => option.value);
    const ips = values.ips.split(/[\s,]+/).filter(Boolean);
    const key = await post("/keys", {name: values.name, role: values.role,
      ...(instances.length ? {instances} : {}), ...(ips.length ? {ips} : {}),
      ...(values.expires_at ? {expires_at: new Date(values.expires_at).toISOString()} : {})});
    sheet.reset();
    made.replaceChildren(h("section", {role: "alert"},
      h("p", {}, `The key “${key.name}”, shown this once:`), h("p", {class: "secret"}, key.secret)));
    await refresh();
  };
  root.append(h("h1", {}, "API keys"), made, h("section", {}, list),
    form({class: "card"}, create, h("h2", {}, "New key"), h("div", {class: "row"},
      field("What it is for", {name: "name", required: true, maxlength: 200}),
      field("Role", {name: "role", element: "select"}, ROLES.map(([value, text]) => h("option", {value}, text))),
      field("Expires, empty for never", {name: "expires_at", type: "datetime-local"}),
      field("Only from these addresses", {name: "ips", placeholder: "10.0.0.0/8"})),
    h("label", {}, "Only these instances, none chosen for all", chosen),
    h("p", {}, submit("Make key"))));
  const {instances} = await get("/instances?limit=1000", signal);
  for (const one of instances) {
    names.set(one.instance_key, one.name || one.phone_number || one.instance_key.slice(0, 8));
    chosen.append(h("option", {value: one.instance_key}, names.get(one.instance_key)));
  }
  await refresh();
}
