"""Which layers get an adapter, for each value of `lora.targets`."""

from __future__ import annotations

import re

_LLM = r"model\.text_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
CONNECTOR = "model.connector.modality_projection.proj"
_CONNECTOR = re.escape(CONNECTOR)
_VISION = r"model\.vision_model\.encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"
LORA_TARGETS = {
    "llm": _LLM,
    "connector": _CONNECTOR,
    "llm+connector": f"{_LLM}|{_CONNECTOR}",
    "all": f"{_LLM}|{_CONNECTOR}|{_VISION}",
}
"""Regular expressions of full names: bare suffixes such as `q_proj` would also match the vision tower."""
