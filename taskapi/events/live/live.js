// Shows the caller's open and done tasks, and follows their changes: first a position in the stream, then the list, then every change
// since that position. A lost connection is resumed where it was; only if the server says "reset", the list is loaded again.

const ROOT = new URL("../", import.meta.url);
const FIELDS = "id,title,status,completed,completed_at,due_date,created_at,version";
const PAGE = 100; // tasks of one request
const MAX_OPEN = 500; // tasks on the page: the newest
const MAX_DONE = 50; // the last ones done
const REQUEST_MS = 20_000;
const HELLO_MS = 15_000; // within which a stream says where it is
const MAX_DELAY_MS = 30_000; // between two attempts to connect
const STALE_MS = 60_000; // after which a connection is not trusted when the page is looked at again: it may be dead without a word
const FATAL = { session_ended: "Your session has ended.", account_disabled: "Your account was disabled.", scope_lost: "You may no longer read tasks." };

const $ = (id) => document.getElementById(id);
let me = null; // what belongs to the account that is signed in; the tokens are nowhere else

// --- requests

class Failure extends Error {
  constructor(status, problem = {}, retryAfter = 0) {
    const faults = (problem.details ?? []).map(({ field, message }) => (field ? `${field} ${message}` : message));
    super(status ? [problem.detail ?? `The server answered ${status}.`, ...faults].join(" ") : "The server cannot be reached.");
    this.status = status;
    this.retryMs = 1000 * retryAfter;
    this.code = problem.type?.split(":").pop(); // at /token, "error" is that of OAuth
  }
}

async function request(method, path, { token, signal, ...options } = {}) {
  const signals = [AbortSignal.timeout(REQUEST_MS), ...(signal ? [signal] : [])];
  const headers = { Accept: "application/json", ...(token && { Authorization: `Bearer ${token}` }), ...options.headers };
  let response;
  try {
    response = await fetch(new URL(path, ROOT), { method, ...options, headers, credentials: "omit", signal: AbortSignal.any(signals) });
  } catch {
    throw new Failure(0);
  }
  if (!response.ok) throw new Failure(response.status, await response.json().catch(() => ({})), response.headers.get("Retry-After"));
  return response;
}

async function call(method, path, { json, ...options } = {}) {
  const account = me;
  const body = json && { body: JSON.stringify(json), headers: { "Content-Type": "application/json", ...options.headers } };
  const send = () => request(method, path, { ...options, ...body, token: account.token, signal: account.left.signal });
  try {
    return await send();
  } catch (failure) {
    if (failure.status !== 401) throw failure;
    await refresh(account);
    return await send();
  }
}

const grant = async (fields) => (await request("POST", "token", { body: new URLSearchParams(fields) })).json();

// Renews the access token. The refresh token can be used once, so callers that come meanwhile share the answer.
function refresh(account) {
  account.refreshing ??= grant({ grant_type: "refresh_token", refresh_token: account.refreshToken })
    .then((tokens) => Object.assign(account, { token: tokens.access_token, refreshToken: tokens.refresh_token }))
    .catch((failure) => {
      if (failure.status >= 400 && failure.status < 429) leave(account, FATAL.session_ended);
      throw failure;
    })
    .finally(() => (account.refreshing = null));
  return account.refreshing;
}

// --- sign in and out

async function signIn(form) {
  const fields = Object.fromEntries(new FormData(form));
  if (!fields.otp) delete fields.otp;
  const tokens = await grant({ ...fields, scope: "tasks:read tasks:write" });
  me = {
    token: tokens.access_token,
    refreshToken: tokens.refresh_token,
    left: new AbortController(), // aborted when the account is no longer signed in here
    tasks: new Map(), // as the server has them
    hasMore: false, // there are open tasks that are not on the page
    gone: new Map(), // versions in which tasks were deleted
    wishes: new Map(), // changes on their way to the server, which are shown already
    sending: new Map(), // the last request of each task
    own: new Map(), // versions that were made here, by the id and the version before
    adding: new Set(), // titles on their way
    editing: null, // { id, version }
    waiting: [], // events that came while the list was loading; null when it is there
    loading: null, // the run that loads the list
    source: null, // the EventSource
    isLive: false, // it has said hello
    isUnsupported: false, // by the server's MongoDB
    position: null, // in the stream
    heard: Date.now(), // of the stream
    attempts: 0, // to connect, since the last hello
    timer: null,
    complaint: false, // about the connection, on the page
  };
  form.reset();
  $("second-factor").hidden = true;
  $("who").firstElementChild.textContent = fields.username;
  for (const id of ["tasks", "who", "state"]) $(id).hidden = false;
  form.hidden = true;
  say("problem");
  $("new-title").focus();
  render();
  connect(me);
}

function signOut() {
  const account = me;
  leave(account);
  request("POST", "revoke", { body: new URLSearchParams({ token: account.refreshToken }) }).catch(() => {});
}

function leave(account, reason = "") {
  if (me !== account) return;
  me = null;
  account.left.abort();
  close(account);
  for (const list of ["open", "done"]) $(list).replaceChildren();
  for (const id of ["tasks", "who", "state", "nothing", "older"]) $(id).hidden = true;
  $("add").reset();
  document.title = "Tasks, live";
  say("notice");
  say("problem", reason && `${reason} Sign in again.`);
  $("sign-in").hidden = false;
  $("sign-in").elements.username.focus();
}

// --- the stream

async function connect(account) {
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
    if (reason in FATAL) leave(account, FATAL[reason]);
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

function again(account, failure, delay = Math.min(MAX_DELAY_MS, 500 * 2 ** account.attempts) * (0.5 + Math.random() / 2)) {
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

function close(account) {
  clearTimeout(account.timer);
  account.source?.close();
  account.source = null;
  account.isLive = false;
}

function show(account) {
  const [text, look] = !account.isLive
    ? account.isUnsupported ? ["Not live", "lost"] : account.attempts ? ["Reconnecting…", "lost"] : ["Connecting…", ""]
    : account.waiting ? ["Loading…", ""] : ["Live", "live"];
  if ($("state").textContent !== text) $("state").textContent = text;
  $("state").className = look;
}

// --- the list

async function load(account) {
  const run = (account.loading = {});
  account.waiting = [];
  show(account);
  try {
    const found = new Map();
    let hasMore = null;
    for (const [query, max] of [["completed=false", MAX_OPEN], ["completed=true&sort=-updated_at", MAX_DONE]]) {
      let cursor = "";
      for (let left = max; left > 0 && cursor !== null; left -= PAGE) {
        const limits = `limit=${Math.min(left, PAGE)}&count=none&fields=${FIELDS}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`;
        const page = await call("GET", `tasks?${query}&${limits}`);
        for (const task of await page.json()) found.set(task.id, task);
        cursor = page.headers.get("X-Next-Cursor");
      }
      hasMore ??= cursor !== null; // of the first of the two lists
    }
    if (account.loading !== run) return; // it is being loaded again
    const events = account.waiting;
    account.tasks = found;
    account.hasMore = hasMore;
    account.gone.clear();
    account.waiting = null;
    for (const event of events) apply(account, event, { quietly: true });
    show(account);
    render();
  } catch (failure) {
    if (account.loading !== run) return;
    account.position = null; // begin anew
    again(account, failure);
  }
}

// Events come at least once: an older version than the one that is known says nothing new.
function apply(account, event, { quietly = false } = {}) {
  const before = account.tasks.get(event.task_id);
  if (event.task) {
    if (!put(account, event.task) || quietly) return;
    const own = account.wishes.has(event.task_id) || account.adding.has(event.task.title);
    if (!own && before?.version !== event.task.version) tell(event.task_id, difference(before, event.task));
  } else if (!before || before.version <= event.version) {
    drop(account, event.task_id, event.version);
    if (before && !quietly && !account.wishes.has(event.task_id)) tell(null, `Deleted: ${before.title}`);
  }
}

function put(account, task) {
  const known = account.tasks.get(task.id)?.version ?? account.gone.get(task.id) ?? 0;
  if (known > task.version) return false;
  account.tasks.set(task.id, task);
  account.gone.delete(task.id);
  schedule();
  return true;
}

function drop(account, id, version) {
  const edited = account.editing?.id === id && $(`task-${id}`)?.querySelector(".rename input").value;
  if (edited) {
    account.editing = null;
    say("problem", `The task that you were renaming was deleted elsewhere. Your text was: ${edited}`);
  }
  account.tasks.delete(id);
  account.gone.set(id, Math.max(version, account.gone.get(id) ?? 0));
  schedule();
}

function difference(before, after) {
  if (!before) return `Added: ${after.title}`;
  if (before.completed !== after.completed) return `${after.completed ? "Done" : "Reopened"}: ${after.title}`;
  if (before.title !== after.title) return `Renamed: ${before.title}, now ${after.title}`;
  return `Changed: ${after.title}`;
}

// --- changes of one's own: shown at once, sent with the version that was seen, taken back if refused

async function send(id, wish, work, version) {
  const account = me;
  account.wishes.set(id, wish);
  const before = account.sending.get(id); // they go one after the other: each needs the version that the last one made
  const turn = (async () => {
    await before?.catch(() => {});
    const task = account.tasks.get(id);
    if (!task) throw new Failure(404);
    let seen = version ?? task.version;
    while (account.own.has(`${id} ${seen}`)) seen = account.own.get(`${id} ${seen}`); // one's own changes are no conflict
    await work(account, task, { "If-Match": `"${seen}"` });
  })();
  account.sending.set(id, turn);
  render();
  try {
    await turn;
    if (me === account) say("problem");
    return true;
  } catch (failure) {
    if (me === account) await explain(account, id, wish, failure);
    return false;
  } finally {
    if (account.sending.get(id) === turn) account.sending.delete(id);
    if (account.wishes.get(id) === wish) account.wishes.delete(id);
    render();
  }
}

async function explain(account, id, wish, failure) {
  const title = account.tasks.get(id)?.title ?? wish.title ?? "The task";
  if (failure.status === 412) {
    const answer = await call("GET", `tasks/${id}?fields=${FIELDS}`).catch(() => null);
    if (answer) put(account, await answer.json());
    const now = account.tasks.get(id)?.title ?? title;
    const renamed = now === title ? "" : `, and is now “${now}”`;
    say("problem", `“${title}” was changed elsewhere at the same time${renamed}. Your change was not saved: make it again if it still applies.`);
  } else if (failure.status === 404) {
    drop(account, id, account.tasks.get(id)?.version ?? 0);
    say("problem", `“${title}” was deleted elsewhere. Your change was not saved.`);
  } else say("problem", `Not saved: ${failure.message}`);
}

const change = (id, changes, version) =>
  send(id, changes, async (account, task, headers) => {
    const answer = await (await call("PATCH", `tasks/${id}`, { json: changes, headers })).json();
    account.own.set(`${id} ${answer.version - 1}`, answer.version);
    put(account, answer);
  }, version);

async function remove(id) {
  const { title } = { ...me.tasks.get(id), ...me.wishes.get(id) }; // as it is shown
  const done = await send(id, { removed: true }, async (account, task, headers) => {
    await call("DELETE", `tasks/${id}`, { headers });
    drop(account, id, task.version + 1);
  });
  if (done && me) say("notice", `Deleted: ${title}`, "Undo", () => restore(id));
}

async function restore(id) {
  const account = me;
  say("notice");
  try {
    put(account, await (await call("POST", `tasks/${id}/restore`)).json());
    render();
    $(`task-${id}`)?.querySelector(".tick").focus();
  } catch (failure) {
    if (me === account) say("problem", `Not restored: ${failure.message}`);
  }
}

async function add(form) {
  const account = me;
  const title = form.elements.title.value.trim();
  account.adding.add(title);
  form.reset();
  try {
    const headers = { "Idempotency-Key": crypto.getRandomValues(new Uint32Array(4)).join("-") }; // a repeat adds nothing
    const answer = await call("POST", "tasks", { json: { title }, headers });
    put(account, await answer.json());
    if (me === account) say("problem");
  } catch (failure) {
    if (me !== account) return;
    say("problem", `Not added: ${failure.message}`);
    form.elements.title.value ||= title;
  } finally {
    account.adding.delete(title);
  }
}

// --- what is seen and heard

let scheduled = null;
const news = [];
const fresh = new Set(); // ids of tasks that were changed elsewhere just now

function schedule() {
  scheduled ??= setTimeout(render, 30); // of many changes at once, the page shows the outcome
}

function render() {
  clearTimeout(scheduled);
  scheduled = null;
  if (!me) return;
  const account = me;
  const tasks = [...account.tasks.values()].map((task) => ({ ...task, ...account.wishes.get(task.id) })).filter((task) => !task.removed);
  const newest = (field) => (a, b) => ((b[field] ?? "9") + b.id < (a[field] ?? "9") + a.id ? -1 : 1);
  const allOpen = tasks.filter((task) => !task.completed).sort(newest("created_at"));
  const open = allOpen.slice(0, MAX_OPEN);
  const done = tasks.filter((task) => task.completed).sort(newest("completed_at")).slice(0, MAX_DONE);
  account.hasMore ||= allOpen.length > MAX_OPEN;
  const listed = new Set([...open, ...done].map((task) => task.id));
  for (const id of account.tasks.keys()) if (!listed.has(id) && !account.wishes.has(id)) account.tasks.delete(id);

  const focused = document.activeElement;
  const held = focused?.closest("li");
  const [list, place] = held ? [held.parentNode, [...held.parentNode.children].indexOf(held)] : [];
  $("done-section").hidden = !done.length; // before the focus can go there
  const [openRows, doneRows] = [open, done].map((some) => some.map((task) => row(account, task)));
  arrange($("open"), openRows);
  arrange($("done"), doneRows);
  if (held && focused !== document.activeElement) {
    const other = list.children[Math.min(place, list.children.length - 1)];
    (focused.isConnected && focused.checkVisibility() ? focused : (other?.querySelector(".tick") ?? $("new-title"))).focus({ preventScroll: true });
  }

  $("open-count").textContent = account.waiting ? "" : open.length;
  $("done-count").textContent = done.length;
  $("nothing").hidden = open.length > 0 || Boolean(account.waiting);
  $("older").hidden = !account.hasMore;
  document.title = `(${open.length}) Tasks, live`;
  if (account.hasMore && open.length < MAX_OPEN / 2 && !account.waiting) load(account);
}

// Puts rows in order without touching the one that has the focus: one that is moved would lose it.
function arrange(list, rows) {
  const kept = new Set(rows);
  for (const row of [...list.children]) if (!kept.has(row)) row.remove();
  const still = rows.findIndex((row) => row.parentNode === list && row.contains(document.activeElement));
  for (let i = still - 1; i >= 0; i--) if (rows[i].nextSibling !== rows[i + 1]) list.insertBefore(rows[i], rows[i + 1]);
  for (let i = still + 1; i < rows.length; i++) {
    const next = i ? rows[i - 1].nextSibling : list.firstChild;
    if (rows[i] !== next) list.insertBefore(rows[i], next);
  }
}

function row(account, task) {
  const li = $(`task-${task.id}`) ?? newRow(task.id);
  const part = (name) => li.querySelector(`.${name}`);
  const isEdited = account.editing?.id === task.id;
  if (part("title").textContent !== task.title) {
    part("title").textContent = task.title;
    part("tick").setAttribute("aria-label", task.title);
    part("edit").setAttribute("aria-label", `Rename ${task.title}`);
    part("delete").setAttribute("aria-label", `Delete ${task.title}`);
    part("rename").elements.title.setAttribute("aria-label", `New title of ${task.title}`);
  }
  part("tick").checked = task.completed;
  part("rename").hidden = !isEdited;
  for (const name of ["title", "edit", "delete"]) part(name).hidden = isEdited;
  const due = task.completed || isEdited ? null : task.due_date;
  part("due").textContent = due ? `due ${new Date(`${due}T00:00`).toLocaleDateString(undefined, { day: "numeric", month: "short" })}` : "";
  part("due").classList.toggle("late", Boolean(due) && new Date(`${due}T23:59:59`) < new Date());
  li.classList.toggle("waiting", account.wishes.has(task.id));
  if (fresh.delete(task.id)) {
    li.classList.remove("fresh");
    void li.offsetWidth; // begin the animation anew
    li.classList.add("fresh");
  }
  return li;
}

function newRow(id) {
  const li = $("task").content.firstElementChild.cloneNode(true);
  li.id = `task-${id}`;
  li.addEventListener("animationend", () => li.classList.remove("fresh"));
  return li;
}

// What others changed: marked for the eye, and said to screen readers, at most a sentence for each of three changes at once.
function tell(id, sentence) {
  if (id) fresh.add(id);
  if (news.push(sentence) > 1) return;
  setTimeout(() => {
    $("news").textContent = news.length > 3 ? `${news.length} changes` : news.join(". ");
    news.length = 0;
  }, 700);
}

function say(place, text = "", label = "Dismiss", act = () => {}) {
  if (!text) return $(place).replaceChildren();
  const sentence = document.createElement("span");
  sentence.textContent = text;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.addEventListener("click", () => {
    say(place);
    act();
  });
  $(place).replaceChildren(sentence, button);
}

// --- what the user does

const idOf = (element) => element.closest("li").id.slice("task-".length);

function edit(id, version, text) {
  me.editing = { id, version };
  render();
  const input = $(`task-${id}`).querySelector(".rename input");
  input.value = text;
  input.focus();
  input.select();
}

function endEdit() {
  const { id } = me.editing;
  me.editing = null;
  render();
  $(`task-${id}`)?.querySelector(".edit").focus();
}

async function rename(form) {
  const account = me;
  const { id, version } = account.editing;
  const title = form.elements.title.value.trim();
  endEdit();
  if (title === account.tasks.get(id)?.title || (await change(id, { title }, version))) return;
  if (me === account && !account.editing && account.tasks.has(id)) edit(id, account.tasks.get(id).version, title);
}

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  if (button.ariaBusy === "true") return;
  button.ariaBusy = "true";
  try {
    await signIn(form);
  } catch (failure) {
    const needsCode = ["second_factor_required", "bad_second_factor"].includes(failure.code);
    if (needsCode) $("second-factor").hidden = false;
    say("problem", failure.code === "second_factor_required" ? "This account has a second factor: enter a code." : failure.message);
    (needsCode ? form.elements.otp : form.elements.password).select();
  } finally {
    button.ariaBusy = "false";
  }
});
$("sign-out").addEventListener("click", signOut);
$("add").addEventListener("submit", (event) => {
  event.preventDefault();
  add(event.target);
});

const tasks = $("tasks");
tasks.addEventListener("change", ({ target }) => {
  if (target.matches(".tick")) change(idOf(target), { completed: target.checked });
});
tasks.addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.target.matches(".rename")) rename(event.target);
});
tasks.addEventListener("click", ({ target }) => {
  const button = target.closest("li button");
  if (button?.matches(".edit")) edit(idOf(button), me.tasks.get(idOf(button)).version, me.tasks.get(idOf(button)).title);
  if (button?.matches(".delete")) remove(idOf(button));
  if (button?.matches(".cancel")) endEdit();
});
tasks.addEventListener("dblclick", ({ target }) => {
  if (target.matches(".title")) target.closest("li").querySelector(".edit").click();
});
tasks.addEventListener("keydown", (event) => {
  const li = event.target.closest("li");
  if (event.key === "Escape" && li && me.editing) endEdit();
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !li || event.target.matches(".rename *")) return;
  event.preventDefault(); // the arrows go from task to task, to the same control
  const rows = [...tasks.querySelectorAll("li")];
  const control = [...event.target.classList].find((name) => ["tick", "edit", "delete"].includes(name));
  rows[rows.indexOf(li) + step]?.querySelector(`.${control}`)?.focus();
});

// A connection may be dead without a word after the machine slept or changed its network.
const resume = () => me && connect(me);
let awake = Date.now();
setInterval(() => {
  if (Date.now() - awake > STALE_MS) resume();
  awake = Date.now();
}, 10_000);
addEventListener("online", resume);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && (!me?.isLive || Date.now() - me.heard > STALE_MS)) resume();
});
addEventListener("pagehide", (event) => {
  if (me && !event.persisted) navigator.sendBeacon(new URL("revoke", ROOT), new URLSearchParams({ token: me.refreshToken }));
});

$("sign-in").hidden = false;
$("sign-in").elements.username.focus();
