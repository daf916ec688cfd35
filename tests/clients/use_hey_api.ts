// What @hey-api/openapi-ts makes of the OpenAPI document, used against a running server.
import assert from "node:assert/strict";
import { client } from "./hey/client.gen.js";
import {
  changeInBulk,
  createTask,
  exportTasks,
  importTasks,
  listTasks,
  register,
  signIn,
  updateTask,
} from "./hey/sdk.gen.js";
import type { TaskRead } from "./hey/types.gen.js";

const [server, username] = process.argv.slice(2);
assert(server && username);
const password = "correct horse battery";

client.setConfig({ baseUrl: server });
const account = await register({ body: { username, password } });
assert.equal(account.data?.role, "user");
const signedIn = await signIn({ body: { username, password } });
assert(signedIn.data);
client.setConfig({ auth: signedIn.data.access_token });

const made = await createTask({ body: { title: "Order paper", tags: ["office"], priority: 4 } });
assert(made.data);
const task: TaskRead = made.data;
assert.equal(made.response?.headers.get("Location"), `/tasks/${task.id}`);

const where = JSON.stringify({ priority: { $gte: 4 } });
const listed = await listTasks({ query: { tag: "office", where, fields: "id,title" } });
assert.deepEqual(listed.data, [{ id: task.id, title: "Order paper" }]);

const mine = { path: { task_id: task.id }, headers: { "If-Match": '"1"' } };
const changed = await updateTask({ ...mine, body: { status: "in_progress" } });
assert.equal(changed.data?.version, 2);
const late = await updateTask({ ...mine, body: { priority: 1 } });
assert.equal(late.error?.error, "precondition_failed");
assert.equal(late.response?.headers.get("ETag"), '"2"');

const bulk = await changeInBulk({
  body: {
    operations: [
      { op: "create", task: { title: "Order ink" } },
      { op: "update", id: task.id, version: 2, changes: { completed: true } },
      { op: "delete", id: "65f1a2b3c4d5e6f708192a3b" },
    ],
  },
});
assert.deepEqual(bulk.data?.map((result) => result.status), [201, 200, 404]);

const imported = await importTasks({ body: [{ key: "a-1", title: "From another tool" }, { title: "ab" }] });
assert.deepEqual([imported.data?.created, imported.data?.failed], [1, 1]);
assert.equal(imported.data?.errors[0]?.field, "title");

const exported = await exportTasks({ query: { sort: "title" }, parseAs: "text" });
const titles = exported.data?.trimEnd().split("\n").map((line) => (JSON.parse(line) as TaskRead).title);
assert.deepEqual(titles, ["From another tool", "Order ink", "Order paper"]);

const wrong = await createTask({ body: { title: "ab" } });
assert.equal(wrong.data, undefined);
assert.equal(wrong.error?.error, "validation_error");
assert.deepEqual(wrong.error.details?.map((detail) => detail.field), ["title"]);
