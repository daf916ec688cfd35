// Changes of one's own: shown at once, sent with the version that was seen, taken back if refused.

import { drop, FIELDS, put } from "./list.js";
import { Failure } from "./requests.js";
import { call, me } from "./session.js";
import { $, render, say } from "./view.js";

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

export const change = (id, changes, version) =>
  send(id, changes, async (account, task, headers) => {
    const answer = await (await call("PATCH", `tasks/${id}`, { json: changes, headers })).json();
    account.own.set(`${id} ${answer.version - 1}`, answer.version);
    put(account, answer);
  }, version);

export async function remove(id) {
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

export async function add(form) {
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
