import dataclasses
import json

import numpy as np
import paradigms
import pytest
from omegaconf import OmegaConf
from tiny_parts import TEXT, TRANSFORMER, tiny_codec

from vgen.data.cache.frames import EpisodeFrames, FrameCache
from vgen.errors import InputError
from vgen.models import read_config

NAMES = ("in_context", "nearest_slot", "pixel_padding")


@pytest.fixture
def plan(tmp_path):
    def read(episode):
        pixels = np.random.default_rng(episode).integers(0, 255, (12, 16, 16, 3), dtype=np.uint8)
        return EpisodeFrames(pixels, f"episode {episode}")

    FrameCache.write(tmp_path / "cache", range(4), [12] * 4, read, (16, 16), 10.0)
    tiny_codec().save_pretrained(tmp_path / "vae")
    objective = {
        "name": "canvas",
        "data": {"cache": str(tmp_path / "cache")},
        "latents": str(tmp_path / "latents"),
        "latent_workers": 1,
        "codec": str(tmp_path / "vae"),
        "transformer": TRANSFORMER,
        "text_encoder": TEXT,
        "frames": 9,
        "clips": 4,
        "validation_clips": 1,
        "batch": 2,
    }
    OmegaConf.save(OmegaConf.create({"ema_decay": 0, "objective": objective}), tmp_path / "recipe.yaml")
    given = ["--recipe", str(tmp_path / "recipe.yaml"), "--steps", "2", "--paradigms", ",".join(NAMES)]
    given += ["--bench", str(tmp_path / "bench"), "--out", str(tmp_path / "out"), "precision=fp32"]
    return paradigms.plan_of(paradigms.parse_args(given))


def test_a_paradigm_is_trained_once_for_the_asked_steps(plan, monkeypatch):
    plan.claim()
    model = paradigms.trained(plan, "nearest_slot", 1)
    assert read_config(str(model), "transformer/config.json")["_vgen"]["paradigm"] == "nearest_slot"
    about = json.loads((model.parent / "run.json").read_text())
    assert about["steps"] == 2 and about["config"]["seed"] == 1
    monkeypatch.setattr(paradigms, "train", None)
    assert paradigms.trained(plan, "nearest_slot", 1) == model


def test_all_are_trained_measured_and_set_against_the_paper(plan, monkeypatch):
    done = []

    def train(config, stop):
        folder = plan.out / "runs" / f"{config.objective.paradigm}-{config.seed}"
        assert str(folder) == config.run
        (folder / "model").mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"steps": config.steps}))
        done.append(folder.name)

    def measured(plan, name, seed, model):
        return {"AnyI2V": {"psnr": 20.0 - NAMES.index(name) + seed, "ssim": 0.5}}

    monkeypatch.setattr(paradigms, "train", train)
    monkeypatch.setattr(paradigms, "measured", measured)
    results = paradigms.run(plan)
    assert done == [f"{name}-{seed}" for seed in (0, 1) for name in NAMES]
    assert paradigms.run(plan) == results and len(done) == 6
    assert results["groups"]["AnyI2V"]["nearest_slot"]["psnr"] == [19, 20]
    shown = paradigms.table(results)
    assert "19.500 ± 0.5" in shown and "0.500 ± 0" in shown
    assert "by psnr in_context > nearest_slot > pixel_padding: agrees with the paper" in shown
    results["groups"]["AnyI2V"]["pixel_padding"]["psnr"] = [30, 30]
    assert "pixel_padding > in_context > nearest_slot: differs from in_context > nearest_slot" in paradigms.table(
        results
    )
    with pytest.raises(InputError, match=r"holds trainings of other settings \(steps=2, now 3\)"):
        paradigms.run(dataclasses.replace(plan, steps=3))


def test_a_folder_in_which_nothing_was_trained_takes_other_settings(plan):
    plan.claim()
    dataclasses.replace(plan, overrides=(*plan.overrides, "objective.batch=1")).claim()
    (plan.out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something already; name another folder"):
        plan.claim()


def test_what_ended_early_is_not_compared(plan, monkeypatch):
    folder = plan.out / "runs" / "in_context-0"

    def train(config, stop):
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"steps": 1}))

    monkeypatch.setattr(paradigms, "train", train)
    with pytest.raises(InputError, match="made 1 of 2 steps: what is compared has equal steps"):
        paradigms.run(plan)


def test_what_cannot_be_asked_is_one_line():
    given = ["--recipe", "a.yaml", "--steps", "2", "--bench", "b", "--out", "c"]
    with pytest.raises(InputError, match=r"paradigms=in_contxt must be one of .*; did you mean in_context\?"):
        paradigms.plan_of(paradigms.parse_args([*given, "--paradigms", "in_contxt"]))
    with pytest.raises(InputError, match="seeds=0;1 must be whole numbers between commas"):
        paradigms.plan_of(paradigms.parse_args([*given, "--seeds", "0;1"]))
    for name in ("a/b", "in_context", "pruned objective.batch=1"):
        with pytest.raises(InputError, match=f"--variant {name} begins with a word"):
            paradigms.plan_of(paradigms.parse_args([*given, "--variant", name]))
    with pytest.raises(InputError, match="--variant one:two: behind the name stands KEY=VALUE"):
        paradigms.plan_of(paradigms.parse_args([*given, "--variant", "one:two"]))


def test_values_of_the_recipe_stand_anywhere_and_are_everyones():
    given = ["--recipe", "a.yaml", "--steps", "2", "--bench", "b", "--out", "c", "--paradigms", "in_context"]
    given += [
        "--variant",
        "joint",
        "--variant",
        "small:objective.batch=1",
        "--variant",
        "small:seed=3",
        "precision=fp32",
    ]
    plan = paradigms.plan_of(paradigms.parse_args(given))
    assert plan.overrides == ("precision=fp32",)
    assert plan.variants == {
        "in_context": ("objective.paradigm=in_context",),
        "joint": (),
        "small": ("objective.batch=1", "seed=3"),
    }
    shown = paradigms.table(
        {"steps": 2, "seeds": [0], "groups": {"AnyI2V": {n: {"psnr": [20]} for n in plan.variants}}}
    )
    assert all(f"\n{name} " in shown for name in plan.variants), "a paradigm alone has a row, too"


def test_other_choices_of_a_recipe_are_compared_too(plan, tmp_path):
    own = {"joint": (), "independent": ("objective.condition_attention=independent",)}
    plan = dataclasses.replace(plan, variants=own)
    plan.claim()
    model = paradigms.trained(plan, "independent", 0)
    assert read_config(str(model), "transformer/config.json")["_vgen"]["condition_attention"] == "independent"
    other = dataclasses.replace(plan, variants={"independent": ("objective.batch=1",)})
    with pytest.raises(InputError, match="holds trainings of other settings"):
        other.claim()
    dataclasses.replace(plan, variants={"small": ("objective.batch=1",)}).claim()
    assert set(json.loads((plan.out / "settings.json").read_text())["variants"]) == {"joint", "independent", "small"}
    settings = json.loads((plan.out / "settings.json").read_text())
    (plan.out / "settings.json").write_text(json.dumps({k: v for k, v in settings.items() if k != "variants"}))
    with pytest.raises(InputError, match="was made by an older vgen"):
        plan.claim()
    values = {"psnr": [20.0, 21.0], "st_lpips": [0.2, 0.3]}
    shown = paradigms.table({"steps": 2, "seeds": [0, 1], "groups": {"AnyI2V": dict.fromkeys(own, values)}})
    assert shown.count("20.500 ± 0.5") == 2 and "paper" not in shown


def test_an_order_by_another_measure_says_so():
    values = {"no_positions": {"st_lpips": [0.3]}, "integer_positions": {"st_lpips": [0.2]}}
    shown = paradigms.table(
        {"steps": 2, "seeds": [0], "groups": {"AnyI2V": values | {"in_context": {"st_lpips": [0.1]}}}}
    )
    assert "by st_lpips in_context > integer_positions > no_positions: agrees with the paper, by fvd" in shown
