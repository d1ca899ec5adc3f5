import dataclasses
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tiny_parts import TEXT, TRANSFORMER, tiny_codec

from vgen.backbone.segments import condition, target
from vgen.canvas.pipeline import CanvasPipeline
from vgen.canvas.spec import Canvas, Patch
from vgen.data.cache.frames import EpisodeFrames, FrameCache
from vgen.data.opening import DataConfig
from vgen.errors import InputError
from vgen.models import TrainingRange
from vgen.train.config import load_config
from vgen.train.loop import train
from vgen.train.lora import LoraConfig
from vgen.train.objectives.canvas import CanvasConfig, CanvasObjective
from vgen.train.objectives.canvases import CanvasBatch, CanvasData, GivenPixels
from vgen.train.objectives.conditions import ConditionDraw, ConditionsConfig
from vgen.train.objectives.denoiser import Noise, interpolate


@pytest.fixture
def config(tmp_path):
    def read(episode):
        pixels = np.random.default_rng(episode).integers(0, 255, (12, 16, 16, 3), dtype=np.uint8)
        return EpisodeFrames(pixels, f"episode {episode}")

    FrameCache.write(tmp_path / "cache", range(4), [12] * 4, read, (16, 16), 10.0)
    tiny_codec().save_pretrained(tmp_path / "vae")
    return CanvasConfig(
        data=DataConfig(cache=str(tmp_path / "cache")),
        latents=str(tmp_path / "latents"),
        latent_workers=1,
        codec=str(tmp_path / "vae"),
        transformer=TRANSFORMER,
        text_encoder=TEXT,
        text_length=32,
        frames=9,
        clips=6,
        validation_clips=2,
        batch=2,
    )


@pytest.fixture
def objective(config):
    objective = CanvasObjective(config, seed=3)
    objective.prepare()
    return objective


def test_batches_are_repeatable_and_of_one_plan_on_every_rank(objective):
    for index in range(12):
        first, again, other = (objective.batch(index, rank, 2, 0.0) for rank in (0, 0, 1))
        assert first.given.frames.shape == other.given.frames.shape and first.text == again.text
        for name in ("pixels", "masks", "frames"):
            assert torch.equal(getattr(first.given, name), getattr(again.given, name))
        assert torch.equal(first.latent, again.latent)


def test_an_epoch_shows_every_clip_once(objective):
    clips = [clip for step in range(6) for clip in objective.canvases.sets[0].train.deal(step, 0, 1)[1]]
    assert sorted(clips[:6]) == sorted(clips[6:]) == list(range(6)) and clips[:6] != clips[6:]


def test_given_pixels_are_those_of_the_clip_at_its_frames(objective):
    rows = [0, 4]
    canvases, rng = objective.canvases, np.random.default_rng(0)
    given = canvases.of_clips(canvases.sets[0].train, 0, rows, ConditionDraw("frames", 2), rng).given
    for sample, row in enumerate(rows):
        clip = canvases.sets[0].data.train.pixels(canvases.sets[0].data.train.spread(6)[row])
        for pixels, frame in zip(given.pixels[sample], given.frames[sample], strict=True):
            assert np.array_equal(pixels.permute(1, 2, 0), clip[frame])


def test_the_loss_is_the_flow_matching_formula_on_the_target_alone(objective):
    batch = next(b for b in (objective.batch(i, 0, 1, 0.0) for i in range(50)) if b.given.frames.shape[1])
    latent, time = batch.latent.float(), torch.tensor([0.25, 0.75])
    noise = torch.randn_like(latent)
    given, denoiser = objective.canvases.conditioning(batch), objective.eval().denoiser
    got = denoiser.mean_error(latent, Noise(noise, time), given, batch.text)

    pixels = (batch.given.pixels.float() / 127.5 - 1) * batch.given.masks
    vae = objective.vae
    given = [vae.encode(pixels[:, k].unsqueeze(2)).latent_dist.mode() for k in range(pixels.shape[1])]
    conditions = condition(torch.cat(given, dim=2), batch.given.frames.double() / 4)
    noisy = torch.stack([(1 - s) * z + s * e for s, z, e in zip(time, latent, noise, strict=True)])
    (velocity,) = objective.transformer([conditions, target(noisy, time)], objective.denoiser.text(batch.text))
    expected = [((v - (e - z)) ** 2).mean() for v, e, z in zip(velocity, noise, latent, strict=True)]
    torch.testing.assert_close(got, torch.stack(expected), atol=1e-4, rtol=1e-4)


def test_a_clip_is_a_condition_of_a_quarter_of_the_tokens_at_its_true_times(objective):
    rows, rng = [0, 4], np.random.default_rng(0)
    canvases = objective.canvases
    batch = canvases.of_clips(canvases.sets[0].train, 0, rows, ConditionDraw("clip", 5), rng)
    given = canvases.conditioning(batch)
    (segment,) = given.segments
    pixels = batch.given.pixels.float().transpose(1, 2) / 127.5 - 1
    torch.testing.assert_close(segment.latent, objective.vae.encode(pixels).latent_dist.mode(), atol=1e-5, rtol=1e-4)
    starts = batch.given.frames[:, :1].double()
    torch.testing.assert_close(segment.t.double(), torch.cat([starts, starts + 4], dim=1) / 4)
    noise = Noise(torch.randn(2, 4, 3, 2, 2), torch.tensor([0.2, 0.9]))
    assert objective.denoiser.mean_error(batch.latent.float(), noise, given, batch.text).shape == (2,)


def test_tokens_are_counted_as_the_backbone_sees_them(objective):
    seen = []
    objective.transformer.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[:2].numel()))
    for draw in (ConditionDraw("text", 0), ConditionDraw("frames", 2), ConditionDraw("clip", 9)):
        clips, rng = objective.canvases.sets[0].train, np.random.default_rng(0)
        batch = objective.canvases.of_clips(clips, *clips.deal(0, 0, 1), draw, rng)
        objective(batch)
        assert objective.tokens(batch) == seen[-1]
    assert len(set(seen)) == 3


def test_tokens_that_are_left_out_are_not_counted(config):
    fine = config.transformer | {"patch_size": [1, 1, 1], "prune_conditions": True}
    objective = CanvasObjective(dataclasses.replace(config, transformer=fine), seed=3)
    objective.prepare()
    seen = []
    objective.transformer.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[:2].numel()))
    whole = {"text": 0, "patches": 2, "region": 5, "clip": 2}
    for draw in (
        ConditionDraw("text", 0),
        ConditionDraw("patches", 2),
        ConditionDraw("region", 5),
        ConditionDraw("clip", 5),
    ):
        clips = objective.canvases.sets[0].train
        batch = objective.canvases.of_clips(clips, *clips.deal(0, 0, 1), draw, np.random.default_rng(1))
        objective(batch)
        assert objective.tokens(batch) == seen[-1] <= 2 * 4 * (3 + whole[draw.kind])
    assert seen[1] < 2 * 4 * 5 and seen[2] < 2 * 4 * 8


@pytest.mark.parametrize("draw", [ConditionDraw("patches", 2), ConditionDraw("region", 5), ConditionDraw("clip", 5)])
def test_what_pads_is_found_beforehand_and_is_the_same(config, draw):
    own = {"transformer": config.transformer | {"condition_padding": "nearest"}}
    objective = CanvasObjective(dataclasses.replace(config, **own), 3)
    objective.prepare()
    clips = objective.canvases.sets[0].train
    batch = objective.canvases.of_clips(clips, *clips.deal(0, 0, 1), draw, np.random.default_rng(1))
    assert batch.given.nearest is not None
    late = dataclasses.replace(batch, given=dataclasses.replace(batch.given, nearest=None))
    (early,), (late,) = (objective.canvases.conditioning(each).segments for each in (batch, late))
    assert torch.equal(early.latent, late.latent) and torch.equal(early.t, late.t)


def test_time_zero_is_the_latent_and_one_is_noise():
    latent, noise = torch.randn(2, 4, 2, 2, 2), torch.randn(2, 4, 2, 2, 2)
    mixed = interpolate(latent, noise, torch.tensor([0.0, 1.0]))
    assert torch.equal(mixed[0], latent[0]) and torch.equal(mixed[1], noise[1])


def test_sentences_are_dropped_for_guidance(config):
    config.text_dropout = 0.5
    objective = CanvasObjective(config, seed=3)
    objective.prepare()
    texts = [text for index in range(60) for text in objective.batch(index, 0, 1, 0.0).text]
    assert 0.35 < np.mean([text == "" for text in texts]) < 0.65


def test_the_text_encoder_learns_and_the_codec_does_not(objective):
    objective.train()
    loss, metrics = objective(objective.batch(0, 0, 1, 0.0))
    loss.mean().backward()
    assert loss.shape == (2,) and {f"loss/noise{level}" for level in range(4)} == set(metrics)
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in objective.text_encoder.parameters())
    assert all(p.grad is None for p in objective.vae.parameters())


def test_attention_of_few_tokens_computes_in_bfloat16_like_all_else(config):
    allowed = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(False)
    CanvasObjective(config, 0)
    assert not allowed()
    CanvasObjective(dataclasses.replace(config, attention="_native_math"), 0)
    assert allowed()


def test_how_conditions_attend_can_be_chosen_and_goes_into_the_folder(config, tmp_path):
    objective = CanvasObjective(dataclasses.replace(config, condition_attention="independent"), 0)
    objective.prepare()
    assert objective.transformer.independent
    objective.export(tmp_path / "model")
    own = {"codec": None, "transformer": {}, "text_encoder": {}, "pretrained": str(tmp_path / "model")}
    for kind in ("joint", None):
        tuned = CanvasObjective(dataclasses.replace(config, condition_attention=kind, **own), 0)
        assert tuned.transformer.independent == (kind is None)
    with pytest.raises(InputError, match=r"condition_attention"):
        CanvasObjective(dataclasses.replace(config, condition_attention="alone", **own), 0)


def test_pruning_is_trained_and_refused_where_it_cannot_be(config, tmp_path):
    prunes = dataclasses.replace(config, transformer=config.transformer | {"prune_conditions": True})
    objective = CanvasObjective(prunes, 0)
    objective.prepare()
    loss, _ = objective.forward(objective.batch(0, 0, 1, 0.0))
    assert torch.isfinite(loss).all()
    objective.export(tmp_path / "model")
    own = {"codec": None, "transformer": {}, "text_encoder": {}, "pretrained": str(tmp_path / "model")}
    assert CanvasObjective(dataclasses.replace(config, **own), 0).transformer.config.prune_conditions
    with pytest.raises(InputError, match=r"objective.attention=xformers takes no mask, .* use one of native"):
        CanvasObjective(dataclasses.replace(prunes, attention="xformers"), 0)
    with pytest.raises(InputError, match="prune_conditions='flase' must be true or false"):
        CanvasObjective(dataclasses.replace(config, transformer=config.transformer | {"prune_conditions": "flase"}), 0)
    lora = own | {"transformer": {"prune_conditions": False}, "lora": LoraConfig(rank=2)}
    with pytest.raises(InputError, match=r"objective.transformer.prune_conditions=false: the file of a LoRA"):
        CanvasObjective(dataclasses.replace(config, **lora), 0)
    with pytest.raises(InputError, match=r"objective.condition_attention=independent: .* the base has joint"):
        CanvasObjective(
            dataclasses.replace(config, **lora | {"transformer": {}, "condition_attention": "independent"}), 0
        )
    CanvasObjective(dataclasses.replace(config, **lora | {"transformer": {}, "condition_attention": "joint"}), 0)
    lora |= {"transformer": {"condition_padding": "nearest"}}
    with pytest.raises(InputError, match=r"objective.transformer.condition_padding=nearest: the file of a LoRA"):
        CanvasObjective(dataclasses.replace(config, **lora), 0)


def test_training_and_pipeline_pad_as_the_model_says(config):
    own = {"transformer": config.transformer | {"condition_padding": "nearest"}}
    objective = CanvasObjective(dataclasses.replace(config, **own), 0)
    objective.prepare()
    picture, mask = np.full((16, 16, 3), 200, np.uint8), np.zeros((16, 16), bool)
    picture[:, 8:], mask[:, :8] = 0, True  # the left half is given, and goes on to the right
    latent = objective.denoiser.codec.encode_image(torch.full((1, 3, 16, 16), 200 / 127.5 - 1))
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None, None]
    given = GivenPixels(pixels, torch.from_numpy(mask)[None, None, None], torch.zeros(1, 1), False)
    (trained,) = objective.canvases.conditioning(CanvasBatch(["one"], [""], latent.half(), given)).segments
    torch.testing.assert_close(trained.latent, latent)
    pipe, seen = objective.pipeline(), []
    pipe.transformer.register_forward_pre_hook(lambda module, args: seen.append(args[0][0].latent))
    pipe(Canvas(5, 16, 16, patches=[Patch(picture, 0, mask=mask.astype(np.uint8) * 255)]), num_inference_steps=1)
    torch.testing.assert_close(seen[0], latent)
    objective.export(Path(config.latents) / "model")
    tuned = {"codec": None, "transformer": {}, "text_encoder": {}, "pretrained": f"{config.latents}/model"}
    with pytest.raises(InputError, match="condition_padding=nearest: paradigm=pixel_padding pads with zeros"):
        CanvasObjective(dataclasses.replace(config, paradigm="pixel_padding", **tuned), 0)


def test_a_run_ends_in_a_pipeline_and_a_pretrained_folder_begins_one(config, tmp_path):
    recipe = {"run": str(tmp_path / "run"), "steps": 3, "log_every": 1, "objective": dataclasses.asdict(config)}
    OmegaConf.save(OmegaConf.create(recipe), tmp_path / "recipe.yaml")
    folder = train(load_config(tmp_path / "recipe.yaml")) / "model"
    pipe = CanvasPipeline.from_pretrained(folder)
    assert (pipe.config.default_frames, pipe.config.default_height, pipe.config.default_width) == (9, 16, 16)

    tuned = dataclasses.replace(config, codec=None, transformer={}, text_encoder={}, pretrained=str(folder))
    objective = CanvasObjective(tuned, seed=0)
    objective.prepare()
    for key, value in pipe.transformer.state_dict().items():
        assert torch.equal(objective.transformer.state_dict()[key], value)
    assert not list(objective.text_encoder.parameters())  # it answers from a cache
    expected = pipe.embed(["episode 1", ""])
    torch.testing.assert_close(
        objective.denoiser.text(["episode 1", ""]), expected, atol=0.02, rtol=0.02
    )  # in bfloat16
    objective.export(tmp_path / "again")
    copy = CanvasPipeline.from_pretrained(tmp_path / "again")
    assert torch.equal(copy.embed(["episode 1"]), expected[:1])
    kinds = ("clip", "frames", "patches", "region", "text")
    assert pipe.trained == TrainingRange(((16, 16),), (9,), (10.0,), kinds, frozenset({"episode"}))
    assert copy.trained == pipe.trained == copy_of(copy, tmp_path / "saved").trained


def copy_of(pipe, folder):
    pipe.save_pretrained(folder)
    return CanvasPipeline.from_pretrained(folder)


@pytest.mark.parametrize("pretrained", [False, True])
def test_captions_that_are_cut_off_are_told_in_one_line(config, pretrained, tmp_path, caplog):
    if pretrained:
        folder = tmp_path / "model"
        first = CanvasObjective(dataclasses.replace(config, text_length=8), seed=0)
        first.prepare()
        first.export(folder)
        own = {"codec": None, "transformer": {}, "text_encoder": {}, "pretrained": str(folder)}
        config = dataclasses.replace(config, **own)
        caplog.clear()
    objective = CanvasObjective(dataclasses.replace(config, text_length=8), seed=0)
    objective.prepare()
    objective.denoiser.text(["episode 1"])
    (line,) = (record.getMessage() for record in caplog.records if "cut off" in record.getMessage())
    assert "4 of 4 captions have more than the 8 tokens" in line and line.endswith('this is cut off: "0"')


def test_a_step_has_one_bucket_on_all_ranks_and_however_it_is_shared_out(config, tmp_path):
    def read(episode):
        pixels = np.random.default_rng(episode).integers(0, 255, (6 + episode, 24, 40, 3), dtype=np.uint8)
        return EpisodeFrames(pixels, f"episode {episode}")

    lengths = [6 + episode for episode in range(8)]
    FrameCache.write(tmp_path / "lengths", range(8), lengths, read, (24, 40), 10.0)
    config.data = DataConfig(cache=str(tmp_path / "lengths"), sizes=["16x16", "16x32"], held_out=0.25)
    config.frames, config.clips, config.batch = [5, 9], None, 1
    objective = CanvasObjective(config, seed=3)
    objective.prepare()
    assert [str(bucket) for bucket in objective.canvases.sets[0].train.buckets] == ["16x32x5", "16x32x9"]
    shapes = [{objective.batch(step, part, 4, 0.0).latent.shape for part in range(4)} for step in range(20)]
    assert all(len(shape) == 1 for shape in shapes) and len(set.union(*shapes)) == 2
    after_batch = Mock()
    assert np.isfinite(objective.validate(0, 1, after_batch)["loss"])
    assert after_batch.called
    pipe = objective.pipeline()
    assert (pipe.config.default_height, pipe.config.default_width) == (16, 32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"codec": None}, "give one of the two"),
        ({"codec": "nowhere"}, "objective.codec=nowhere"),
        ({"frames": 8}, "nearest: 5, 9"),
        ({"conditions": ConditionsConfig(clip_frames=[5, 6])}, "clip_frames: frames=6 is not 1 .* nearest: 5, 9"),
        ({"attention": "flush"}, "objective.attention=flush cannot run here"),
    ],
)
def test_what_does_not_fit_is_refused(config, change, words):
    with pytest.raises(InputError, match=words):
        CanvasObjective(dataclasses.replace(config, **change), seed=0)


def test_only_text_needs_no_pixels(config):
    config.conditions = ConditionsConfig(frames=0, patches=0, region=0, clip=0, text=1)
    objective = CanvasObjective(config, seed=3)
    objective.prepare()
    batch = objective.batch(0, 0, 1, 0.0)
    assert not batch.given.given("zeros") and objective(batch)[0].shape == (2,)


def test_blocks_are_compiled_when_asked_where_there_is_a_compiler(config, monkeypatch):
    config.compile = True
    blocks = CanvasObjective(config, seed=3).transformer.blocks
    assert all(block._compiled_call_impl is not None for block in blocks)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler"):
        CanvasObjective(config, seed=3)


def test_a_batch_is_of_one_of_several_data_sets_with_its_own_length_and_number(config, tmp_path):
    pixels = np.zeros((20, 16, 32, 3), np.uint8)
    FrameCache.write(tmp_path / "wide", range(4), [20] * 4, lambda _: EpisodeFrames(pixels, "wide"), (16, 32), 10.0)
    config.more_data = [CanvasData(cache=str(tmp_path / "wide"), share=3.0, frames=17, batch=0.5, clips=5)]
    objective = CanvasObjective(config, seed=3)
    objective.prepare()
    shapes = [tuple(objective.batch(step, 0, 1, 0.0).latent.shape) for step in range(60)]
    assert set(shapes) == {(2, 4, 3, 2, 2), (1, 4, 5, 2, 4)}
    assert 30 < shapes.count((1, 4, 5, 2, 4)) < 58
    assert [len(each.train) for each in objective.canvases.sets] == [6, 5]
    assert set(objective.validate(0, 1, Mock())) == {"loss", "loss/wide-1"}
    assert objective.canvases.captions.count("wide") == 2 and objective.pipeline().config.default_width == 16


@pytest.mark.parametrize("paradigm", ["nearest_slot", "pixel_padding", "latent_replacement", "channel_concatenation"])
def test_every_paradigm_trains_and_goes_into_the_folder(config, paradigm, tmp_path):
    config.conditions = ConditionsConfig(frames=0, patches=1, region=0, clip=0, text=0)
    config.transformer = config.transformer | {"prune_conditions": True}
    plain = CanvasObjective(config, seed=3)
    objective = CanvasObjective(dataclasses.replace(config, paradigm=paradigm), seed=3)
    objective.prepare()
    seen, blocks = [], objective.transformer.blocks
    blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[:2].numel()))
    batch = objective.batch(0, 0, 1, 0.0)
    loss, _ = objective(batch)
    loss.mean().backward()
    assert objective.tokens(batch) == seen[0] and loss.shape == (2,)
    read = objective.transformer.patch_embedding.weight
    assert read.grad is not None and torch.equal(read[:, :4], plain.transformer.patch_embedding.weight)
    objective.export(tmp_path / "model")
    pipe = CanvasPipeline.from_pretrained(tmp_path / "model")
    assert pipe.transformer.config.paradigm == paradigm and torch.equal(pipe.transformer.patch_embedding.weight, read)


def test_a_paradigm_that_cannot_be_trained_is_refused(config):
    with pytest.raises(InputError, match=r"objective\.paradigm=incontext must be one of .*; did you mean in_context\?"):
        CanvasObjective(dataclasses.replace(config, paradigm="incontext"), 0)
