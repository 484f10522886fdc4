"""Are exports what LeRobot, robomimic and diffusion_policy read? Compares every frame, in their own environments.

    python benchmarks/exchange_libraries.py SESSION --lerobot PYTHON --robomimic PYTHON --zarr2 PYTHON

Each PYTHON is an interpreter with that library (pip install lerobot==0.4.4; robomimic==0.3.0; 'zarr<3', which is what
diffusion_policy's ReplayBuffer calls). They see an export and the expected rows, and nothing of ours.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from data.episode import Episode
from data.exchange.exporting import export
from data.exchange.formats import Format, exporter
from data.exchange.table import blocks
from data.session import Session

LEROBOT = """
import os, sys; os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
data, expected = LeRobotDataset("local/export", root=sys.argv[1], video_backend=sys.argv[3]), np.load(sys.argv[2])
assert len(data) == len(expected["action"]), len(data)
worst = {}
for k in range(len(data)):
    item = data[k]
    for name in expected.files:
        if name in ("ends", "outcomes"):
            continue
        got, want = item[name].numpy(), expected[name][k]
        if name.startswith("observation.images."):
            worst[name] = max(worst.get(name, 0), np.abs(255 * got.transpose(1, 2, 0) - want).mean())
        else:
            np.testing.assert_array_equal(got.reshape(np.shape(want)), want, err_msg=name)
assert item["task"]
print("lerobot:", len(data), "frames, numbers equal; worst mean error of a picture", worst)
stats = data.meta.stats["action"]["mean"]
np.testing.assert_allclose(stats, expected["action"].mean(0), atol=1e-6)
"""

ROBOMIMIC = """
import sys
import numpy as np
import robomimic.utils.file_utils as files, robomimic.utils.obs_utils as observations
from robomimic.utils.dataset import SequenceDataset
expected = np.load(sys.argv[2])
obs = [name[4:] for name in expected.files if name.startswith("obs/")]
rgb = [name for name in obs if name.endswith("_image")]
low = [name for name in obs if name not in rgb]
observations.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": low, "rgb": rgb}})
keys = ["actions", "rewards", "dones", "intervention", "drift.owner"]
data = SequenceDataset(sys.argv[1], obs, keys, seq_length=1, load_next_obs=False, hdf5_use_swmr=False)
assert len(data) == len(expected["actions"])
for k in range(len(data)):
    item = data[k]
    for name in obs:
        got, want = np.asarray(item["obs"][name][0]), expected["obs/" + name][k]
        np.testing.assert_array_equal(got, want, err_msg=name)
    for name in ("actions", "intervention", "drift.owner"):
        np.testing.assert_array_equal(np.ravel(item[name][0]), np.ravel(expected[name][k]), err_msg=name)
    assert item["dones"][0] == (k + 1 in expected["ends"])
print("robomimic:", len(data), "frames equal; env", files.get_env_metadata_from_dataset(sys.argv[1])["env_name"])
"""

REPLAY_BUFFER = """
import sys
import numpy as np, zarr
root, expected = zarr.open(sys.argv[1], "r"), np.load(sys.argv[2])
meta = {key: value[:] for key, value in root["meta"].items()}
data = {key: root["data"][key][:] for key in root["data"].keys()}
np.testing.assert_array_equal(meta["episode_ends"], expected["ends"])
for name in data:
    np.testing.assert_array_equal(data[name], expected[name], err_msg=name)
print("zarr", zarr.__version__, len(data["action"]), "frames equal, columns", len(data))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("session", type=Path)
    parser.add_argument("--lerobot", type=Path)
    parser.add_argument("--robomimic", type=Path)
    parser.add_argument("--zarr2", type=Path)
    parser.add_argument("--video-backend", default="torchcodec", help="of LeRobot (default %(default)s)")
    options = parser.parse_args()
    checks = (
        (Format.LEROBOT, options.lerobot, LEROBOT),
        (Format.ROBOMIMIC, options.robomimic, ROBOMIMIC),
        (Format.DIFFUSION_POLICY, options.zarr2, REPLAY_BUFFER),
    )
    with tempfile.TemporaryDirectory() as scratch:
        for kind, python, code in checks:
            if python is None:
                print(f"{kind.value}: no interpreter given, not checked")
                continue
            writer = exporter(kind)
            path = Path(scratch) / kind.value
            export(options.session, writer, path, lambda done, total, words: None)
            episodes = [Episode.open(episode) for episode in Session.open(options.session).episodes()]
            rows = [block for episode in episodes for block in blocks(episode, writer.names)]
            columns = {name: np.concatenate([block[name] for block in rows]) for name in rows[0]}
            ends = np.cumsum([episode.steps for episode in episodes])
            np.savez(path.with_suffix(".npz"), ends=ends, **columns)
            words = [python, "-c", code, path, path.with_suffix(".npz"), options.video_backend]
            subprocess.run(list(map(str, words)), check=True)


if __name__ == "__main__":
    main()
