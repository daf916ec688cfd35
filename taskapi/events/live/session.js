// The account that is signed in, as long as the page is open: the tokens are nowhere else.

import { grant, request } from "./requests.js";
import { close, connect } from "./stream.js";
import { $, render, say } from "./view.js";

export const ENDINGS = { session_ended: "Your session has ended.", account_disabled: "Your account was disabled.", scope_lost: "You may no longer read tasks." };
export let me = null; // what belongs to the account that is signed in

export async function signIn(form) {
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

export function signOut() {
  const account = me;
  leave(account);
  request("POST", "revoke", { body: new URLSearchParams({ token: account.refreshToken }) }).catch(() => {});
}

export function leave(account, reason = "") {
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

// A request of the account that is signed in; its access token is renewed if it has expired.
export async function call(method, path, { json, ...options } = {}) {
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

// Renews the access token. The refresh token can be used once, so callers that come meanwhile share the answer.
export function refresh(account) {
  account.refreshing ??= grant({ grant_type: "refresh_token", refresh_token: account.refreshToken })
    .then((tokens) => Object.assign(account, { token: tokens.access_token, refreshToken: tokens.refresh_token }))
    .catch((failure) => {
      if (failure.status >= 400 && failure.status < 429) leave(account, ENDINGS.session_ended);
      throw failure;
    })
    .finally(() => (account.refreshing = null));
  return account.refreshing;
}
