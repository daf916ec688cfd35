// What openapi-typescript and openapi-fetch make of the OpenAPI document, used against a running server.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Task = components["schemas"]["TaskRead"];
const [server, username] = process.argv.slice(2);
assert(server && username);
const password = "correct horse battery";

const api = createClient<paths>({ baseUrl: server });

const account = await api.POST("/register", { body: { username, password } });
assert.equal(account.data?.role, "user");
const signedIn = await api.POST("/token", {
  body: { username, password },
  headers: { "Content-Type": "application/x-www-form-urlencoded" },
});
assert(signedIn.data);
const token = signedIn.data.access_token;
api.use({
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${token}`);
    return request;
  },
});

const made = await api.POST("/tasks", { body: { title: "Order paper", tags: ["office"], priority: 4 } });
assert(made.data);
const task: Task = made.data;
assert.equal(made.response.headers.get("Location"), `/tasks/${task.id}`);
assert.equal(task.due_date, null);

const listed = await api.GET("/tasks", {
  params: { query: { tag: "office", where: JSON.stringify({ priority: { $gte: 4 } }), fields: "id,title" } },
});
assert.deepEqual(listed.data, [{ id: task.id, title: "Order paper" }]);
assert.equal(listed.response.headers.get("X-Total-Count"), "1");

const path = { task_id: task.id };
const changed = await api.PATCH("/tasks/{task_id}", {
  params: { path, header: { "If-Match": '"1"' } },
  body: { status: "in_progress" },
});
assert.equal(changed.data?.version, 2);
const late = await api.PATCH("/tasks/{task_id}", {
  params: { path, header: { "If-Match": '"1"' } },
  body: [{ op: "replace", path: "/priority", value: 1 }],
  headers: { "Content-Type": "application/json-patch+json" },
});
assert.equal(late.error?.status, 412);
assert.equal(late.response.headers.get("ETag"), '"2"');

const bulk = await api.POST("/tasks/bulk", {
  body: {
    operations: [
      { op: "create", task: { title: "Order ink" } },
      { op: "update", id: task.id, version: 2, changes: { completed: true } },
      { op: "delete", id: "65f1a2b3c4d5e6f708192a3b" },
    ],
  },
});
assert.deepEqual(bulk.data?.map((result) => result.status), [201, 200, 404]);
assert.equal(bulk.data[2]?.error?.error, "not_found");

const imported = await api.POST("/tasks/import", { body: [{ key: "a-1", title: "From another tool" }, { title: "ab" }] });
assert.deepEqual([imported.data?.created, imported.data?.failed], [1, 1]);
assert.equal(imported.data?.errors[0]?.field, "title");
const again = await api.POST("/tasks/import", {
  body: '{"key": "a-1", "title": "From another tool"}\n',
  headers: { "Content-Type": "application/jsonl" },
  bodySerializer: (body) => body as string, // or it would be quoted as JSON
});
assert.deepEqual([again.data?.lines, again.data?.unchanged], [1, 1]);

const exported = await api.GET("/tasks/export", { params: { query: { sort: "title" } }, parseAs: "text" });
const titles = exported.data?.trimEnd().split("\n").map((line) => (JSON.parse(line) as Task).title);
assert.deepEqual(titles, ["From another tool", "Order ink", "Order paper"]);

const wrong = await api.POST("/tasks", { body: { title: "ab" } });
assert.equal(wrong.data, undefined);
assert.equal(wrong.error?.error, "validation_error");
assert.deepEqual(wrong.error.details?.map((detail) => detail.field), ["title"]);
