"""Routes about the service itself."""

from typing import Annotated, Literal

from fastapi import Depends, Request
from pydantic import ConfigDict, Field

from taskapi.core.fields import ReadModel
from taskapi.db.primary import PrimaryProbe
from taskapi.web.problems import responses
from taskapi.web.routing import strict_router
from taskapi.web.services import provided

router = strict_router(tags=["status"])


class Welcome(ReadModel):
    """Where to go next."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"message": "Welcome to the Task Management API", "version": "1.4.0", "links": {"tasks": "/tasks"}}]
        }
    )

    message: str = "Welcome to the Task Management API"
    version: str
    links: dict[str, str]


class Health(ReadModel):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "healthy"}]})

    status: Literal["healthy"] = "healthy"


class Readiness(ReadModel):
    """Writes succeed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ready", "events": "available"}]})

    status: Literal["ready"] = "ready"
    events: Literal["available", "unavailable"] = Field(
        description="`unavailable` if MongoDB is standalone: it cannot tell of changes."
    )


@router.get("/", summary="Welcome", response_description="The version, and links.")
async def welcome(request: Request) -> Welcome:
    """The version, and where to go next."""
    root, app = request.scope.get("root_path", ""), request.app
    places = {"tasks": "/tasks", "register": "/register", "token": "/token", "health": "/health", "ready": "/ready"}
    if app.openapi_url:
        places |= {"docs": "/docs", "redoc": "/redoc", "openapi": app.openapi_url, "live": "/live"}
    return Welcome(version=app.version, links={name: root + place for name, place in places.items()})


@router.get("/health", summary="Check liveness", response_description="The process answers.")
async def health() -> Health:
    """Whether the process answers. Checks nothing else."""
    return Health()


@router.get("/ready", summary="Check readiness", response_description="The service is ready.", responses=responses(503))
async def ready(probe: Annotated[PrimaryProbe, Depends(provided(PrimaryProbe))]) -> Readiness:
    """Whether a write would succeed now: MongoDB has a primary that reaches a majority. Answers within two seconds."""
    await probe.require_primary()
    return Readiness(events="unavailable" if probe.is_standalone else "available")
