"""Writes an episode until it is killed; run as a process of its own: endless_writer.py SESSION INDEX.

Prints the number of committed steps after each flush. Every step is written with its pictures and five arm samples.
"""

import sys
from pathlib import Path

from recording import WITH_PICTURES, arm_log, make_step

from data.episode import EpisodeWriter


def main() -> None:
    writer = EpisodeWriter.create(Path(sys.argv[1]), int(sys.argv[2]), WITH_PICTURES)
    print("started", flush=True)
    number = 0
    while True:
        for _ in range(7):
            writer.append(make_step(number, layout=WITH_PICTURES))
            writer.append_arm_log(*arm_log(5 * number, 5))
            number += 1
        writer.flush()
        print(number, flush=True)


if __name__ == "__main__":
    main()
