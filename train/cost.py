"""What a server is asked, and what it costs, told before anything is asked."""

from __future__ import annotations

from pydantic import Field

from data.config import Section
from data.errors import UserError

CHARACTERS_A_TOKEN = 4
PICTURE_TOKENS = 400
"""Of a frame, for the estimate: servers differ."""


class CostKeys(Section):
    """A server that is paid by the token."""

    base_url: str | None = Field(
        default=None, description="its server, like http://127.0.0.1:8000/v1 (null: OpenAI's)"
    )
    price_in: float | None = Field(
        default=None, ge=0, description="price of a million input tokens, for the estimate"
    )
    price_out: float | None = Field(
        default=None, ge=0, description="price of a million output tokens"
    )
    max_calls: int = Field(
        default=20_000, ge=1, description="refuse to start if more calls would be needed"
    )


def priced(
    line: str, keys: CostKeys, section: str, *, calls: int, into: int, out: int, instead: str
) -> str:
    """The line, which says what will be asked, with its price.

    Args:
        section: of the keys, in messages.
        into, out: tokens asked and answered.
        instead: what the user can do beside raising the limit.

    Raises:
        UserError: there are more calls than `max_calls`.
    """
    if keys.price_in is not None or keys.price_out is not None:
        cost = (into * (keys.price_in or 0) + out * (keys.price_out or 0)) / 1e6
        line += f", about {cost:,.2f} at the prices given"
    if calls > keys.max_calls:
        raise UserError(
            f"{line}; more than {section}.max_calls={keys.max_calls}: raise it, or {instead}"
        )
    return line
