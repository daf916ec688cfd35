// Fastify with its JWT plug-in, schemas for requests and answers, and the official driver of MongoDB.
import jwt from "@fastify/jwt";
import Fastify from "fastify";
import { MongoClient, ObjectId } from "mongodb";

const client = await MongoClient.connect(process.env.PEER_URI);
const database = client.db(process.env.PEER_DATABASE);
const users = database.collection("users");
const tasks = database.collection("tasks");

const text = { type: "string" };
const task = {
  type: "object",
  properties: {
    id: text,
    title: text,
    description: text,
    status: text,
    priority: { type: "integer" },
    tags: { type: "array", items: text },
    completed: { type: "boolean" },
    due_date: { type: ["string", "null"] },
    owner: { type: "object", properties: { id: text, username: text } },
    created_at: text,
    updated_at: text,
  },
};
const create = {
  type: "object",
  required: ["title"],
  properties: { title: { type: "string", minLength: 3, maxLength: 200 }, description: { type: "string", maxLength: 2000 } },
};
const change = {
  type: "object",
  required: ["priority"],
  properties: { priority: { type: "integer", minimum: 1, maximum: 5 } },
};

const app = Fastify();
app.register(jwt, { secret: process.env.PEER_SECRET, verify: { allowedAud: "taskapi" } });

async function authenticate(request, reply) {
  await request.jwtVerify();
  request.account = await users.findOne({ _id: new ObjectId(request.user.sub) });
  if (!request.account) return reply.code(401).send({ detail: "Could not validate credentials" });
}

function show(stored) {
  return {
    ...stored,
    id: stored._id.toHexString(),
    due_date: stored.due_date?.toISOString() ?? null,
    owner: { id: stored.owner.id.toHexString(), username: stored.owner.username },
    created_at: stored.created_at.toISOString(),
    updated_at: stored.updated_at.toISOString(),
  };
}

const one = (request) => ({ _id: new ObjectId(request.params.id), "owner.id": request.account._id });
const answer = (stored, reply) => (stored ? show(stored) : reply.code(404).send({ detail: "Task not found" }));
const route = (status, schema, body) => ({
  onRequest: authenticate,
  schema: { response: { [status]: schema }, ...(body && { body }) },
});

app.get("/tasks/:id", route(200, task), async (request, reply) => answer(await tasks.findOne(one(request)), reply));

app.get("/tasks", route(200, { type: "array", items: task }), async (request) => {
  const newest = tasks.find({ "owner.id": request.account._id }).sort({ created_at: -1 });
  return (await newest.limit(Number(request.query.limit ?? 20)).toArray()).map(show);
});

app.post("/tasks", route(201, task, create), async (request, reply) => {
  const now = new Date();
  const created = {
    title: request.body.title,
    description: request.body.description ?? "",
    status: "todo",
    priority: 1,
    tags: [],
    completed: false,
    due_date: null,
    owner: { id: request.account._id, username: request.account.username },
    created_at: now,
    updated_at: now,
  };
  await tasks.insertOne(created);
  return reply.code(201).send(show(created));
});

app.patch("/tasks/:id", route(200, task, change), async (request, reply) => {
  const values = { priority: request.body.priority, updated_at: new Date() };
  return answer(await tasks.findOneAndUpdate(one(request), { $set: values }, { returnDocument: "after" }), reply);
});

await app.listen({ port: Number(process.env.PEER_PORT), host: "127.0.0.1" });
