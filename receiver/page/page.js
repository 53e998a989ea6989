// Follows /events/stream and shows what comes. Text goes into text nodes only: what is in an event is somebody else's.
const KEPT = 300; // events in the page; older ones are at GET /events
const BEGIN_WITH = 50;
const COME_BACK_MS = 2000;
const HANDLERS_EVERY_MS = 5000;

const at = (id) => document.getElementById(id);
const list = at("events"), form = at("filter"), pauseButton = at("pause");
let key = sessionStorage.getItem("receiver-key") ?? "";
let following = null; // the AbortController of the stream
let lastId = null;
let held = []; // what came while paused
let paused = false;
const types = new Set();

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function say(text, className = "") {
  at("state").textContent = text;
  at("state").className = className;
}

function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  return fetch(path, { ...options, headers, cache: "no-store" });
}

function query() {
  const wanted = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value.trim()) wanted.set(name, value.trim());
  return wanted;
}

// --- events -------------------------------------------------------------------------------------------------------

function summaryOf(event) {
  const summary = element("summary");
  summary.append(element("span", event.type ?? "webhook", "type"));
  summary.append(element("span", event.chat ?? event.instance ?? "", "chat"));
  const time = element("time", new Date(event.received_at).toLocaleTimeString());
  time.dateTime = event.received_at;
  summary.append(time);
  const text = event.body?.data?.text ?? event.body?.data?.caption;
  if (typeof text === "string" && text) summary.append(element("span", text, "text"));
  return summary;
}

function show(event) {
  const item = element("li"), details = element("details");
  details.dataset.cursor = event.cursor;
  details.append(summaryOf(event));
  details.addEventListener("toggle", () => {
    if (details.open && !details.querySelector("pre"))
      details.append(element("pre", JSON.stringify(event, null, 2)));
  });
  item.append(details);
  list.prepend(item);
  while (list.children.length > KEPT) list.lastElementChild.remove();
  at("empty").hidden = true;
  if (event.type && !types.has(event.type)) {
    types.add(event.type);
    const option = element("option");
    option.value = event.type;
    at("types").append(option);
  }
}

function take(event) {
  if (!paused) return show(event);
  held.push(event);
  if (held.length > KEPT) held.shift();
  pauseButton.textContent = `Go on (${held.length} new)`;
}

// --- the stream: not EventSource, which can send no key but in the address --------------------------------------------

function parse(block) {
  let id = null, data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("id: ")) id = line.slice(4);
    else if (line.startsWith("data: ")) data.push(line.slice(6));
  }
  if (!data.length) return;
  lastId = id;
  take(JSON.parse(data.join("\n")));
}

async function read(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    blocks.forEach(parse);
  }
}

async function refuse(answer) {
  const problem = await answer.json().catch(() => ({ error: `The receiver answered ${answer.status}.` }));
  at("refused").textContent = problem.error;
  at("refused").hidden = answer.status === 401 && !key;
  at("shown").hidden = true;
  at("sign-in").hidden = answer.status !== 401;
  if (answer.status === 401) at("key").focus();
  say(answer.status === 401 ? "a key is needed" : "refused", "lost");
}

async function follow() {
  following?.abort();
  const mine = (following = new AbortController());
  while (!mine.signal.aborted) {
    try {
      const wanted = query();
      if (lastId === null) wanted.set("last", BEGIN_WITH);
      const headers = lastId === null ? {} : { "Last-Event-ID": lastId };
      const answer = await ask(`/events/stream?${wanted}`, { headers, signal: mine.signal });
      if ([400, 401, 403].includes(answer.status)) return refuse(answer);
      if (answer.ok) {
        at("sign-in").hidden = at("refused").hidden = true;
        at("shown").hidden = false;
        say("live", "live");
        await read(answer.body);
      }
    } catch (error) {
      if (mine.signal.aborted) return;
    }
    say("the receiver is away, trying again", "lost");
    await new Promise((resume) => setTimeout(resume, COME_BACK_MS));
  }
}

// --- handlers -----------------------------------------------------------------------------------------------------

function handlerLine(handler) {
  const line = element("p");
  const well = handler.state === "up" || handler.state === "standing_by";
  line.append(element("span", `${handler.name}: ${handler.state}`, well ? "" : "trouble"));
  line.append(`, ${handler.pending ?? "?"} waiting, `);
  line.append(element("span", `${handler.parked ?? "?"} parked`, handler.parked ? "trouble" : ""));
  if (handler.error) line.append(element("span", ` (${handler.error})`, "trouble"));
  return line;
}

async function lookAtHandlers() {
  if (!at("shown").hidden && !document.hidden) {
    try {
      const answer = await ask("/handlers");
      if (answer.ok) {
        const { handlers } = await answer.json();
        at("handlers").hidden = !handlers.length;
        at("handlers").replaceChildren(...handlers.map(handlerLine));
      }
    } catch { /* the stream says that the receiver is away */ }
  }
  setTimeout(lookAtHandlers, HANDLERS_EVERY_MS);
}

// --- the forms ----------------------------------------------------------------------------------------------------

at("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value.trim();
  sessionStorage.setItem("receiver-key", key);
  at("key").value = "";
  follow();
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  lastId = null;
  held = [];
  list.replaceChildren();
  at("empty").hidden = false;
  follow();
});

pauseButton.addEventListener("click", () => {
  paused = !paused;
  pauseButton.setAttribute("aria-pressed", String(paused));
  pauseButton.textContent = paused ? "Go on" : "Pause";
  if (!paused) held.splice(0).forEach(show);
});

follow();
lookAtHandlers();
