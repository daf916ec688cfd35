"""The schemas of second factors."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from taskapi.core.fields import Secret, Storable, UTCDateTime


class Proof(BaseModel):
    """Your current password, as confirmation."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"password": "correct horse battery"}]})

    password: Secret


class Confirmation(BaseModel):
    """A code from the authenticator app."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"code": "492039"}]})

    code: Annotated[str, Field(max_length=20), Storable]


class Enrolment(BaseModel):
    """A second factor that you have to confirm."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
                    "uri": "otpauth://totp/taskapi:ada?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=taskapi",
                    "expires_at": "2027-01-31T09:25:00.123Z",
                }
            ]
        }
    )

    secret: Annotated[str, Field(description="For apps into which you type it.")]
    uri: Annotated[str, Field(description="For apps that scan it as a QR code.")]
    expires_at: Annotated[UTCDateTime, Field(description="When it can no longer be confirmed.")]


class RecoveryCodesMade(BaseModel):
    """Codes that replace one from the app, once each."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"recovery_codes": ["K7QX-M2VD-9RTA", "0HJC-83ZP-WN5E"]}]})

    recovery_codes: Annotated[list[str], Field(description="Shown only here. Keep them in a different place from your password.")]
