"""Videos to prepared examples: sources, decoding, frame selection, shards. Never imports `train`.

    from data import choose_frames, prepare, open_prepared

Importing the package loads nothing; a name is loaded when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data.api import choose_frames, open_prepared, prepare

__all__ = ["choose_frames", "open_prepared", "prepare"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(
            f"module 'data' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    from data import api

    return getattr(api, name)
