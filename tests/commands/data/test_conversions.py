import numpy as np
import pytest

from vgen.commands import data
from vgen.data.lerobot.dataset import LeRobotDataset
from vgen.errors import InputError
from vgen.media.writing import write_video


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in "ab":
        write_video(folder / f"{name}.mp4", np.zeros((6, 32, 48, 3), np.uint8), 10)
        (folder / f"{name}.csv").write_text("\n".join(["t,x,y,z,gripper", *(f"{k / 10},{k},0,0,1" for k in range(6))]))
    return folder


def test_a_folder_is_converted_in_shards_and_joined_and_what_was_done_is_told(clips, tmp_path, capsys):
    shards = [str(tmp_path / f"shard{number}") for number in (1, 2)]
    for number, out in enumerate(shards, 1):
        options = ["--from", str(clips), "--out", out, "--shard", f"{number}/2", "--size", "16x32", "--fps", "5"]
        data.main(["convert", "folder", *options, "--splits", "test=0.5", "--cameras", "view", "delay=0"])
    assert "1 of 1 takes, shard 2 of 2: 3 frames at 5/s" in capsys.readouterr().out
    data.main(["join", *shards, "--out", str(tmp_path / "out")])
    told = capsys.readouterr().out
    assert "2 of 2 takes: 6 frames at 5/s" in told and "splits: train 1 (of 1 group), test 1 (of 1 group)" in told
    assert LeRobotDataset(tmp_path / "out", "test").frames(0, "view").shape == (3, 16, 32, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shrad", "1/2"], "'--shrad' is not in the options of vgen data convert; nearest: '--shard'"),
        (["dely=1"], "'dely' is not in the options of folder; nearest: 'delay'"),
        (["delay=1", "delay=2"], "delay is given twice"),
        (["--size", "12"], "'12' is not HEIGHTxWIDTH, such as 12x12"),
        (["delay"], "delay is not KEY=VALUE"),
    ],
)
def test_options_that_there_are_not_are_told_the_nearest(clips, tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        data.main(["convert", "folder", *options, "--from", str(clips), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_help_lists_the_sources_and_their_options(capsys):
    with pytest.raises(SystemExit):
        data.main(["convert", "--help"])
    told = capsys.readouterr().out
    assert "\n  folder      A folder of videos" in told and "delay=VALUE: seconds" in told
