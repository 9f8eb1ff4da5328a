"""Uploads: resumable, in chunks of any size."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from vsr.web.errors import ERRORS
from vsr.web.services import ServicesDep
from vsr.web.uploads import NewUpload, Upload

router = APIRouter(tags=["uploads"], responses=ERRORS)
_CHUNK = {
    "requestBody": {
        "required": True,
        "description": "The bytes from the offset on, as many as the client likes",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("/uploads")
async def list_uploads(services: ServicesDep) -> list[Upload]:
    """List uploads, the newest first."""
    return services.uploads.all()


@router.post("/uploads", status_code=201)
async def create_upload(services: ServicesDep, new: NewUpload) -> Upload:
    """Announce a file; send its bytes by PATCH."""
    return await services.uploads.create(new)


@router.get("/uploads/{upload}")
async def get_upload(services: ServicesDep, upload: str, response: Response) -> Upload:
    """Return an upload: `offset` is where to resume after a break."""
    found = services.uploads.get(upload)
    response.headers["upload-offset"] = str(found.offset)
    return found


@router.head("/uploads/{upload}", response_class=Response)
async def head_upload(services: ServicesDep, upload: str) -> Response:
    """Return the offset in the header `Upload-Offset`."""
    found = services.uploads.get(upload)
    return Response(headers={"upload-offset": str(found.offset)})


@router.patch("/uploads/{upload}", openapi_extra=_CHUNK)
async def append_chunk(
    services: ServicesDep,
    upload: str,
    request: Request,
    response: Response,
    upload_offset: Annotated[int, Header(ge=0, le=2**62)],
) -> Upload:
    """Append the bytes of the body at `Upload-Offset`; 409 where that isn't the next byte."""
    found = await services.uploads.append(upload, upload_offset, _chunks(request))
    response.headers["upload-offset"] = str(found.offset)
    return found


@router.delete("/uploads/{upload}", status_code=204)
async def delete_upload(services: ServicesDep, upload: str) -> None:
    """Remove an upload and its file, unless an unfinished job reads it."""
    file = services.uploads.get(upload).file
    if file is not None:
        services.queue.check_unused(file)
    await services.uploads.delete(upload)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        if chunk:
            yield chunk
