// What happens, as it happens: the stream of events, newest first.

import {follow, query} from "/ui/api.js";
import {complain, h} from "/ui/dom.js";
import {fileOf} from "/ui/files.js";

const KEPT = 200;

export async function eventsPage(root, signal) {
  const stream = h("div");
  let inner = new AbortController();
  signal.addEventListener("abort", () => inner.abort());
  const restart = (types) => {
    inner.abort();
    inner = new AbortController();
    stream.replaceChildren(liveEvents(inner.signal, {types}));
  };
  const filter = h("select", {name: "types", onchange: () => restart(filter.value)},
    [["", "all"], ["message.received", "messages in"], ["message.status,message.sent", "messages out"], ["media.updated", "files"],
      ["connection.update", "connections"]].map(([value, text]) => h("option", {value}, text)));
  root.append(h("h1", {}, "Events"), h("section", {}, h("div", {class: "row"}, h("label", {}, "Show", filter)), stream));
  restart("");
}

/** A list that fills itself until `signal` aborts. */
export function liveEvents(signal, filter) {
  const state = h("span", {class: "faint", role: "status"}, "connecting …");
  const list = h("div", {role: "log", "aria-label": "Events"});
  const onEvent = ({data}) => {
    const event = JSON.parse(data);
    list.prepend(shownEvent(event));
    while (list.children.length > KEPT) list.lastChild.remove();
  };
  const onState = (word) => { state.textContent = word === "live" ? "live" : "connection lost, trying again …"; };
  follow(`/events/stream?${query({after: "latest", ...filter})}`, {signal, onEvent, onState})
    .catch((error) => { if (!signal.aborted) { state.textContent = error.message; complain(error); } });
  return h("div", {}, h("p", {}, state), list);
}

function shownEvent(event) {
  const data = event.data || {};
  const about = data.text || data.state || data.status || "";
  const who = data.from || data.to || data.phone_number || "";
  return h("div", {}, h("details", {}, h("summary", {},
    h("span", {class: "faint"}, new Date(event.timestamp || event.received_at).toLocaleTimeString(), " "),
    h("strong", {}, event.type), " ", who, " ", typeof about === "string" ? about.slice(0, 120) : ""),
  h("pre", {tabindex: 0}, JSON.stringify(event, null, 2))), fileOf(event));
}

