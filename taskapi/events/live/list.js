// The tasks on the page, as the server has them: loaded in pages, then kept up to date by events.

import { call } from "./session.js";
import { again, show } from "./stream.js";
import { $, render, say, schedule, tell } from "./view.js";

export const FIELDS = "id,title,status,completed,completed_at,due_date,created_at,version";
export const MAX_OPEN = 500; // tasks on the page: the newest
export const MAX_DONE = 50; // the last ones done
const PAGE = 100; // tasks of one request

export async function load(account) {
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
export function apply(account, event, { quietly = false } = {}) {
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

export function put(account, task) {
  const known = account.tasks.get(task.id)?.version ?? account.gone.get(task.id) ?? 0;
  if (known > task.version) return false;
  account.tasks.set(task.id, task);
  account.gone.delete(task.id);
  schedule();
  return true;
}

export function drop(account, id, version) {
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
