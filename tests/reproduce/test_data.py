import pytest

from vgen.errors import InputError, RunStopped
from vgen.reproduce import data
from vgen.reproduce.data import _fetch_photographs, missing
from vgen.reproduce.profile import load_profile


def test_what_is_there_is_not_recorded(tmp_path):
    (tmp_path / "adroit/meta").mkdir(parents=True)
    (tmp_path / "adroit/meta/info.json").write_text("{}")
    profile = load_profile("gpu", [f"root={tmp_path}", "data.pictures=null", "data.adroit_cf=adroit --looks 2"])
    lacking = missing(profile)
    assert lacking.keys() == profile.data.keys() - {"adroit", "pictures"}
    assert lacking["adroit_cf"] == ["adroit", "--looks", "2", "--out", str(tmp_path / "adroit_cf")]


def test_what_no_stage_reads_is_not_recorded(tmp_path):
    def lacking(*options):
        return missing(load_profile("gpu", [f"root={tmp_path}", *options])).keys()

    on = ["start=nano", "codec.share=0", "canvas.share=0"]
    everything = load_profile("gpu").data.keys()
    assert "pictures_short" in lacking() and lacking(*on) == everything - {"pictures_short"}
    assert lacking(*on, "bench.runs.codec=--data data/pictures_short") == everything
    rest = lacking(*on, "hand.share=0")
    assert rest == lacking(*on), "the benches take what the hand reads"
    assert lacking(*on, "hand.share=0", "bench.share=0") == {"metaworld", "adroit"}  # of Stage I


def test_photographs_are_fetched_once_and_a_failure_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "FETCH", tmp_path / "fetch.sh")
    options = ["pictures", "--photos", str(tmp_path / "photographs")]
    with pytest.raises(InputError, match=r"--photos .* is not there; put photographs into it"):
        _fetch_photographs(options)
    (tmp_path / "fetch.sh").write_text('mkdir -p "$1"\n')
    _fetch_photographs(options)
    (tmp_path / "fetch.sh").write_text("exit 1\n")
    _fetch_photographs(options)
    with pytest.raises(RunStopped, match="photographs could not be fetched"):
        _fetch_photographs(["pictures", "--photos", str(tmp_path / "others")])
    (tmp_path / "photographs" / data.FETCHING).touch()  # the first time it was broken off
    with pytest.raises(RunStopped, match="photographs could not be fetched"):
        _fetch_photographs(options)
