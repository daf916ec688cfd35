// The questions of examples/ in mongosh, each a function that prints a table. Deleted tasks count in mostChangedFields alone.
// Weeks begin on Monday. Weeks, months and days are those of the time zone of the argument (default the variable ZONE, or UTC).
// The variable OWNER names a user; without it, the tasks of all users are read, which takes long if they have many: the scripts
// days_….py do not.
//
//   mongosh "$MONGODB_URI" --quiet --file examples/mongosh.js            prints all tables
//   mongosh "$MONGODB_URI" --quiet --shell --file examples/mongosh.js    goes on: cycleTime("Europe/Berlin")

const ZONE = process.env.ZONE || "UTC";
const views = db.getName() === "test" ? db.getSiblingDB("taskapi") : db; // the URI may name no database
const matching = process.env.OWNER ? { owner_id: views.v_users.findOne({ username: process.env.OWNER })._id } : {};

// Open tasks by owner and ISO week of creation. Unit: tasks.
function openTasks(zone = ZONE) {
  const week = { $dateToString: { date: "$created_at", format: "%G-W%V", timezone: zone } };
  console.table(views.v_tasks.aggregate([
    { $match: matching },
    { $match: { status: { $in: ["todo", "in_progress"] }, created_at: { $lte: new Date() } } },
    { $group: { _id: { owner: "$owner", week }, open: { $sum: 1 } } },
    { $sort: { "_id.owner": 1, "_id.week": 1 } },
    { $project: { _id: 0, owner: "$_id.owner", week: "$_id.week", open: 1 } },
  ]).toArray(), ["owner", "week", "open"]);
}

// Of the users whose first task is of a month (the cohort): which share created a task, or changed the status of one, in the
// following months. Unit: percent of the cohort; a dash stands for a month that has not begun.
function cohortRetention(zone = ZONE) {
  const month = { $dateToString: { date: "$from", format: "%Y-%m", timezone: zone } };
  const active = views.v_status_periods.aggregate([
    { $match: matching },
    { $match: { from: { $lte: new Date() } } },
    { $group: { _id: "$owner_id", months: { $addToSet: month } } },
    { $set: { cohort: { $min: "$months" } } },
    { $group: { _id: "$cohort", users: { $push: "$months" } } },
    { $sort: { _id: 1 } },
  ]).toArray();
  const thisMonth = new Intl.DateTimeFormat("sv-SE", { timeZone: zone }).format(new Date()).slice(0, 7);
  console.table(active.map(({ _id: cohort, users }) => {
    const row = { cohort, users: users.length };
    for (const number of [1, 2, 3]) {
      const later = new Date(Date.UTC(cohort.slice(0, 4), cohort.slice(5) - 1 + number)).toISOString().slice(0, 7);
      const share = 100 * users.filter((months) => months.includes(later)).length / users.length;
      row[`month_${number}`] = later <= thisMonth ? share.toFixed(1) : "-";
    }
    return row;
  }));
}

// From the first time in progress until last done, by month of completion. Unit: days; p85: 85 % of the tasks took at most so
// long (nearest rank).
function cycleTime(zone = ZONE) {
  const isBegun = { $eq: ["$status", "in_progress"] };
  const isDone = { $and: [{ $eq: ["$status", "done"] }, { $eq: ["$until", null] }] }; // and has not been reopened
  const month = { $dateToString: { date: "$done", format: "%Y-%m", timezone: zone } };
  const months = views.v_status_periods.aggregate([
    { $match: matching },
    { $group: {
      _id: "$task_id",
      begun: { $min: { $cond: [isBegun, "$from", null] } },
      done: { $max: { $cond: [isDone, "$from", null] } },
    } },
    { $match: { begun: { $ne: null }, done: { $lte: new Date() } } },
    { $group: { _id: month, days: { $push: { $divide: [{ $subtract: ["$done", "$begun"] }, 24 * 60 * 60 * 1000] } } } },
    { $sort: { _id: 1 } },
  ]).toArray();
  console.table(months.map(({ _id, days }) => {
    days.sort((one, other) => one - other);
    const share = (percent) => days[Math.ceil(days.length * percent / 100) - 1].toFixed(2);
    return { month: _id, tasks: days.length, p50: share(50), p85: share(85), p95: share(95) };
  }));
}

// Tasks that were open at the end of each of 14 days, the last one being lastDay (default the variable LAST_DAY, or today).
function burndown(zone = ZONE, lastDay = process.env.LAST_DAY) {
  lastDay = lastDay || new Intl.DateTimeFormat("sv-SE", { timeZone: zone }).format(new Date());
  const day = { $dateToString: { date: "$steps.at", format: "%Y-%m-%d", timezone: zone } };
  const steps = views.v_status_periods.aggregate([
    { $match: matching },
    { $match: { status: { $in: ["todo", "in_progress"] } } },
    { $project: { steps: [{ at: "$from", open: 1 }, { at: "$until", open: -1 }] } },
    { $unwind: "$steps" },
    { $match: { "steps.at": { $lte: new Date() } } }, // a period that has not ended closes nothing
    { $group: { _id: day, open: { $sum: "$steps.open" } } },
  ]).toArray();
  const days = [...Array(14).keys()].map((number) => {
    return new Date(Date.parse(lastDay) - (13 - number) * 24 * 60 * 60 * 1000).toISOString().slice(0, 10);
  });
  console.table(days.map((day) => {
    return { day, open: steps.filter((step) => step._id <= day).reduce((sum, step) => sum + step.open, 0) };
  }));
}

// Changes of each field, and the tasks in which it was changed at least once. Only the last 100 writes of a task are known.
function mostChangedFields() {
  console.table(views.v_task_changes.aggregate([
    { $match: matching },
    { $match: { field: { $ne: null } } },
    { $group: { _id: { field: "$field", task: "$task_id" }, changes: { $sum: 1 } } },
    { $group: { _id: "$_id.field", changes: { $sum: "$changes" }, tasks: { $sum: 1 } } },
    { $sort: { changes: -1, _id: 1 } },
    { $project: { _id: 0, field: "$_id", changes: 1, tasks: 1 } },
  ]).toArray(), ["field", "changes", "tasks"]);
}

for (const question of [openTasks, cohortRetention, cycleTime, burndown, mostChangedFields]) {
  print(question.name);
  question();
}
