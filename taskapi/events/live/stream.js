// Follows the stream of events: first a position in it, then the list, then every change since that position. A lost connection is
// resumed where it was; only if the server says "reset", the list is loaded again.

import { apply, load } from "./list.js";
import { ROOT } from "./requests.js";
import { call, ENDINGS, leave, me, refresh } from "./session.js";
import { $, say } from "./view.js";

const HELLO_MS = 15_000; // within which a stream says where it is
const MAX_DELAY_MS = 30_000; // between two attempts to connect

export async function connect(account) {
  close(account);
  show(account);
  try {
    const { ticket } = await (await call("POST", "events/tickets")).json();
    if (me !== account) return;
    const address = new URL("events/stream", ROOT);
    address.search = new URLSearchParams({ ticket, ...(account.position && { since: account.position }) });
    listen(account, new EventSource(address));
  } catch (failure) {
    again(account, failure);
  }
}

function listen(account, source) {
  close(account);
  account.source = source;
  account.timer = setTimeout(() => lost(account, source), HELLO_MS);
  const on = (type, act) =>
    source.addEventListener(type, (event) => {
      account.heard = Date.now();
      if (account.source === source) act(JSON.parse(event.data), event.lastEventId);
    });
  const begin = ({ position }) => {
    clearTimeout(account.timer);
    account.isLive = true;
    account.attempts = 0;
    account.position = position;
    if (account.complaint) account.complaint = say("problem");
    show(account);
  };
  on("hello", (hello) => {
    begin(hello);
    if (account.waiting) load(account);
  });
  on("reset", (reset) => {
    begin(reset); // what happened before this position may be lost, so the list is loaded again
    load(account);
  });
  for (const kind of ["created", "updated", "deleted", "restored", "purged"])
    on(`task.${kind}`, (event, position) => {
      account.position = position;
      if (account.waiting) account.waiting.push(event);
      else apply(account, event);
    });
  on("end", ({ reason }) => {
    if (reason in ENDINGS) leave(account, ENDINGS[reason]);
    else if (reason === "token_expired") refresh(account).then(() => connect(account), (failure) => again(account, failure));
    else again(account, null, 500 + 2500 * Math.random()); // the server restarts: not everybody comes back at once
  });
  source.onerror = () => lost(account, source); // left alone, the browser would try again with the ticket, which is used up
}

// EventSource hides why a stream was refused, so one that broke before it said hello is asked for once more.
async function lost(account, source) {
  if (account.source !== source) return;
  const { isLive } = account;
  close(account);
  if (isLive) return again(account);
  const asked = new AbortController();
  try {
    const since = account.position ? `?${new URLSearchParams({ since: account.position })}` : "";
    await call("GET", `events/stream${since}`, { headers: { Accept: "text/event-stream" }, signal: asked.signal });
    again(account);
  } catch (failure) {
    again(account, failure);
  } finally {
    asked.abort();
  }
}

export function again(account, failure, delay = Math.min(MAX_DELAY_MS, 500 * 2 ** account.attempts) * (0.5 + Math.random() / 2)) {
  close(account);
  if (me !== account) return;
  if (failure?.status === 400) account.position = null; // it is of another server
  if (!account.position) account.waiting = [];
  if (failure?.status) account.complaint = say("problem", failure.message) || true;
  account.attempts++;
  account.isUnsupported = failure?.status === 501;
  if (account.isUnsupported) load(account); // a list as of now, every time
  show(account);
  account.timer = setTimeout(() => connect(account), account.isUnsupported ? MAX_DELAY_MS : delay + (failure?.retryMs ?? 0));
}

export function close(account) {
  clearTimeout(account.timer);
  account.source?.close();
  account.source = null;
  account.isLive = false;
}

export function show(account) {
  const [text, look] = !account.isLive
    ? account.isUnsupported ? ["Not live", "lost"] : account.attempts ? ["Reconnecting…", "lost"] : ["Connecting…", ""]
    : account.waiting ? ["Loading…", ""] : ["Live", "live"];
  if ($("state").textContent !== text) $("state").textContent = text;
  $("state").className = look;
}
