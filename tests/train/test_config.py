import pytest

from vgen.errors import InputError
from vgen.train.config import config_dict, load_config


def test_values_and_overrides(recipe):
    config = load_config(
        recipe(steps=7, optimizer={"lr": 0.5}), ["optimizer.betas=[0.8,0.9]", "objective.batch_size=2"]
    )
    assert (config.steps, config.optimizer.lr, config.optimizer.betas) == (7, 0.5, (0.8, 0.9))
    assert config.objective.batch_size == 2
    assert config.max_minutes is None
    assert config_dict(config)["objective"]["name"] == "toy"


def test_an_entry_of_a_list_is_overridden_by_its_number():
    recipe = ["objective.bodies.0.layout=position4", "objective.bodies.0.data.camera=side"]
    config = load_config("configs/train/ego_own.yaml", recipe)
    (body,) = config.objective.bodies
    assert (body.layout, body.data.camera, body.data.dataset) == ("position4", "side", "data/own")
    for wrong in ("objective.bodies.1.layout=pose7", "objective.bodies.first.layout=pose7", "objective.bodies.x=1"):
        with pytest.raises(InputError, match=f"{wrong}: a list has no such entry"):
            load_config("configs/train/ego_own.yaml", [wrong])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stesp=3", "'stesp' .*'steps'"),
        ("optimizer.rl=1", "'rl' is not in optimizer.*'lr'"),
        ("objective.batch_sise=1", "'batch_sise' is not in objective.*'batch_size'"),
        ("steps=many", "steps"),
        ("steps=0", "steps=0 must lie in 1 to 1000000000; nearest: 1"),
        ("optimizer.name=adam", "adamw, muon"),
        ("precision=fp16", "bf16, fp32"),
        ("spike_factor=-1", "spike_factor=-1 must lie in 0 to 1e"),
        ("seed=-1", "seed=-1 must lie in 0 to "),
        ("seed=99999999999999999999", "seed=99999999999999999999 must lie in 0 to "),
        ("max_minutes=0", "max_minutes=0 is not positive; leave it out"),
        ("ema_decay=1", "ema_decay=1 must be from 0, which is no average, to below 1"),
        ("optimizer.lr=-1", "optimizer.lr=-1 must lie in 0 to .*; nearest: 0"),
        ("optimizer.lr=.inf", "optimizer.lr=inf must be a finite number"),
        ("optimizer.betas=[0.9,1.5]", "optimizer.betas.1=1.5 must lie in 0 to 0.99999; nearest: 0.99999"),
        ("optimizer.weight_decay=-1", "optimizer.weight_decay=-1 must lie in 0"),
        ("schedule.warmup_steps=-1", "schedule.warmup_steps=-1 must lie in 0"),
        ("checkpoint_minutes=.nan", "checkpoint_minutes=nan must be a finite number"),
        ("samples.steps=0", "samples.steps=0 must lie in 1"),
        ("gradient_clip=.nan", "gradient_clip=nan must be a finite number"),
        ("objective.name=codek", "codek.*codec"),
        ("objective=null", "objective"),
    ],
)
def test_what_is_refused(recipe, override, message):
    with pytest.raises(InputError, match=message) as caught:
        load_config(recipe(), [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "override", "message"),
    [
        # at 10 all captions are dropped, at 0 processes nothing is ever encoded, and with no clip nothing is trained
        ("nano_videos", "objective.text_dropout=10", "objective.text_dropout=10 must lie in 0 to 1; nearest: 1"),
        ("nano_videos", "objective.latent_workers=0", "objective.latent_workers=0 must lie in 1"),
        ("nano_videos", "objective.clips=0", "objective.clips=0 must lie in 1"),
        ("nano_videos", "objective.data.fps=-15", "objective.data.fps=-15 must lie in 0.001"),
        ("nano_videos", "objective.lora.alpha=0", "objective.lora.alpha=0 must lie in 0.001"),
        ("nano_videos", "objective.default_steps=0", "objective.default_steps=0 must lie in 1"),
        ("ego_own", "objective.action_dropout=10", "objective.action_dropout=10 must lie in 0 to 1"),
        ("ego_own", "objective.bodies.0.clips=-1", "objective.bodies.0.clips=-1 must lie in 1"),
        ("own_state", "objective.prompt_dropout=50", "objective.prompt_dropout=50 must lie in 0 to 1"),
        ("own_decoder", "objective.moving=-1", "objective.moving=-1 must lie in 0"),
    ],
)
def test_a_number_out_of_range_is_refused_wherever_it_stands(recipe, override, message):
    with pytest.raises(InputError, match=message):
        load_config(f"configs/train/{recipe}.yaml", [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7.5", "cannot read the recipe"),
        ('"7.5"', "must hold a mapping"),
        ("- steps", "must hold a mapping"),
        ("steps", "names no objective"),
        ("objective: [{name: toy}]", "cannot read the recipe"),
        ("objective: toy", "cannot read the recipe|names no objective"),
        ("objective: {name: [toy]}", "names no objective"),
        ("steps: ${a}\nobjective: {name: toy}", "Interpolation key 'a' not found"),
        ("base: 3", "base=3 must be the name of another recipe"),
        ("base: [a.yaml]", "must be the name of another recipe"),
        ("base: recipe.yaml", "cannot read the recipe"),
        ("run: !!python/object/apply:os.mkdir [marker]", "cannot read the recipe"),
        ("a: &a [x, x]\nb: &b [*a, *a]\n", "names no objective"),
        ("\0", "cannot read the recipe"),
        ("", "names no objective"),
    ],
)
def test_a_recipe_of_another_shape_is_refused(recipe, text, message):
    path = recipe()
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_missing_value_and_file(recipe, tmp_path):
    path = recipe()
    path.write_text(path.read_text().replace("steps: 6\n", ""))
    with pytest.raises(InputError, match="steps"):
        load_config(path)
    with pytest.raises(InputError, match=r"absent\.yaml"):
        load_config(tmp_path / "absent.yaml")
