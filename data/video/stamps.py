"""Packets' time stamps put right, as they come out of a file, before anything believes them.

The scan of a file and its decoding both go through here, and so agree on when each frame is shown.
"""

from __future__ import annotations

import av

RESTARTS = ("mpegts", "mpeg")
"""Containers that recorders and broadcasters join end to end: a leap of their clock is no time that passes."""
LEAP_S = 10.0
"""In these, ahead; FFmpeg's own limit."""
BACK_S = 0.1
"""A stamp that goes back so far, where each should be later than the one before, is of another clock."""
UNSTAMPED = ("avi", "h264", "hevc", "m4v", "mpegvideo", "mjpeg", "obu")
"""Containers that number packets as they are stored, not as they are shown: with B-frames the number is wrong."""


class Clock:
    """One stream's. A recording that was joined to another goes on where that ended."""

    def __init__(self, container: av.container.InputContainer, stream: av.stream.Stream):
        base = stream.time_base
        self._leap = self._back = None
        if base is not None:
            self._back = int(BACK_S / base)
            if container.format.name in RESTARTS:
                self._leap = int(LEAP_S / base)
        self._offset = 0
        self._last: int | None = None
        """The decoding time of the last packet, on the clock so far."""
        self._next: int | None = None
        """That which the next should have."""
        self._end = 0
        """When the last of what came so far is shown to its end, on that clock."""
        self._step = 0
        """From one packet to the next: not every container says how long a frame is shown."""
        self.restarts = 0

    def set_right(self, packet: av.Packet) -> None:
        """Move the packet's stamps onto the first packet's clock, in place."""
        if packet.dts is not None and self._back is not None:
            dts = packet.dts + self._offset
            ahead = 0 if self._next is None else dts - self._next
            if ahead < -self._back or (self._leap is not None and ahead > self._leap):
                first = packet.dts if packet.pts is None else packet.pts
                # what is shown first there, right after what was shown last here
                self._offset = self._end - first
                self.restarts += 1
            elif self._last is not None and dts > self._last:
                self._step = dts - self._last
            self._last = packet.dts + self._offset
            self._next = self._last + (packet.duration or 0)
        if self._offset:
            packet.dts = None if packet.dts is None else packet.dts + self._offset
            packet.pts = None if packet.pts is None else packet.pts + self._offset
        shown = packet.dts if packet.pts is None else packet.pts
        if shown is not None:
            self._end = max(self._end, shown + (packet.duration or self._step))
