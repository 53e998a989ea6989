// Calls of the bridge's API with the key that the user gave. The key lives in this tab's session storage, nowhere else.

const KEY = "bridge.key";

export const session = {
  get key() { return sessionStorage.getItem(KEY); },
  set key(value) { value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY); },
};

/** What the API answered instead of doing what was asked; `code` is for programs, the message for people. */
export class ApiError extends Error {
  constructor(status, body) {
    super(body.error || `The bridge answered ${status}.`);
    this.status = status;
    this.code = body.code;
    this.details = body.details || {};
  }
}

async function request(method, path, {body, signal, accept} = {}) {
  const headers = {Authorization: `Bearer ${session.key}`, Accept: accept || "application/json"};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body)});
  if (!answer.ok) throw await refused(answer);
  return answer;
}

/** The error of an answer; who is not known any more is signed out. */
async function refused(answer) {
  if (answer.status === 401) window.dispatchEvent(new CustomEvent("signed-out"));
  return new ApiError(answer.status, await answer.json().catch(() => ({})));
}

/** Call the API and return what it answers. */
export async function call(method, path, body, signal) {
  return (await request(method, path, {body, signal})).json();
}

/** Whose key this is and what it may do, as the API says; it refuses the rest itself, so that this only spares vain buttons. */
export const me = {id: null, name: null, role: null, may: new Set(), instances: null};
export const may = (access) => me.may.has(access);

/** Learn who is signed in; throws when the key opens nothing. */
export async function identify() {
  const own = await get("/keys/self");
  Object.assign(me, {id: own.key_id, name: own.name, role: own.role, may: new Set(own.may), instances: own.instances});
}

export const get = (path, signal) => call("GET", path, undefined, signal);
export const post = (path, body = {}) => call("POST", path, body);

/** `a=1&b=2` of what is neither empty nor absent. */
export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return new URLSearchParams(given).toString();
}

/** Yield server-sent events `{id, type, data}`, also those without data, until `signal` aborts. EventSource cannot carry a key in a header. */
async function* events(path, lastId, signal) {
  const headers = {Authorization: `Bearer ${session.key}`, Accept: "text/event-stream"};
  if (lastId) headers["Last-Event-ID"] = lastId;
  const answer = await fetch(path, {headers, signal});
  if (!answer.ok) throw await refused(answer);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    const blocks = (rest + value.replaceAll("\r\n", "\n")).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = {id: null, type: "message", data: ""};
      for (const line of block.split("\n")) {
        const at = line.indexOf(":");
        if (at === 0) continue;
        const value = line.slice(at + 1).replace(/^ /, "");
        if (line.startsWith("data:")) event.data += (event.data ? "\n" : "") + value;
        else if (line.startsWith("id:")) event.id = value;
        else if (line.startsWith("event:")) event.type = value;
      }
      yield event;
    }
  }
}

/** Follow a stream of events over lost connections, from where it was; `state("live" | "waiting")` tells how it is. */
export async function follow(path, {signal, onEvent, onState}) {
  let last = null;
  for (let wait = 1000; !signal.aborted; wait = Math.min(2 * wait, 15000)) {
    try {
      onState("live");
      for await (const event of events(path, last, signal)) {
        last = event.id ?? last;  // also from a heartbeat, which has no data
        wait = 1000;
        if (event.data) onEvent(event);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status < 500 && error.status !== 429) throw error;
    }
    onState("waiting");
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}
