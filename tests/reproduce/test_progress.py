import time

import pytest

from vgen.errors import InputError
from vgen.reproduce.progress import Progress, allot

SHARES = {"codec": 0.25, "hand": 0.5, "state": 0.25}


def test_what_a_stage_leaves_the_later_ones_have(tmp_path):
    progress = Progress(tmp_path)
    assert allot(progress, SHARES, 100, "codec") == 25
    progress.of("codec").spent = 10
    progress.of("codec").done = True
    assert allot(progress, SHARES, 100, "hand") == pytest.approx(60)
    progress.of("hand").spent = 80
    progress.of("hand").done = True
    assert allot(progress, SHARES, 100, "state") == pytest.approx(10)
    progress.of("state").spent = 50
    assert allot(progress, SHARES, 100, "state") == 0


def test_a_stage_goes_on_with_the_time_that_it_had_left(tmp_path):
    progress = Progress(tmp_path)
    progress.of("hand").allotted = 30
    with pytest.raises(KeyboardInterrupt), progress.running("hand"):
        time.sleep(0.05)
        raise KeyboardInterrupt
    again = Progress.read(tmp_path)
    own = again.of("hand")
    assert 0.05 <= own.spent < 20 and own.left == 30 - own.spent and not own.done
    again.of("hand").note = "no reason"
    again.write()
    assert Progress.read(tmp_path).of("hand").note == "no reason"


def test_a_stage_that_is_over_may_go_on_for_its_share_of_all_minutes(tmp_path):
    progress = Progress(tmp_path)
    progress.of("hand").spent = 80
    progress.of("hand").done, progress.of("hand").note = True, "a note"
    progress.begin_anew("hand", SHARES, 200)
    own = progress.of("hand")
    assert (own.left, own.done, own.note) == (100, False, "")
    own.spent = 10
    progress.begin_anew("hand", SHARES, 200)
    assert progress.of("hand").earlier == 90  # the card tells of all that it took


@pytest.mark.parametrize("text", ["", "[]", '{"codec": {"speed": 1}}', "{"])
def test_a_damaged_file_is_one_line(tmp_path, text):
    (tmp_path / "stages.json").write_text(text)
    with pytest.raises(InputError, match=r"stages\.json is damaged"):
        Progress.read(tmp_path)
