// Sends requests to the API that this page came from. Refusals become a Failure.

export const ROOT = new URL("../../", import.meta.url);
const REQUEST_MS = 20_000;

export class Failure extends Error {
  constructor(status, problem = {}, retryAfter = 0) {
    const faults = (problem.details ?? []).map(({ field, message }) => (field ? `${field} ${message}` : message));
    super(status ? [problem.detail ?? `The server answered ${status}.`, ...faults].join(" ") : "The server cannot be reached.");
    this.status = status;
    this.retryMs = 1000 * retryAfter;
    this.code = problem.type?.split(":").pop(); // at /token, "error" is that of OAuth
  }
}

export async function request(method, path, { token, signal, ...options } = {}) {
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

export const grant = async (fields) => (await request("POST", "token", { body: new URLSearchParams(fields) })).json();
