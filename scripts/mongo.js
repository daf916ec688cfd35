// The health check of MongoDB in docker-compose.yml: healthy means a primary with the API's account. It creates what is missing: the
// replica set, the accounts, and their passwords if those were changed. So it works on a new volume and on one of an older
// release; the image's own init scripts run only on a new volume.

const { MONGO_INITDB_ROOT_USERNAME, MONGO_INITDB_ROOT_PASSWORD, MONGO_API_PASSWORD, MONGO_ANALYST_PASSWORD } = process.env;
const admin = db.getSiblingDB("admin");
const database = "taskapi";

// Analysts can read tasks, but not accounts, sessions, mails and events, which contain addresses and hashes.
const reading = {
  role: "taskapiAnalyst",
  privileges: [
    { resource: { db: database, collection: "tasks" }, actions: ["find", "collStats", "listIndexes"] },
    { resource: { db: database, collection: "" }, actions: ["listCollections"] },
  ],
  roles: [],
};
const accounts = [
  // dbAdmin is for validation rules, which a restore recreates.
  { user: "api", pwd: MONGO_API_PASSWORD, roles: [{ role: "readWrite", db: database }, { role: "dbAdmin", db: database }] },
  { user: "analyst", pwd: MONGO_ANALYST_PASSWORD, roles: [{ role: reading.role, db: "admin" }] },
].filter((account) => account.pwd);

function takes({ user, pwd }) {
  try {
    return admin.auth(user, pwd).ok === 1;
  } catch {
    return false;
  }
}

function initiate() {
  try {
    rs.status();
  } catch (error) {
    if (error.codeName !== "NotYetInitialized") throw error;
    rs.initiate({ _id: "taskapi", members: [{ _id: 0, host: "mongo:27017" }] });
  }
}

function make(account) {
  if (account.user === "analyst" && !admin.getRole(reading.role)) admin.createRole(reading);
  const { user, ...rest } = account;
  if (admin.getUser(user)) admin.updateUser(user, rest);
  else admin.createUser(account);
}

const missing = accounts.filter((account) => !takes(account));
if (missing.length || !db.hello().isWritablePrimary) {
  admin.auth(MONGO_INITDB_ROOT_USERNAME, MONGO_INITDB_ROOT_PASSWORD);
  initiate();
  if (db.hello().isWritablePrimary) missing.forEach(make);
}
quit(db.hello().isWritablePrimary ? 0 : 1);
