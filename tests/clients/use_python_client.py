"""What openapi-python-client makes of the OpenAPI document, used against a running server."""

import json
import sys

from taskapi_client import AuthenticatedClient, Client
from taskapi_client.api.auth import register, sign_in
from taskapi_client.api.bulk import change_in_bulk
from taskapi_client.api.export_and_import import export_tasks, import_tasks
from taskapi_client.api.tasks import create_task, list_tasks, update_task
from taskapi_client.models import (
    Bulk,
    CreateTask,
    DeleteTask,
    ImportReport,
    OperationError,
    Problem,
    Status,
    TaskCreate,
    TaskImport,
    TaskRead,
    TaskUpdate,
    Token,
    TokenRequest,
    UpdateTask,
    UserCreate,
    UserRead,
)

server, username = sys.argv[1:]
PASSWORD = "correct horse battery"

anonymous = Client(server)
account = register.sync(client=anonymous, body=UserCreate(username=username, password=PASSWORD))
assert isinstance(account, UserRead)
token = sign_in.sync(client=anonymous, body=TokenRequest(username=username, password=PASSWORD))
assert isinstance(token, Token)
client = AuthenticatedClient(server, token=token.access_token)

made = create_task.sync_detailed(client=client, body=TaskCreate(title="Order paper", tags=["office"], priority=4))
task = made.parsed
assert isinstance(task, TaskRead)
assert made.headers["Location"] == f"/tasks/{task.id}"
assert task.due_date is None

listed = list_tasks.sync(client=client, tag="office", where=json.dumps({"priority": {"$gte": 4}}))
assert isinstance(listed, list)
assert [(found.id, found.title) for found in listed] == [(task.id, "Order paper")]

changed = update_task.sync(task.id, client=client, body=TaskUpdate(status=Status.IN_PROGRESS), if_match='"1"')
assert isinstance(changed, TaskRead)
assert changed.version == 2
late = update_task.sync_detailed(task.id, client=client, body=TaskUpdate(priority=1), if_match='"1"')
assert isinstance(late.parsed, Problem)
assert (late.parsed.error, late.headers["ETag"]) == ("precondition_failed", '"2"')

results = change_in_bulk.sync(
    client=client,
    body=Bulk(
        [
            CreateTask("create", TaskCreate("Order ink")),
            UpdateTask(task.id, "update", TaskUpdate(completed=True), version=2),
            DeleteTask("65f1a2b3c4d5e6f708192a3b", "delete"),
        ]
    ),
)
assert isinstance(results, list)
assert [result.status for result in results] == [201, 200, 404]
assert isinstance(results[2].error, OperationError)
assert results[2].error.error == "not_found"

report = import_tasks.sync(client=client, body=[TaskImport("From another tool", key="a-1"), TaskImport("ab")])
assert isinstance(report, ImportReport)
assert (report.created, report.failed, report.errors[0].field) == (1, 1, "title")

exported = export_tasks.sync(client=client, sort="title")
assert isinstance(exported, str)
titles = [json.loads(line)["title"] for line in exported.splitlines()]
assert titles == ["From another tool", "Order ink", "Order paper"]

wrong = create_task.sync(client=client, body=TaskCreate("ab"))
assert isinstance(wrong, Problem)
assert wrong.error == "validation_error"
assert wrong.details
assert [detail.field for detail in wrong.details] == ["title"]
