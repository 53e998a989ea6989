// The audit trail: who did what, from where, and how it ended. Newest first, page by page.

import {get, query} from "/ui/api.js";
import {field, form, h, pager, submit, table, when} from "/ui/dom.js";

export async function auditPage(root, signal) {
  const list = h("div"), pages = pager((cursor) => refresh(cursor));
  let filter = {};
  const refresh = async (cursor = null) => {
    const page = await get(`/audit?${query({...filter, limit: 50, cursor})}`, signal);
    const rows = page.entries.map((entry) => [
      when(entry.at), [entry.key_name ?? "nobody's key", entry.role ? h("span", {class: "faint"}, ` ${entry.role}`) : null],
      h("span", {class: "nowrap"}, entry.address ?? "–"), h("code", {}, entry.action),
      entry.instance_key ? h("a", {href: `#/instance/${entry.instance_key}`}, entry.instance_key.slice(0, 8)) : null,
      entry.target ? h("code", {}, entry.target) : null,
      h("span", {class: entry.status && entry.status < 400 ? "good" : "bad"}, entry.status ?? "", " ", entry.code ?? "")]);
    list.replaceChildren(rows.length
      ? table(["When", "Who", "From", "What", "Instance", "On", "Result"], rows, "Audit trail")
      : h("p", {}, "Nothing is recorded."), pages.shown(page.next_cursor));
  };
  const choose = async (values) => { filter = values; pages.first(); await refresh(); };
  root.append(h("h1", {}, "Audit trail"),
    form({}, choose, h("div", {class: "row"},
      field("Instance key", {name: "instance_key", pattern: "[0-9a-f]{32}"}),
      field("Id of a key", {name: "key_id", placeholder: "key_…"}), submit("Show"))),
    h("section", {}, list));
  await refresh();
}
