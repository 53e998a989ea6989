// Linking a phone: a QR code that is always the one that counts, or a code to type.

import {ApiError, get, post, query} from "/ui/api.js";
import {button, complain, field, form, h, submit} from "/ui/dom.js";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The panel for an unpaired instance. `changed` is called when something happened that its page should show. */
export function pairing(key, signal, changed) {
  const shown = h("div", {"aria-live": "polite"});
  let round = 0;

  async function scan() {
    const mine = ++round;
    await post("/instance/connect", {instance_key: key, wait_s: 0});
    await changed();
    while (mine === round && !signal.aborted) {
      let qr;
      try {
        qr = await get(`/instance/${key}/qr?${query({format: "json", wait_s: 20})}`, signal);
      } catch (error) {
        if (error instanceof ApiError && error.status === 408) {
          shown.replaceChildren(h("p", {}, "No code came. Nobody scanned the last one in time, or WhatsApp can't be reached."));
          break;
        }
        throw error;
      }
      if (qr.status === "connected") break;
      shown.replaceChildren(
        h("img", {class: "qr", alt: "QR code to scan with the phone", src: `data:image/png;base64,${qr.png_base64}`}),
        h("p", {class: "faint"}, `Code ${qr.attempt}. On the phone: Linked devices, Link a device, scan.`));
      for (const ends = Date.parse(qr.expires_at); Date.now() < ends && mine === round && !signal.aborted;) {
        await pause(1000);
        const {state} = await get(`/instance/${key}/status`, signal);
        if (state !== "awaiting_pairing") { await changed(); return; }
      }
    }
    await changed();
  }

  async function type({phone}) {
    ++round;
    const made = await post(`/instance/${key}/pair-code`, {phone});
    shown.replaceChildren(h("p", {class: "code"}, made.pairing_code),
      h("p", {class: "faint"}, "On the phone: Linked devices, Link a device, Link with phone number instead."));
    await changed();
  }

  const start = () => { scan().catch((error) => { if (!signal.aborted) complain(error); }); };
  return h("section", {}, h("h2", {}, "Link a phone"),
    shown,
    h("p", {}, button("Show QR code", start)),
    form({}, type, h("div", {class: "row"},
      field("Or by a code, for the number", {name: "phone", required: true, inputmode: "tel"}), submit("Get code"))));
}
