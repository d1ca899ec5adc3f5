import json
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from tiny_parts import CODEC

from vgen.backbone.codec_at_once import decode_at_once, encode_at_once
from vgen.data.cache.frames import EpisodeFrames, FrameCache
from vgen.data.opening import DataConfig, split_episodes
from vgen.errors import InputError
from vgen.metrics import PerceptualDistance
from vgen.models import TrainingRange
from vgen.train.config import load_config
from vgen.train.loop import train
from vgen.train.objectives.codec import CodecBatch, CodecConfig, CodecObjective, CodecShare, changing_pixels


def frame_cache(folder, top=255):
    def read(episode):
        pixels = np.random.default_rng(episode).integers(0, top, (9, 16, 16, 3), dtype=np.uint8)
        return EpisodeFrames(pixels, f"episode {episode}")

    FrameCache.write(folder, range(4), [9] * 4, read, (16, 16), 10.0)
    return DataConfig(cache=str(folder))


@pytest.fixture
def config(tmp_path):
    data = frame_cache(tmp_path / "cache")
    return CodecConfig(data=data, model=CODEC, frames=5, clips_per_batch=1, images_per_batch=2, statistics_clips=3)


@pytest.fixture
def objective(config):
    objective = CodecObjective(config, seed=3)
    objective.prepare()
    return objective


def test_images_come_first_then_both(objective):
    lengths = [objective.batch(index, 0, 1, 0.1).video.shape[2] for index in range(20)]
    assert set(lengths) == {1}
    shapes = {tuple(objective.batch(index, 0, 1, 0.9).video.shape) for index in range(20)}
    assert shapes == {(2, 3, 1, 16, 16), (1, 3, 5, 16, 16)}


def test_crops_are_trained_on_and_whole_clips_measured(config):
    config.crop = 8
    objective = CodecObjective(config, seed=3)
    objective.prepare()
    shapes = {tuple(objective.batch(index, 0, 1, 0.9).video.shape[-2:]) for index in range(10)}
    assert shapes == {(8, 8)}
    with torch.no_grad():
        assert objective.sets[0].clip(objective.sets[0].data.train, 0).shape[-2:] == (16, 16)


def test_a_crop_is_of_whole_latents(config):
    config.crop = 9
    with pytest.raises(InputError, match=r"objective.crop=9 must be a multiple of the codec's 8; nearest: 8"):
        CodecObjective(config, seed=3)


def test_batches_differ_by_rank_in_content_alone(objective):
    for index in range(10):
        first, second = (objective.batch(index, rank, 2, 0.9).video for rank in (0, 1))
        assert first.shape == second.shape
        assert not torch.equal(first, second)
        assert torch.equal(first, objective.batch(index, 0, 2, 0.9).video)


@pytest.mark.parametrize(("mode", "frames"), [("image", 1), ("video", 5)])
def test_loss_is_per_sample_and_reaches_the_weights(objective, mode, frames):
    batches = (objective.batch(index, 0, 1, 1.0) for index in range(20))
    batch = next(batch for batch in batches if batch.video.shape[2] == frames)
    loss, metrics = objective(batch)
    assert loss.shape == batch.video.shape[:1]
    assert set(metrics) == {f"psnr/{mode}", f"kl/{mode}"}
    loss.mean().backward()
    assert objective.vae.encoder.conv_in.weight.grad.abs().sum() > 0


def test_held_out_episodes_are_not_trained_on(objective):
    data = objective.sets[0].data
    trained, held_out = ({clips.episode(n).name for n in range(len(clips))} for clips in (data.train, data.held_out))
    assert len(trained) == 3
    assert len(held_out) == 1
    assert not trained & held_out
    with pytest.raises(InputError, match="held_out"):
        split_episodes(1, 0.1)


def test_moving_pixels_are_those_that_change():
    video = torch.zeros(1, 3, 3, 2, 2)
    video[:, :, 1, 0, 0] = 0.5
    moving = changing_pixels(video, 0.1)
    assert moving.shape == (1, 1, 3, 2, 2)
    assert moving[0, 0, :, 0, 0].tolist() == [1, 1, 1]
    assert moving.sum() == 3
    assert changing_pixels(video[:, :, :1], 0.1).sum() == 0


def test_export_measures_the_latents(objective, tmp_path):
    objective.eval()
    objective.export(tmp_path / "model")
    codec = AutoencoderKLWan.from_pretrained(tmp_path / "model" / "vae")
    trained = objective.sets[0].data.train
    clips = [trained.pixels(n) for n in trained.spread(3)]
    video = torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3).float() / 127.5 - 1
    with torch.no_grad():
        latent = codec.encode(video).latent_dist.mode().transpose(0, 1).flatten(1)
    assert codec.config.latents_mean == pytest.approx(latent.mean(1).tolist(), abs=1e-4)
    assert codec.config.latents_std == pytest.approx(latent.std(1, correction=0).tolist(), abs=1e-4)


def test_export_measures_how_well_single_frames_are_held(objective, tmp_path):
    objective.eval()
    objective.export(tmp_path / "model")
    codec = AutoencoderKLWan.from_pretrained(tmp_path / "model" / "vae")
    data = objective.sets[0].data
    stills = data.stills(data.train)
    assert len(stills) == 27  # fewer than are measured, so that each is
    psnr = []
    for number in range(27):
        image = torch.from_numpy(stills.pixels(number)).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        with torch.no_grad():
            made = codec.decode(codec.encode(image).latent_dist.mode()).sample.clamp(-1, 1)
        psnr.append(10 * np.log10(4 / (made - image).square().mean().item()))
    kept = TrainingRange.read(tmp_path / "model")
    assert kept == TrainingRange(codec_psnr=kept.codec_psnr)
    assert kept.codec_psnr == pytest.approx(np.quantile(psnr, [0.01, 0.5, 0.99]), abs=0.02)


def test_validation_is_shared_by_ranks(objective):
    scores = objective.validate(1, 2, Mock())
    assert set(scores) == {"psnr/video", "psnr/image"}
    assert 0 < scores["psnr/video"] < 30


def test_each_rank_validates_as_many_clips(objective):
    """Also where there are fewer clips than ranks: after each clip they ask each other whether to go on."""
    world, calls = len(objective.sets[0].data.held_out) + 1, [Mock() for _ in range(2)]
    objective.validate(0, world, calls[0])
    objective.validate(world - 1, world, calls[1])
    assert [after_batch.call_count for after_batch in calls] == [1, 1]


def test_batches_come_from_all_data_sets_in_their_shares_and_each_is_validated(config, tmp_path):
    dark = frame_cache(tmp_path / "dark", top=20)
    config.more_data = [CodecShare(cache=dark.cache, share=3.0, frames=9, batch=2.0, images=2.0)]
    objective = CodecObjective(config, seed=3)
    objective.prepare()
    batches = [objective.batch(index, 0, 1, 0.9) for index in range(80)]
    assert 48 < sum(batch.video.max() < 20 for batch in batches) < 72
    shapes = {(bool(batch.video.max() < 20), tuple(batch.video.shape[::2])) for batch in batches}
    assert shapes == {(False, (2, 1, 16)), (False, (1, 5, 16)), (True, (4, 1, 16)), (True, (2, 9, 16))}
    assert set(objective.validate(0, 1, Mock())) == {"psnr/video", "psnr/image", "psnr/video/dark", "psnr/image/dark"}
    objective.sets.append(objective.sets[1])  # another set of the same name
    assert {"psnr/video/dark-1", "psnr/video/dark-2"} < set(objective.validate(0, 1, Mock()))


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan")])
def test_a_share_is_positive(config, share):
    config.more_data = [CodecShare(share=share)]
    with pytest.raises(InputError, match=r"more_data: the shares .* must be positive"):
        CodecObjective(config, seed=3)


def test_the_perceptual_distance_is_part_of_the_loss_and_not_of_the_model(config, monkeypatch):
    plain = CodecObjective(config, seed=3)
    trunk = PerceptualDistance(layers=1)
    monkeypatch.setattr(PerceptualDistance, "load", lambda: trunk)
    config.perceptual = 2.0
    objective = CodecObjective(config, seed=3)
    assert objective.state_dict().keys() == plain.state_dict().keys()
    clip = torch.randint(0, 255, (2, 3, 1, 32, 32), dtype=torch.uint8)
    distance = {}
    for name, each in (("plain", plain), ("objective", objective)):
        torch.manual_seed(0)
        distance[name], _ = each(CodecBatch(["a", "b"], clip))
    added = distance["objective"] - distance["plain"]
    torch.manual_seed(0)
    latent = objective.vae.encode(clip.float() / 127.5 - 1).latent_dist.sample()
    output = objective.vae.decode(latent).sample
    expected = 2 * trunk(output[:, :, 0], clip[:, :, 0].float() / 127.5 - 1).mean()
    torch.testing.assert_close(added, expected.expand(2), atol=1e-4, rtol=1e-3)


def test_latents_are_kept_where_the_recipe_says_so(objective, config, tmp_path):
    objective.export(tmp_path / "model")
    config.model, config.pretrained, config.keep_latents = {}, str(tmp_path / "model" / "vae"), 10.0
    config.more_data = [CodecShare(cache=config.data.cache, keep_latents=0.0)]
    keeping = CodecObjective(config, seed=3)
    assert keeping.state_dict().keys() == objective.state_dict().keys()
    clip = torch.randint(0, 255, (1, 3, 5, 16, 16), dtype=torch.uint8)

    def loss(weight):
        torch.manual_seed(0)
        return keeping(CodecBatch(["a"], clip, weight))[0].item()

    assert loss(10) == pytest.approx(loss(0), rel=1e-5)  # nothing has changed yet
    with torch.no_grad():
        keeping.vae.quant_conv.bias[0] += 0.5 * keeping.vae.config.latents_std[0]
    assert loss(10) - loss(0) == pytest.approx(10 * 0.25 / keeping.vae.config.z_dim, rel=1e-3)
    keeping.prepare()
    assert {keeping.batch(step, 0, 1, 1.0).keep_latents for step in range(20)} == {0.0, 10.0}
    keeping.export(tmp_path / "kept")
    kept = AutoencoderKLWan.from_pretrained(tmp_path / "kept" / "vae")
    assert kept.config.latents_mean == objective.vae.config.latents_mean

    config.keep_latents, config.more_data[0].keep_latents = 0.0, 10.0  # of a further data set alone
    keeping = CodecObjective(config, seed=3)
    with torch.no_grad():
        keeping.vae.quant_conv.bias[0] += 0.5 * keeping.vae.config.latents_std[0]
    assert loss(10) - loss(0) == pytest.approx(10 * 0.25 / keeping.vae.config.z_dim, rel=1e-3)


def test_a_decoder_alone_leaves_the_latents_as_they_were(objective, config, tmp_path):
    objective.export(tmp_path / "model")
    config.model, config.pretrained, config.decoder_only = {}, str(tmp_path / "model" / "vae"), True
    config.data = frame_cache(tmp_path / "dark", top=20)  # whose latents have other statistics
    adapted = CodecObjective(config, seed=3)
    adapted.prepare()
    loss, _ = adapted(adapted.batch(0, 0, 1, 1.0))
    loss.mean().backward()
    assert adapted.vae.decoder.conv_in.weight.grad.abs().sum() > 0
    assert all(
        weight.grad is None for weight in (*adapted.vae.encoder.parameters(), *adapted.vae.quant_conv.parameters())
    )
    adapted.export(tmp_path / "adapted")
    before, after = (AutoencoderKLWan.from_pretrained(tmp_path / name / "vae") for name in ("model", "adapted"))
    assert after.config.latents_mean == before.config.latents_mean
    assert after.config.latents_std == before.config.latents_std


def test_latents_are_led_towards_the_linear_code_for_a_share_of_the_run(config):
    config.linear_start = 0.4
    objective = CodecObjective(config, seed=3)
    objective.prepare()
    assert [objective.batch(0, 0, 1, progress).linear for progress in (0.0, 0.1, 0.4, 1.0)] == [1.0, 0.75, 0.0, 0.0]
    clip = torch.randint(0, 255, (1, 3, 5, 16, 16), dtype=torch.uint8)
    (start,) = objective._linear
    optimizer = torch.optim.Adam(objective.vae.encoder.parameters(), 3e-3)

    def distance():
        latent = encode_at_once(objective.vae, clip.float() / 127.5 - 1).mode()
        return (latent - start.latent(clip.float() / 127.5 - 1)).square().mean().item()

    before = distance()
    for _ in range(30):
        loss, metrics = objective(CodecBatch(["a"], clip, linear=1.0))
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    assert distance() < 0.3 * before
    assert metrics["linear"].item() == pytest.approx(distance(), rel=0.3)


def test_a_decoder_reads_the_linear_code_before_the_encoder_has_learned_it(config):
    config.linear_start = 1.0
    objective = CodecObjective(config, seed=3)
    objective.prepare()
    clip = torch.randint(0, 255, (1, 3, 5, 16, 16), dtype=torch.uint8)
    torch.nn.init.constant_(objective.vae.quant_conv.bias[objective.vae.config.z_dim :], -60)  # hardly any noise
    _, metrics = objective(CodecBatch(["a"], clip, linear=1.0))
    video = clip.float() / 127.5 - 1
    error = decode_at_once(objective.vae, objective._linear[0].latent(video)) - video
    expected = 10 * torch.log10(4 / error.square().mean())
    assert metrics["psnr/video"].item() == pytest.approx(expected.item(), abs=1e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder_only": True}, "decoder_only=true needs objective.pretrained"),
        ({"frames": 6}, "nearest: 5, 9"),
        ({"model": {}}, "pretrained"),
        ({"model": {"base_dimm": 8}}, "'base_dimm'.*'base_dim'"),
        ({"model": {**CODEC, "dim_mult": [1, 2, 4]}}, "fit together"),
        ({"linear_start": 1.5}, "linear_start=1.5 is a share of the run; nearest: 1"),
        ({"linear_start": 0.2, "pretrained": "vae"}, "linear_start=0.2: objective.pretrained has its own code"),
        ({"frames": 13}, "4 too short for 13 frames; the longest has 9 frames at 10 fps"),
    ],
)
def test_what_is_refused(config, change, message):
    for key, value in change.items():
        setattr(config, key, value)
    with pytest.raises(InputError, match=message):
        CodecObjective(config, 0).prepare()


def test_recipe_trains(config, tmp_path):
    path = tmp_path / "codec.yaml"
    model = json.dumps(CODEC)
    path.write_text(
        f"run: {tmp_path}/run\nsteps: 12\noptimizer: {{lr: 0.003}}\nschedule: {{warmup_steps: 2}}\nema_decay: 0\n"
        f"objective: {{name: codec, data: {{cache: {config.data.cache}}}, model: {model}, frames: 5, l2: 0.5,\n"
        "  clips_per_batch: 1, images_per_batch: 2, statistics_clips: 2, validation_clips: 2}\nlog_every: 4\n"
    )
    folder = train(load_config(path))
    losses = [json.loads(line).get("loss") for line in (folder / "log.jsonl").read_text().splitlines()]
    assert losses[2] < losses[0]
    assert (folder / "model" / "vae" / "diffusion_pytorch_model.safetensors").exists()
