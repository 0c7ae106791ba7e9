"""Looks up the policy that the keys name: what it needs measured, and its choice."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name

from data.sample import Selection
from data.selection.config import SELECTOR_FOLDER, FrameKeys
from data.selection.known_policies import POLICIES
from data.selection.learned import selector
from data.selection.measure import transnet
from data.selection.measure.candidates import LIMIT_BYTES, Candidates
from data.selection.measure.plan import MeasurementPlan
from data.selection.measure.played import played_s
from data.selection.measure.scenedetect_feed import detector_of
from data.selection.measure.signals import Signals
from data.selection.policies.clock import by_clock
from data.video.info import VideoInfo, scaled_size

MOST_CANDIDATES = 4096  # per video, for policies that compare the candidates' pictures
THUMB_BYTES = 96 * 2**20  # memory limit of these pictures
WINDOWS = (
    6  # per frame of the budget, with one candidate each: how finely `scene` can place a frame
)
LEAST_WINDOW_S = 0.2


def select(signals: Signals, keys: FrameKeys) -> Selection:
    """The frames that the policy chooses, at most `keys.max`."""
    return choice_of(keys.policy)(signals, keys)


def choice_of(policy: str) -> Callable[[Signals, FrameKeys], Selection]:
    """The function of a policy; imports only the module of that policy."""
    choose: Callable[[Signals, FrameKeys], Selection] = resolve_name(
        f"data.selection.policies.{POLICIES[policy].choose}"
    )
    return choose


def check_policy(keys: FrameKeys) -> FrameKeys:
    """Check, before any video is opened, what would fail on every video. Returns the keys with the hash of the
    selector that they name.

    Raises:
        UserError: the encoder, the selector or TransNetV2 cannot be loaded, or the detector does not have a
            given parameter.
    """
    measures = POLICIES[keys.policy].measures
    if keys.needs_transnet():
        transnet.build()
    if keys.needs_selector():
        found = selector.selector_of(keys)
        for part in keys.needed_parts():
            found.require(part)
        if keys.selector is not None:  # the shipped one is known by the version of the policies
            keys = keys.model_copy(update={"selector_sha256": found.sha256})
    if measures == "cuts":
        detector_of(keys)
    if measures == "features":
        from data.selection.measure import encoders

        encoders.load(str(keys.encoder))
        if keys.query is not None:
            encoders.query_vector(str(keys.encoder), keys.query)
    return keys


def selector_files(keys: FrameKeys) -> dict[str, bytes]:
    """Path in a dataset or a run → content: the selector that the frame policy names, which travels with it."""
    if not keys.needs_selector() or keys.selector is None:
        return {}
    files = selector.selector_of(keys).files
    return {f"{SELECTOR_FOLDER}/{name}": content for name, content in files.items()}


def plan_for(
    keys: FrameKeys, info: VideoInfo, *, keep: bool = True, part_s: float | None = None
) -> MeasurementPlan:
    """What the policy needs measured on this video.

    Args:
        keep: also keep pictures of the candidates, at their final size.
        part_s: the policy will choose from parts of at most this length; None: from the whole video.

    Raises:
        UserError: the encoder cannot be loaded.
    """
    policy, length_s = POLICIES[keys.policy], part_s or float(played_s(info.times_s)[-1])
    num_frames = len(info.times_s) if part_s is None else len(info.times_s) * part_s / info.shown_s
    keep_px = keys.px if keep else 0
    width, height = scaled_size(info.width_px, info.height_px, short_px=keys.px)
    room = max(1, LIMIT_BYTES // (width * height * 3 // 2))  # YUV 4:2:0 pictures that fit in memory
    scores = transnet.TransitionScores() if keys.needs_transnet() else None
    if policy.candidates == "clearest":
        windows = min(WINDOWS * keys.max, room // 2)  # half: shots open windows of their own
        window_s = max(LEAST_WINDOW_S, length_s / max(windows, 2 * keys.max))
        if num_frames <= min(2 * keys.max, room // 2):  # few frames: each is a candidate
            window_s = 0.0
        clearest = Candidates("clearest", window_s=window_s, keep_px=keep_px)
        return MeasurementPlan(clearest, transnet=scores)
    if policy.candidates == "clock":  # if not every frame decodes, pictures not kept are fetched
        if (
            part_s is not None
        ):  # where a part ends, and so its clock, is known only after its decode
            return MeasurementPlan(Candidates("known"))
        known_s = info.times_s[by_clock(info.times_s, info.shown_s, keys)]
        return MeasurementPlan(Candidates("known", known_s=known_s, keep_px=keep_px))
    vectors = keys.method == "vectors"  # they describe consecutive frames: none may be left out
    if policy.candidates != "ticks" or vectors:
        if policy.candidates == "key frames":
            num_frames *= len(info.key_times_s) / len(info.times_s)
        return MeasurementPlan(
            Candidates("all", keep_px=keep_px if num_frames <= room else 0),
            detector=detector_of(keys) if policy.measures == "cuts" else None,
            transnet=scores,
            vectors=vectors,
        )
    most = min(MOST_CANDIDATES, THUMB_BYTES // keys.size**2)
    step_s = max(1 / keys.candidate_fps, length_s / most)
    ticks = Candidates("ticks", window_s=step_s, keep_px=keep_px)
    if policy.measures == "features":
        from data.selection.measure import encoders  # imports torch and transformers: slow

        encoder = encoders.load(str(keys.encoder))
        text = None
        if keys.query is not None:
            text = encoders.query_vector(str(keys.encoder), keys.query)
        return MeasurementPlan(ticks, encode=encoder.images, picture_px=encoder.short_px, text=text)
    return MeasurementPlan(ticks, thumb_px=keys.size if policy.measures == "thumbs" else None)
