// Files that came in: their links, and a preview of pictures. The links are signed, so that they open without the key.

import {get, query} from "/ui/api.js";
import {h, table, when} from "/ui/dom.js";

const LOOKED_AT = 2000;
const SHOWN = 20;
const isPicture = (type) => /^image\/(?!svg)/.test(type ?? "");

/** What an event says of a file that can be opened: a picture, or a link; nothing when there is none. */
export function fileOf(event) {
  const data = event.data ?? {}, media = data.media ?? {};
  if (media.status !== "available" || !String(data.media_url).startsWith("/media/")) return null;
  const name = data.filename || media.mime_type || "file";
  const label = `${isPicture(media.mime_type) ? "Picture" : name} from ${data.from ?? "somebody"}`;
  return h("a", {href: data.media_url, target: "_blank", rel: "noreferrer", "aria-label": label},
    isPicture(media.mime_type) ? h("img", {class: "preview", src: data.media_url, alt: label, loading: "lazy"}) : name);
}

/** The latest files of an instance, among the bridge's latest events. */
export async function latestFiles(key, signal) {
  const {next_after: head} = await get("/events?after=latest&limit=1", signal);
  const asked = {instance_key: key, types: "media.updated", after: Math.max(0, head - LOOKED_AT), limit: 1000};
  const {events} = await get(`/events?${query(asked)}`, signal);
  const files = events.filter((event) => fileOf(event)).slice(-SHOWN).reverse();
  const rows = files.map((event) => [fileOf(event), event.data.from ?? event.data.sender_id, event.data.media.mime_type,
    `${Math.ceil((event.data.media.size_bytes ?? 0) / 1024)} kB`, when(event.timestamp ?? event.received_at)]);
  return rows.length ? table(["File", "From", "Type", "Size", "When"], rows, "Files") : h("p", {}, "None lately.");
}
