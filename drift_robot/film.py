"""A short film of an intervention: both cameras, and who drives, as a GIF that plays anywhere."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.schema import Owner
from drift_robot.lockstep import EpisodeLog
from hardware.cell.rendering import Renderer
from hardware.cell.task import Task

HEIGHT, WIDTH, BAR = 240, 320, 34
COLOURS = {Owner.LEARNER: "#1f6feb", Owner.TRANSITION: "#d1570a", Owner.EXPERT: "#d1570a"}
WORDS = {Owner.LEARNER: "policy drives", Owner.TRANSITION: "expert takes over", Owner.EXPERT: "expert corrects"}
FRAME_MS = 100
LAST_FRAME_MS = 1500


def most_telling(logs: list[EpisodeLog]) -> EpisodeLog | None:
    """Return the episode with an intervention in which the learner drove the most before and after, or None."""
    intervened = [log for log in logs if log.intervened and log.expert_labels]
    return max(intervened, key=lambda log: min(log.expert_labels, len(log.steps) - log.expert_labels), default=None)


def film_intervention(task: Task, log: EpisodeLog, path: Path) -> None:
    """Render an episode and write it as a GIF."""
    renderer = Renderer(task)
    font = ImageFont.load_default(size=18)
    frames = []
    try:
        for index, step in enumerate(log.steps):
            pictures = [renderer.render(log.states[index], camera, HEIGHT, WIDTH) for camera in ("front", "wrist")]
            frame = Image.new("RGB", (2 * WIDTH, HEIGHT + BAR), COLOURS[step.owner])
            frame.paste(Image.fromarray(np.hstack(pictures)), (0, BAR))
            draw = ImageDraw.Draw(frame)
            draw.text((10, BAR // 2), WORDS[step.owner], "white", font, anchor="lm")
            words = f"version {step.version}   {index / 10:.1f} s" if step.version >= 0 else f"{index / 10:.1f} s"
            draw.text((2 * WIDTH - 10, BAR // 2), words, "white", font, anchor="rm")
            frames.append(frame.quantize(128, dither=Image.Dither.NONE))
    finally:
        renderer.close()
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True)
