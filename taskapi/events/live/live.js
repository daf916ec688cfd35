// Shows the caller's open and done tasks, and follows their changes. Here is what the user does; what it leads to is in the other
// files: session.js (who is signed in), stream.js (the events), list.js (the tasks), changes.js (one's own changes), view.js (what is
// seen and heard) and requests.js.

import { add, change, remove } from "./changes.js";
import { ROOT } from "./requests.js";
import { me, signIn, signOut } from "./session.js";
import { connect } from "./stream.js";
import { $, render, say } from "./view.js";

const STALE_MS = 60_000; // after which a connection is not trusted when the page is looked at again: it may be dead without a word

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
