"""How the API describes itself in its OpenAPI document: its introduction, and its groups of routes in order of use."""

from typing import Any

DESCRIPTION = (
    "Tasks with owners, due dates, checklists and free-form metadata. Create an account with `/register`, sign in with `/token` "
    "(or with the button Authorize), then send the token with every request."
)
CONTACT = {"name": "The operator of this server"}
TAGS: list[dict[str, Any]] = [
    {"name": "auth", "description": "Register, sign in, refresh and revoke tokens, reset a forgotten password."},
    {"name": "tasks", "description": "Create, read, list, search, change and delete your tasks."},
    {"name": "checklist", "description": "The checklist of a task, item by item."},
    {"name": "history", "description": "Who changed a task and how; revert to an earlier version."},
    {"name": "trash", "description": "Deleted tasks: restore them, or erase them before they expire."},
    {"name": "bulk", "description": "Many tasks in one request: a list of operations, or one change to all that match a filter."},
    {"name": "events", "description": "Changes of your tasks as they happen; over WebSocket, see `/asyncapi.json`."},
    {"name": "statistics", "description": "Numbers about your tasks, as JSON and CSV."},
    {"name": "webhooks", "description": "Have what happens to your tasks sent to a server of yours."},
    {"name": "export and import", "description": "Export all your tasks, and import tasks from other programs."},
    {
        "name": "users",
        "description": "Your account: its data and address, sessions, API tokens, second factor, security events, deletion.",
    },
    {"name": "admin", "description": "All accounts and security events; for admins."},
    {"name": "status", "description": "Whether the service and its database answer."},
]
