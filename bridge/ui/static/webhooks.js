// Where events are delivered: the endpoints with what waits for them, and one endpoint's deliveries, retry and replay.

import {call, get, may, me, post, query} from "/ui/api.js";
import {button, complain, confirmed, facts, field, form, h, notice, pill, submit, table, when} from "/ui/dom.js";

const stateOf = (hook) => [pill(hook.state), hook.held ? h("span", {class: "bad"}, " failing, probed") : null];

/** Shown once: whoever leaves the page has to rotate. */
function secretOnce(hook) {
  return hook.secret ? h("section", {role: "alert"}, h("p", {}, "The secret, shown this once:"),
    h("p", {class: "secret"}, hook.secret)) : null;
}

export async function webhooksPage(root, signal) {
  const list = h("div"), made = h("div");
  const refresh = async () => {
    const {webhooks} = await get("/webhooks", signal);
    const rows = webhooks.map((hook) => [h("a", {href: `#/webhook/${hook.id}`}, hook.url), stateOf(hook),
      hook.instance_key === "*" ? "all" : hook.instance_key.slice(0, 8), hook.lag_events,
      when(hook.oldest_undelivered_at), hook.last_error]);
    list.replaceChildren(rows.length
      ? table(["URL", "State", "Instance", "Waiting", "Oldest", "Last error"], rows, "Webhooks")
      : h("p", {}, "No endpoint yet: events are kept, and go nowhere."));
  };
  const create = async (values, sheet) => {
    const events = values.events.split(/[\s,]+/).filter(Boolean);
    const hook = await post("/webhooks", {url: values.url, instance_key: values.instance_key || me.instances?.[0] || "*",
      ...(events.length ? {events} : {}), ...(values.secret ? {secret: values.secret} : {})});
    sheet.reset();
    made.replaceChildren(secretOnce(hook) ?? "");
    await refresh();
  };
  root.append(h("h1", {}, "Webhooks"), made, h("section", {}, list));
  if (may("manage")) root.append(
    form({class: "card"}, create, h("h2", {}, "New endpoint"), h("div", {class: "row"},
      field("URL", {name: "url", type: "url", required: true, placeholder: "https://example.com/hook"}),
      field("Instance key, empty for all", {name: "instance_key", pattern: "[0-9a-f]{32}"}),
      field("Events, empty for all", {name: "events", placeholder: "message.received"}),
      field("Secret, empty for a new one", {name: "secret", type: "password", autocomplete: "off"}), submit("Add"))));
  await refresh();
}

export async function webhookPage(root, signal, id) {
  const sheet = h("div"), once = h("div"), list = h("div");
  let state = "";
  const path = `/webhooks/${id}`;
  const reload = async () => { show(await get(path, signal)); await deliveries(); };
  const act = (text, work, kind = "quiet") => button(text, async () => { await work(); await reload(); }, kind);
  const rotate = async () => {
    if (await confirmed("Make a new secret? The old one signs beside it for 24 hours.", "Rotate")) {
      once.replaceChildren(secretOnce(await post(`${path}/rotate-secret`)) ?? "");
    }
  };
  const test = async () => {
    const result = await post(`${path}/test`);
    notice(result.delivered ? `Delivered in ${result.duration_ms} ms` : `Failed: ${result.error}`);
  };
  const remove = async () => {
    if (!await confirmed("Remove this endpoint, with what was still to be delivered to it?", "Remove")) return;
    await call("DELETE", path);
    location.hash = "#/webhooks";
  };
  const show = (hook) => sheet.replaceChildren(
    facts({URL: hook.url, State: h("span", {}, stateOf(hook)), Reason: hook.reason,
      Instance: hook.instance_key === "*" ? "all" : hook.instance_key, Events: hook.events.filter((name) => name !== "*").join(", ") || "all",
      Order: hook.ordering, Waiting: String(hook.lag_events), Dead: String(hook.dead_events),
      Oldest: when(hook.oldest_undelivered_at), "Last error": hook.last_error, Secret: hook.secret_hint}),
    !may("manage") ? "" : h("div", {class: "row"},
      hook.state === "active" ? act("Pause", () => post(`${path}/pause`)) : act("Resume", () => post(`${path}/resume`), null),
      act("Test", test), button("Rotate secret", rotate, "quiet"), button("Remove", remove, "danger")));
  const deliveries = async () => {
    const {items} = await get(`${path}/deliveries?${query({state, limit: 50})}`, signal);
    const rows = items.map((item) => [
      h("code", {}, item.event_id), pill(item.state), attempts(item), item.last_error ?? item.last_status,
      when(item.next_at ?? item.finished_at),
      item.state === "delivered" || !may("manage") ? null : act("Retry", () => post(`/deliveries/${item.id}/retry`))]);
    list.replaceChildren(rows.length ? table(["Event", "State", "Attempts", "Last answer", "When", ""], rows, "Deliveries")
      : h("p", {}, "None."));
  };
  const choose = h("select", {onchange: () => { state = choose.value; deliveries().catch(complain); }},
    ["", "failed", "pending", "delivered", "dead"].map((name) => h("option", {value: name}, name || "all")));
  root.append(h("h1", {}, "Endpoint"), once, h("section", {}, sheet),
    h("section", {}, h("h2", {}, "Deliveries"),
      h("div", {class: "row"}, h("label", {}, "Show", choose), act("Refresh", async () => {})), list),
    may("manage") ? replay(path, reload) : "");
  await reload();
}

/** How often it was tried; the attempts themselves when asked. */
function attempts(item) {
  const count = String(item.attempts);
  if (!item.history?.length) return count;
  return h("details", {}, h("summary", {}, count), h("ul", {}, item.history.map((one) =>
    h("li", {}, when(one.at), ` ${one.status ?? "no answer"}, ${one.duration_ms} ms `, one.error ?? one.answer ?? ""))));
}

/** Start a replay and show how far it is, with a way to stop it. */
function replay(path, reload) {
  const shown = h("p", {role: "status"});
  const follow = async (id) => {
    for (;;) {
      const now = await get(`/replays/${id}`);
      const stop = button("Stop", () => call("DELETE", `/replays/${id}`), "quiet");
      shown.replaceChildren(`Replay ${now.state}: ${now.delivered} of ${now.count} delivered, ${now.dead} dead. `,
        now.state === "running" ? stop : "");
      if (now.state !== "running" || !shown.isConnected) return;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  };
  const send = async (values) => {
    const body = values.what === "dead" ? {dead: true}
      : {from_time: new Date(values.from).toISOString(), to_time: new Date(values.to || Date.now()).toISOString()};
    const started = await post(`${path}/replay`, body);
    follow(started.id).then(reload).catch(complain);
  };
  const what = h("select", {name: "what", onchange: () => {
    for (const input of times.querySelectorAll("input")) input.disabled = what.value === "dead";
  }}, h("option", {value: "dead"}, "all that is dead"), h("option", {value: "time"}, "everything between"));
  const times = h("div", {class: "row"},
    field("From", {name: "from", type: "datetime-local", required: true, disabled: true}),
    field("To", {name: "to", type: "datetime-local", disabled: true}), submit("Replay"));
  return form({class: "card"}, send, h("h2", {}, "Deliver again"),
    h("p", {class: "faint"}, "Under the same ids: a receiver that stored an event already can tell."),
    h("label", {}, "What", what), times, shown);
}
