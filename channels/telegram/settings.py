"""What `[channels.NAME]` of kind "telegram" may say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from channels.settings import ChannelSettings, Verb

REACTIONS: Mapping[str, Verb] = {"👀": "take"}
SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")  # setWebhook.secret_token


class Settings(ChannelSettings):
    model_config = ConfigDict(hide_input_in_errors=True)  # the input holds the token

    kind: Literal["telegram"] = "telegram"
    token: SecretStr
    api_base: str = "https://api.telegram.org"  # or a Bot API server of one's own
    mode: Literal["polling", "webhook"] = "polling"
    webhook_secret: SecretStr = SecretStr("")
    username: str = ""  # the bot's; asked for with getMe, needed here only while that is not possible
    poll_timeout_s: int = Field(default=30, ge=0, le=50)  # how long one getUpdates waits for something
    request_timeout_s: float = Field(default=20.0, gt=0, le=300)
    messages_per_s: float = Field(default=28.0, gt=0, le=1000)  # over all chats; Telegram allows about 30
    group_per_minute: int = Field(default=20, ge=1, le=1000)  # to one group; Telegram allows about 20
    reactions: Mapping[str, Verb] = Field(default_factory=lambda: REACTIONS)
    group_messages: Literal["addressed", "all"] = "addressed"  # groups: only what names or answers the bot

    @field_validator("token")
    @classmethod
    def _one_word(cls, token: SecretStr) -> SecretStr:
        if not re.fullmatch(r"[!-.0-~]+", token.get_secret_value()):
            raise ValueError("a Telegram token is one word of the form 123456:ABC")
        return token

    @field_validator("api_base")
    @classmethod
    def _a_url(cls, base: str) -> str:
        if not re.match(r"https?://[^/]", base):
            raise ValueError("api_base must begin with https:// or http://")
        return base.rstrip("/")

    @model_validator(mode="after")
    def _secret_for_webhook(self) -> Settings:
        secret = self.webhook_secret.get_secret_value()
        if self.mode == "webhook" and not secret:
            raise ValueError('mode = "webhook" needs a webhook_secret')
        if secret and not SECRET.fullmatch(secret):
            raise ValueError("webhook_secret may hold letters, digits, _ and - only")
        return self
