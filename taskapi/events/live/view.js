// What is seen and heard: the rows of tasks, messages, and sentences for screen readers.

import { load, MAX_DONE, MAX_OPEN } from "./list.js";
import { me } from "./session.js";

export const $ = (id) => document.getElementById(id);

let scheduled = null;
const news = [];
const fresh = new Set(); // ids of tasks that were changed elsewhere just now

export function schedule() {
  scheduled ??= setTimeout(render, 30); // of many changes at once, the page shows the outcome
}

export function render() {
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
export function tell(id, sentence) {
  if (id) fresh.add(id);
  if (news.push(sentence) > 1) return;
  setTimeout(() => {
    $("news").textContent = news.length > 3 ? `${news.length} changes` : news.join(". ");
    news.length = 0;
  }, 700);
}

export function say(place, text = "", label = "Dismiss", act = () => {}) {
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
