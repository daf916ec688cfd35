"""Routes of one's own second factor."""

from taskapi.auth.dependencies import HoldersSession, Tools
from taskapi.events.dependencies import CallerTrail
from taskapi.problems import responses
from taskapi.routing import router as strict_router
from taskapi.twofactor import service
from taskapi.twofactor.schemas import Confirmation, Enrolment, Proof, RecoveryCodes

router = strict_router(prefix="/users/me/two-factor", tags=["users"])

PROBLEMS = responses(400, 401, 403, 409, 413, 415, 422)


@router.post("", status_code=201, responses=PROBLEMS)
async def begin_two_factor(data: Proof, caller: HoldersSession, tools: Tools, trail: CallerTrail) -> Enrolment:
    """Begin with a second factor: give the secret to an authenticator, then confirm it within ten minutes."""
    return await service.begin(caller.user, data.password, tools.prover(caller.session, trail), tools.seals)


@router.post("/confirm", responses=PROBLEMS)
async def confirm_two_factor(data: Confirmation, caller: HoldersSession, tools: Tools, trail: CallerTrail) -> RecoveryCodes:
    """Turn the second factor on with a code of the authenticator: from now on signing in takes one in the field `otp`."""
    return await service.confirm(caller.user, data.code, trail, tools.seals)


@router.post("/recovery-codes", status_code=201, responses=PROBLEMS)
async def renew_recovery_codes(data: Proof, caller: HoldersSession, tools: Tools, trail: CallerTrail) -> RecoveryCodes:
    """Make ten new recovery codes; those from before are worth nothing from now on."""
    return await service.renew_recovery_codes(caller.user, data.password, tools.prover(caller.session, trail), trail, tools.seals)


@router.post("/disable", status_code=204, responses=PROBLEMS)
async def disable_two_factor(data: Proof, caller: HoldersSession, tools: Tools, trail: CallerTrail) -> None:
    """Turn the second factor off: signing in takes the password alone."""
    await service.disable(caller.user, data.password, tools.prover(caller.session, trail), trail)
