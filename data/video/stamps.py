"""Repairs packet timestamps as the packets are demuxed, before anything uses them.

Both the scan of a file and its decoding use this, so they agree on each frame's timestamp.
"""

from __future__ import annotations

import av

RESTARTS = ("mpegts", "mpeg")
"""Containers that recorders and broadcasters join end to end: a jump of the timestamps is no real gap."""
LEAP_S = 10.0
"""In `RESTARTS`: a jump ahead by more than this is a new recording (FFmpeg's own limit)."""
BACK_S = 0.1
"""A decoding timestamp (DTS) that goes back by more than this starts a new recording; DTS should increase."""
UNSTAMPED = ("avi", "h264", "hevc", "m4v", "mpegvideo", "mjpeg", "obu")
"""Containers that number packets in storage order, not in presentation order: with B-frames that is wrong."""


class Clock:
    """Repairs the timestamps of one stream: a joined recording continues where the one before it ended."""

    def __init__(self, container: av.container.InputContainer, stream: av.stream.Stream):
        base = stream.time_base
        self._leap = self._back = None
        if base is not None:
            self._back = int(BACK_S / base)
            if container.format.name in RESTARTS:
                self._leap = int(LEAP_S / base)
        self._offset = 0
        self._last: int | None = None
        """Repaired DTS of the last packet."""
        self._next: int | None = None
        """Repaired DTS that the next packet should have."""
        self._end = 0
        """Repaired end of the frame that is shown last so far."""
        self._step = 0
        """DTS difference of two packets, used where the container does not give frame durations."""
        self.restarts = 0

    def set_right(self, packet: av.Packet) -> None:
        """Repair the packet's timestamps in place: relative to the first recording's clock."""
        if packet.dts is not None and self._back is not None:
            dts = packet.dts + self._offset
            ahead = 0 if self._next is None else dts - self._next
            if ahead < -self._back or (self._leap is not None and ahead > self._leap):
                first = packet.dts if packet.pts is None else packet.pts
                # its first frame starts where the last frame of the recording before it ended
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
