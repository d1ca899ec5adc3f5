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
        ("steps=0", "steps=0 is not positive"),
        ("optimizer.name=adam", "adamw, muon"),
        ("precision=fp16", "bf16, fp32"),
        ("spike_factor=-1", "spike_factor=-1.0 is negative"),
        ("seed=-1", "seed=-1 is negative"),
        ("max_minutes=0", "max_minutes=0 is not positive; leave it out"),
        ("ema_decay=1", "ema_decay=1 must be from 0, which is no average, to below 1"),
        ("optimizer.lr=-1", "optimizer.lr=-1 must be a number of 0 or more"),
        ("gradient_clip=.nan", "gradient_clip=nan must be a number of 0 or more"),
        ("objective.name=codek", "codek.*codec"),
        ("objective=null", "objective"),
    ],
)
def test_what_is_refused(recipe, override, message):
    with pytest.raises(InputError, match=message) as caught:
        load_config(recipe(), [override])
    assert "\n" not in str(caught.value)


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
