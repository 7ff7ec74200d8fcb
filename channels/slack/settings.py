"""The `[channels.NAME]` table of kind "slack"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator, model_validator

from channels.settings import ChannelSettings, Verb

REACTIONS: Mapping[str, Verb] = {"eyes": "take", "white_check_mark": "close", "ticket": "open"}


class Settings(ChannelSettings):
    """With `app_token` events come by Socket Mode, without it by HTTP signed with `signing_secret`."""

    kind: Literal["slack"] = "slack"
    bot_token: str = Field(min_length=1)
    refresh_token: str = ""  # with token rotation: bot_token is the first, and exchanged by itself
    client_id: str = ""
    client_secret: str = ""
    app_token: str = ""
    signing_secret: str = ""
    api_base: str = "https://slack.com/api/"
    posts_per_s: float = Field(default=1.0, gt=0)  # to one room; Slack allows about one, with short bursts
    reactions: Mapping[str, Verb] = Field(default_factory=lambda: REACTIONS)
    call_timeout_s: float = Field(default=20.0, gt=0, le=300)  # how long one call may take

    @field_validator(
        "bot_token",
        "refresh_token",
        "client_id",
        "client_secret",
        "app_token",
        "signing_secret",
        mode="after",
    )
    @classmethod
    def _no_blanks(cls, value: str) -> str:
        return value.strip()

    @field_validator("api_base", mode="after")
    @classmethod
    def _trailing_slash(cls, value: str) -> str:
        return value if value.endswith("/") else value + "/"

    @model_validator(mode="after")
    def _one_transport(self) -> Settings:
        if not self.app_token and not self.signing_secret:
            raise ValueError("signing_secret is required without app_token")
        rotation = (self.refresh_token, self.client_id, self.client_secret)
        if any(rotation) and not all(rotation):
            raise ValueError("token rotation needs refresh_token, client_id and client_secret")
        return self
