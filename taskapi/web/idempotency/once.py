"""Stores what a request does and its answer in one transaction: a repeat gets the answer, or finds nothing done."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from taskapi.db.connection import Session
from taskapi.web.idempotency.service import Answer, IdempotencyService, KeyedRun
from taskapi.web.request_state import state_of
from taskapi.web.services import services_of


def earlier_answer(request: Request) -> bytes | None:
    """The body of the answer of an earlier run of the request that was left unfinished."""
    run = state_of(request).keyed_run
    return run.reservation.earlier if isinstance(run, KeyedRun) else None


async def answer_once(
    request: Request, work: Callable[[Session | None], Awaitable[Response]], *, atomic: bool = False
) -> Response:
    """Runs ``work``, and if the request has a key, in a transaction that also records the response.

    MongoDB may have the transaction run again. On a standalone server there is none, and a kill can leave what was done
    without the record.

    Raises:
        TransactionsUnsupported: ``work`` is ``atomic``, so needs a transaction anyway, and MongoDB is a standalone server.
        IdempotencyInFlight: another run of the request has its key. Nothing was changed.
    """
    service, run = services_of(request)[IdempotencyService], state_of(request).keyed_run
    if not isinstance(run, KeyedRun):
        return await (service.records.transaction(work, required=True) if atomic else work(None))
    reservation = run.reservation

    async def work_and_record(session: Session | None) -> Response:
        run.is_in_transaction = session is not None
        try:
            await service.extend(reservation, session)
            response = await work(session)
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers]
            await service.record(reservation, Answer(response.status_code, headers, bytes(response.body)), session)
        finally:
            run.is_in_transaction = False
        return response

    response = await service.records.transaction(work_and_record, required=atomic)
    run.is_recorded = True
    return response
