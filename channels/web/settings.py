"""What can be set for a web chat."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, field_validator

from channels.settings import ChannelSettings, Route

RESERVED = {"ws", "say", "poll", "file", "static", "mail", "out", "theme"}


class Settings(ChannelSettings):
    """One `[channels.NAME]` table with `kind = "web"`. Without `staff_channel` there is no staff page."""

    title: str = Field(default="", max_length=80)  # heads the chat; the desk's name when empty
    accent: str = Field(default="#3056d3", pattern=r"^#[0-9a-fA-F]{6}$")
    allowed_origins: tuple[str, ...] = ()  # websites that may embed the chat: "https://shop.example"
    max_upload_mb: float = Field(default=10, gt=0, le=100)
    path_prefix: str = Field(
        default="", pattern=r"^[a-z0-9-]{0,40}$"
    )  # "shop" answers /chat/shop, /staff/shop
    messages_per_minute: int = Field(default=60, ge=1)  # a visitor or a staff person
    address_per_minute: int = Field(default=150, ge=1)  # all who come from one network address
    forwarded_header: str = ""  # behind a proxy: the header that names the client ("X-Forwarded-For")
    visitor_days: int = Field(default=180, ge=1, le=400)  # how long a browser is remembered
    demo: bool = False  # serve /demo: both pages side by side
    hints: tuple[str, ...] | Mapping[str, tuple[str, ...]] = ()  # for /demo: things to try, also by language

    @field_validator("path_prefix")
    @classmethod
    def _free(cls, value: str) -> str:
        if value in RESERVED:
            raise ValueError(f'"{value}" is a path of the chat itself')
        return value

    @field_validator("routes")
    @classmethod
    def _one_room(cls, value: tuple[Route, ...]) -> tuple[Route, ...]:
        if value:
            raise ValueError("the staff's page has one room; routes are for Slack and Telegram")
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            scheme, _, host = origin.partition("://")
            if scheme not in ("http", "https") or not host or any(c in host for c in "/;,'\" \t\r\n"):
                raise ValueError(f'"{origin}" is not an origin such as https://shop.example')
        return value

    def hints_by_language(self) -> dict[str, list[str]]:
        """The hints as {"en": […]}; hints without a language stand under ""."""
        if isinstance(self.hints, Mapping):
            return {language: list(hints) for language, hints in self.hints.items()}
        return {"": list(self.hints)} if self.hints else {}
