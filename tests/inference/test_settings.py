import diffusers
import pytest
import torch
from safetensors.torch import save_file

from vgen.backbone.load import _scheduler, load_pipeline
from vgen.backbone.pipeline import VideoPipeline
from vgen.errors import InputError
from vgen.inference import settings as settings_module
from vgen.inference.settings import RunSettings


@pytest.mark.parametrize(
    "values, message",
    [
        ({"steps": 0}, "steps=0 must lie in 1 to 1000; nearest: 1"),
        ({"steps": 2.5}, "steps=2.5 must be a whole number"),
        ({"guidance": -1}, "guidance=-1 must lie in 0 to 100; nearest: 0"),
        ({"guidance": float("nan")}, "guidance=nan must be a finite number"),
        ({"scheduler": "eular"}, "scheduler=eular must be one of euler, unipc, dpm.*did you mean euler"),
        ({"attention": "xformer"}, "did you mean xformers"),
        ({"offload": "all"}, "offload=all must be one of none, model, sequential"),
        ({"dtype": "float32"}, "dtype=float32 must be one of auto, fp32, bf16, fp16"),
        ({"model": 3}, "model=3 must be text"),
    ],
)
def test_settings_are_checked(values, message):
    with pytest.raises(InputError, match=message):
        RunSettings(**values)
    with pytest.raises(InputError, match=message):
        RunSettings.from_dict(values)


def test_unknown_settings_name_the_nearest():
    with pytest.raises(InputError, match="'sheduler' is not in the settings; nearest: 'scheduler'"):
        RunSettings.from_dict({"sheduler": "euler"})


def test_what_the_machine_cannot_do_is_refused_before_loading(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for values in ({"attention": "xformers"}, {"attention": "flash"}, {"offload": "model"}):
        with pytest.raises(InputError, match="there is none; use n"):
            RunSettings(**values).check_machine()
    RunSettings(attention="flex").check_machine()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(settings_module, "find_spec", lambda package: None)
    with pytest.raises(InputError, match="attention=sage needs the package sageattention"):
        RunSettings(attention="sage").check_machine()
    with pytest.raises(InputError, match=r"lora=lost\.safetensors is no file"):
        RunSettings(lora="lost.safetensors").check_machine()
    (tmp_path / "style.safetensors").touch()
    RunSettings(lora=str(tmp_path / "style.safetensors")).check_machine()
    RunSettings(lora="someone/style").check_machine()


@pytest.mark.parametrize("name", ["euler", "unipc", "dpm++"])
def test_schedulers_keep_the_models_time_shift(tiny_model, name):
    pipe = load_pipeline(VideoPipeline, str(tiny_model), scheduler=name)
    pipe.scheduler.set_timesteps(4)
    times = pipe.scheduler.timesteps / 1000
    assert len(times) == 4 and (times.diff() < 0).all() and 0 < times.min() < times.max() <= 1
    shifted = _scheduler(name, {"shift": 5.0})
    shifted.set_timesteps(4)
    assert (shifted.timesteps[1:] / 1000 > times[1:]).all()


def test_dtype_and_a_lora_that_is_none(tiny_model, tmp_path):
    assert load_pipeline(VideoPipeline, str(tiny_model)).transformer.dtype == torch.float32
    assert load_pipeline(VideoPipeline, str(tiny_model), dtype="bf16").transformer.dtype == torch.bfloat16
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"lora=.*broken\.safetensors is damaged or no safetensors file"):
        load_pipeline(VideoPipeline, str(tiny_model), lora=str(tmp_path / "broken.safetensors"))


def test_schedulers_are_those_of_diffusers():
    kinds = {name: type(_scheduler(name, {})) for name in settings_module.SCHEDULERS}
    assert kinds == {
        "euler": diffusers.FlowMatchEulerDiscreteScheduler,
        "unipc": diffusers.UniPCMultistepScheduler,
        "dpm++": diffusers.DPMSolverMultistepScheduler,
    }


def test_a_lora_of_another_architecture_is_refused_not_ignored(tiny_model, tmp_path):
    save_file({"unet.down.lora_A.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"other\.safetensors has no weight for this model's transformer"):
        load_pipeline(VideoPipeline, str(tiny_model), lora=str(tmp_path / "other.safetensors"))
