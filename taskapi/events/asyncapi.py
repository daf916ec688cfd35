"""The AsyncAPI document: the messages of ``/events/ws``, as the OpenAPI document has the routes."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.responses import JSONResponse

from taskapi.events.routes.socket import PATH, SUBPROTOCOL
from taskapi.events.socket.closing import MEANING
from taskapi.events.socket.messages import CLIENT, SERVER
from taskapi.web.json_schema import COMPONENT
from taskapi.web.routing import strict_router

Json = dict[str, Any]

URL: Final = "/asyncapi.json"
VERSION: Final = "3.0.0"
CHANNEL: Final = "events"
DESCRIPTION: Final = (
    "Changes of your tasks as they happen, over WebSocket. Send your token in one of these ways: as the first message "
    f"(`authenticate`), as the second subprotocol after `{SUBPROTOCOL}`, as `Authorization: Bearer …`, or as a ticket of "
    "`POST /events/tickets` in the query. Each message is a JSON object of at most 64 KiB. `/openapi.json` describes the routes, "
    "among them `GET /events/stream`, which tells the same as server-sent events."
)
ANSWERS: Final[Mapping[str, tuple[str, ...]]] = {
    "authenticate": ("ready", "error"),
    "subscribe": ("subscribed", "reset", "error"),
    "unsubscribe": ("unsubscribed", "error"),
    "ack": ("acknowledged", "error"),
    "ping": ("pong",),
}
UNASKED: Final = ("event", "reset", "heartbeat", "error")
SECURITY_SCHEMES: Final[Json] = {
    "token": {"type": "http", "scheme": "bearer", "description": "An access token or an API token with the scope `tasks:read`."},
    "ticket": {"type": "httpApiKey", "in": "query", "name": "ticket", "description": "A ticket of `POST /events/tickets`."},
}


def install(app: FastAPI) -> None:
    """Serves the document beside the OpenAPI one. It is created once; only the address of the server depends on the request."""
    documents = strict_router(include_in_schema=False)
    unaddressed = describe(app.title, app.version)

    @documents.get(URL, response_class=JSONResponse)
    async def asyncapi(request: Request) -> JSONResponse:
        secure = request.url.scheme == "https"
        server = {
            "host": request.url.netloc,
            "protocol": "wss" if secure else "ws",
            "pathname": request.scope.get("root_path", "") or "/",
            "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in SECURITY_SCHEMES],
        }
        return JSONResponse({**unaddressed, "servers": {"this": server}})

    app.router.routes.extend(documents.routes)


def describe(title: str, version: str) -> Json:
    """The document, without its servers."""
    messages = {**CLIENT, **SERVER}
    return {
        "asyncapi": VERSION,
        "info": {"title": title, "version": version, "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {
            CHANNEL: {
                "address": PATH,
                "title": "Your events",
                "description": f"It ends with one of these close codes.\n\n{_close_codes()}",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {
                    "ws": {
                        "method": "GET",
                        "query": {
                            "type": "object",
                            "properties": {"ticket": {"type": "string", "description": "In place of a token."}},
                        },
                        "bindingVersion": "0.1.0",
                    }
                },
                "x-close-codes": {str(int(code)): meaning for code, meaning in MEANING.items()},
            }
        },
        "operations": {
            **{name: _operation("receive", [name], model, ANSWERS[name]) for name, model in CLIENT.items()},
            "tell": {**_operation("send", UNASKED), "summary": "Events of your subscriptions, and what has become of them."},
        },
        "components": {
            "messages": {name: _message(name, model) for name, model in messages.items()},
            "schemas": _schemas(),
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _schemas() -> Json:
    """The JSON Schemas of the payloads by the names of their models, with those that they refer to."""
    received: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for model in CLIENT.values()]
    sent: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "serialization") for model in SERVER.values()]
    _, definitions = models_json_schema([*received, *sent], ref_template=COMPONENT)
    found: Json = definitions["$defs"]
    return found


def _message(name: str, model: type[BaseModel]) -> Json:
    return {
        "name": name,
        "title": model.__name__,
        "summary": _summary(model),
        "payload": {"$ref": COMPONENT.format(model=model.__name__)},
    }


def _operation(action: str, names: Iterable[str], model: type[BaseModel] | None = None, answers: Iterable[str] = ()) -> Json:
    channel = {"$ref": f"#/channels/{CHANNEL}"}
    operation: Json = {"action": action, "channel": channel, "messages": _references(names)}
    if model is not None:
        operation |= {"summary": _summary(model), "reply": {"channel": channel, "messages": _references(answers)}}
    return operation


def _references(names: Iterable[str]) -> list[Json]:
    return [{"$ref": f"#/channels/{CHANNEL}/messages/{name}"} for name in names]


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip()


def _close_codes() -> str:
    return "\n".join(["| code | meaning |", "| --- | --- |", *(f"| {int(code)} | {text} |" for code, text in MEANING.items())])
