"""The keys of scripts/doctor.py."""

from __future__ import annotations

from pydantic import Field

from data.config import Section


class DoctorConfig(Section):
    """Keys of scripts/doctor.py."""

    recipes: bool = Field(default=True, description="plan each recipe for this GPU: a minute")
