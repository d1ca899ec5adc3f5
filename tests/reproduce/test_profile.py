import pytest

from vgen.commands import nano
from vgen.errors import InputError
from vgen.reproduce.profile import NAMES, TRAINED, load_profile
from vgen.reproduce.recipes import read_stage


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_of_the_profiles_has_a_valid_recipe(name, tmp_path):
    profile = load_profile(name)
    assert sum(profile.shares.values()) == pytest.approx(1)
    for stage in TRAINED:
        if stage in profile.stages:
            assert read_stage(profile, tmp_path, stage).run == str(tmp_path / stage)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--profile", "tpu"], "--profile tpu is no profile; use one of cpu, gpu, or a YAML file like theirs"),
        (["--minutes", "0"], "--minutes 0 is no number of minutes; give 1 or more"),
        (["--minutes", "inf"], "--minutes inf is no number of minutes; give 1 or more"),
        (["--stage", "codecs"], "'codecs' is not in the stages; nearest: 'codec'"),
        (
            ["--stage", "codec"],
            "--stage codec has no share of the minutes of cpu; give it one, such as codec.share=0.2",
        ),
        (["hand.shar=1"], "'shar' is not in hand; nearest: 'share'"),
        (["minute=3"], "'minute' is not in the profile; nearest: 'minutes'"),
        (["export.share=0"], "export.share is 0, and without it there is no model; give it a share"),
        (["start=null"], "codec.share is 0, and there is no start to go on from; give one of the two"),
        (["bench.share=-1"], "bench.share=-1 is negative; the least is 0"),
        (["start=null", "codec.share=1"], "canvas.share is 0, and there is no start to go on from"),
        (["ranks=0"], "ranks=0 is not positive; the smallest is 1"),
    ],
)
def test_what_cannot_be_is_one_line(options, message):
    with pytest.raises(InputError) as refused:
        nano.main([*options, "--dry-run"])
    assert message in str(refused.value) and "\n" not in str(refused.value)
