import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    ByT5Tokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from vgen.errors import InputError
from vgen.state.frame_encoder import LatentVision, load_clip
from vgen.state.language_model import choose_trained, decoder, load_tokenizer, load_trunk, new_llama
from vgen.state.model import WEIGHTS, StateConfig, StateModel, States
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory, find_layout

LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
CLIP = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
LAYOUT = "position4"
D = find_layout(LAYOUT).width
K = 3


@pytest.fixture(scope="module")
def statistics():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((40, D)).astype(np.float32)
    steps = Trajectory(values, np.arange(40) / 10, np.ones(40, dtype=bool), LAYOUT, "delta")
    return {LAYOUT: Statistics.fit([steps])}


@pytest.fixture
def make(statistics):
    """Builds a tiny state model that sees one latent pixel of two channels: make(head=..., ...)."""

    def build(trunk=None, vision=None, **keywords):
        torch.manual_seed(0)
        sizes = {"states": 2, "history": 2, "horizon": K, "head": "regression", "head_width": 32, "text_tokens": 8}
        trunk, tokenizer = new_llama(LLAMA) if trunk is None else trunk
        config = StateConfig({LAYOUT: D}, **sizes | keywords)
        return StateModel(config, trunk, tokenizer, vision or LatentVision(2, 1), statistics).eval()

    return build


def random_states(batch=2, frames=(-1, 0), actions=(-1, 0), channels=2, tokens=1, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return States(
        torch.randn(batch, len(frames), tokens, channels, generator=draw),
        torch.tensor(frames),
        torch.ones(batch, len(frames), dtype=torch.bool),
        torch.randn(batch, len(actions), D, generator=draw),
        torch.tensor(actions, dtype=torch.long),
        torch.ones(batch, len(actions), dtype=torch.bool),
        LAYOUT,
    )


def changed(states, **fields):
    return States(**{**vars(states), **fields})


def fit(model, draw, steps, lr=3e-3):
    """Trains on batches (states, prompts, actions, valid, texts) and returns the losses of all steps."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses = []
    for step in range(steps):
        action, text = model(*draw(step))
        loss = (action + text).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def question(frames, actions):
    """Batches of a toy: what is seen moves by one of two speeds, and so does the hand, at every step."""

    def draw(step, batch=16):
        rng = torch.Generator().manual_seed(step)
        states = random_states(batch, frames, actions, seed=step)
        speed = torch.randint(2, (batch,), generator=rng) * 2.0 - 1
        place = torch.randn(batch, 1, generator=rng) + speed.unsqueeze(1) * states.frame_times
        states = changed(states, features=place[..., None, None].expand(-1, -1, 1, 2).contiguous())
        states = changed(states, actions_valid=torch.zeros_like(states.actions_valid))
        coming = speed.view(-1, 1, 1).expand(-1, K, D).contiguous()
        texts = ["go" if value > 0 else "back" for value in speed]
        return states, [""] * batch, coming, torch.ones(batch, K, dtype=torch.bool), texts

    return draw


@pytest.mark.parametrize(
    "question", [question((-1, 0), (-1, 0)), question(tuple(range(K + 1)), ())], ids=["policy", "inverse"]
)
def test_it_learns_what_frames_say_of_actions_and_text(make, question):
    model = make()
    losses = fit(model, question, 120)
    assert losses[-1] < 0.1 * losses[0]
    states, prompts, coming, _, texts = question(1000)
    actions, written = model.predict(states, prompts)
    assert (actions - coming).abs().mean() < 0.3
    assert sum(a == b for a, b in zip(written, texts, strict=True)) >= 14


def test_an_earlier_state_does_not_see_a_later_one(make):
    model = make()
    states = random_states(frames=(-1, 0, 1, 2), actions=(-1, 0))
    later = states.features.clone()
    later[:, 2:] += 1
    outputs = []
    for features in (states.features, later):
        sequence, _ = model._question(changed(states, features=features), ["a", "bcd"], K)
        outputs.append(model._read(sequence).last_hidden_state)
    prompt, known = 3, 4  # frame -1, action -1, frame 0, action 0
    assert torch.equal(*(output[:, : prompt + known] for output in outputs))
    assert not torch.allclose(*(output[:, prompt + known :] for output in outputs))


def test_actions_asked_for_see_all_that_is_known_and_nothing_else(make):
    model = make()
    states = random_states(frames=(-1, 0, 1), actions=(-1, 0))
    first = model.draw(states, ["", ""], 1)[0]
    for name, place in (("features", 0), ("features", 2), ("actions", 0), ("actions", 1)):
        values = getattr(states, name).clone()
        values[:, place] += 1
        assert not torch.allclose(model.draw(changed(states, **{name: values}), ["", ""], 1)[0], first)
    hidden = changed(states, frames_valid=torch.tensor([[True, True, False]] * 2))
    features = hidden.features.clone()
    features[:, 2] = 9.0
    absent = random_states(frames=(-1, 0), actions=(-1, 0))
    absent = changed(absent, features=states.features[:, :2], actions=states.actions)
    expected = model.draw(absent, ["", ""], 1)[0]
    for known in (hidden, changed(hidden, features=features)):
        assert torch.allclose(model.draw(known, ["", ""], 1)[0], expected, atol=1e-5)


def test_invalid_past_actions_are_as_none(make):
    model = make()
    states = random_states()
    actions = states.actions.clone()
    actions[:, 0] = float("nan")
    gone = changed(states, actions=actions, actions_valid=torch.tensor([[False, True]] * 2))
    short = changed(
        states, actions=actions[:, 1:], action_times=torch.tensor([0]), actions_valid=gone.actions_valid[:, 1:]
    )
    predicted = [model.draw(part, ["", ""], 1)[0] for part in (gone, short)]
    assert torch.allclose(*predicted, atol=1e-5)


def test_a_sample_does_not_depend_on_its_batch(make):
    model = make()
    states, prompts, texts = random_states(), ["open it", ""], ["a", "open"]
    coming, valid = torch.randn(2, K, D), torch.ones(2, K, dtype=torch.bool)
    together = model(states, prompts, coming, valid, texts)
    actions, written = model.predict(states, prompts)
    for i in range(2):
        one = {name: value[i : i + 1] for name, value in vars(states).items() if getattr(value, "ndim", 0) > 1}
        part = [slice(i, i + 1)]
        alone = model(changed(states, **one), prompts[part[0]], coming[part[0]], valid[part[0]], texts[part[0]])
        for loss, single in zip(together, alone, strict=True):
            assert loss[i].item() == pytest.approx(single.item(), abs=1e-5)
        single_actions, single_text = model.predict(changed(states, **one), prompts[part[0]])
        assert torch.allclose(actions[i], single_actions[0], atol=1e-5) and written[i] == single_text[0]


def test_text_is_written_as_without_a_cache(make):
    model = make()
    states = random_states(batch=1)
    sequence, _ = model._question(states, ["a"], K)
    embeds, ids = sequence.tokens, []
    with torch.no_grad():
        for _ in range(model.config.text_tokens + 1):
            token = model.trunk(inputs_embeds=embeds).logits[:, -1].argmax(-1)
            if token.item() == model.tokenizer.eos_token_id:
                break
            ids.append(token.item())
            embeds = torch.cat([embeds, model.trunk.get_input_embeddings()(token)[:, None]], 1)
    assert model.predict(states, ["a"])[1] == [model.tokenizer.decode(ids, skip_special_tokens=True).strip()]


def test_a_drawn_future_follows_the_generator(make):
    model = make(head="flow")
    draws = [model.draw(random_states(), ["", ""], 1, torch.Generator().manual_seed(s))[0] for s in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert model.draw(random_states(), ["", ""], 1, count=7)[0].shape == (2, 7, D)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of transformers with random weights: a LLaMA, a LLaVA and a CLIP tower."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    llama = LlamaConfig(vocab_size=384, **LLAMA)
    LlamaForCausalLM(llama).save_pretrained(root / "llama")
    vision = CLIPVisionConfig(**CLIP)
    llava = LlavaConfig(vision_config=vision.to_dict(), text_config=llama.to_dict(), image_token_index=300)
    LlavaForConditionalGeneration(llava).save_pretrained(root / "llava")
    CLIPVisionModel(vision).save_pretrained(root / "clip")
    ByT5Tokenizer().save_pretrained(root / "llama")
    alphabet = [
        "<s>",
        "</s>",
        *sorted(pre_tokenizers.ByteLevel.alphabet()),
    ]  # a tokenizer that opens a text, as LLaMA's
    tokens = Tokenizer(models.BPE({token: i for i, token in enumerate(alphabet)}, []))
    tokens.pre_tokenizer, tokens.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokens, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(root / "llava")
    return root


@pytest.mark.parametrize(("name", "trained"), [("llama", "all"), ("llama", "lora"), ("llava", "none")])
def test_it_comes_back_from_its_folder(make, folders, tmp_path, name, trained):
    trunk = load_trunk(folders / name)
    choose_trained(trunk, trained, 2)
    model = make((trunk, load_tokenizer(folders / name)), load_clip(folders / "clip", side=2), head="flow")
    with torch.no_grad():  # as if it had been trained: no two folders then hold the same weights
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn_like(weight))
    model.save_pretrained(tmp_path / "state")
    again = StateModel.from_pretrained(tmp_path / "state")
    assert again.config == model.config
    assert again.statistics[LAYOUT].to_json() == model.statistics[LAYOUT].to_json()
    features = model.see(torch.rand(2, 2, 3, 24, 40) * 2 - 1)
    assert features.shape == (2, 2, 4, 16)
    states = changed(random_states(), features=features)
    answers = [m.predict(states, ["open", ""], torch.Generator().manual_seed(0)) for m in (model, again)]
    assert torch.equal(answers[0][0], answers[1][0]) and answers[0][1] == answers[1][1]


def test_only_the_text_part_of_a_trunk_is_trained(folders):
    trunk = load_trunk(folders / "llava")
    choose_trained(trunk, "all", 0)
    names = {name for name, weight in trunk.named_parameters() if weight.requires_grad}
    assert names and not any("vision" in name for name in names)
    choose_trained(trunk, "none", 0)
    assert not any(weight.requires_grad for weight in trunk.parameters())
    trunk = load_trunk(folders / "llama")
    choose_trained(trunk, "lora", 2)
    assert {name.split(".")[-3] for name, weight in trunk.named_parameters() if weight.requires_grad} == {
        "lora_A",
        "lora_B",
    }
    assert sum(weight.requires_grad for weight in decoder(trunk).parameters()) == 2 * 7 * LLAMA["num_hidden_layers"]


def test_latents_are_seen_patch_by_patch(codec):
    vision = LatentVision(4, 2, codec)
    pixels = torch.rand(3, 3, 32, 48) * 2 - 1
    latents = codec.encode_image(pixels).squeeze(2)
    tokens = vision.encode(pixels)
    assert tokens.shape == (3, 2 * 3, vision.channels) == (3, 6, 16)
    assert torch.equal(tokens[:, 4].view(3, 4, 2, 2), latents[:, :, 2:4, 2:4])  # second row, second column


def test_a_clip_tower_sees_what_transformers_sees(folders):
    vision = load_clip(folders / "clip", side=4)
    pixels = torch.rand(1, 3, 32, 32) * 2 - 1
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    images = ((pixels + 1) / 2 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    tower = CLIPVisionModel.from_pretrained(folders / "clip").eval()
    with torch.no_grad():
        expected = tower(images, output_hidden_states=True).hidden_states[-2][:, 1:]
    assert torch.allclose(vision.encode(pixels), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"states": 0}, "states=0 is not positive"),
        ({"history": 1}, "history=1 is less than states=2"),
        ({"head": "flaw"}, "nearest: 'flow'"),
        ({"head_width": 30}, "nearest: 28"),
    ],
)
def test_sizes_that_are_refused(make, change, message):
    with pytest.raises(InputError, match=message):
        make(**change)


def test_states_that_are_refused(make):
    model, states = make(), random_states()
    with pytest.raises(InputError, match=f"nearest: '{LAYOUT}'"):
        model.predict(changed(states, layout=LAYOUT + "s"), ["", ""])
    with pytest.raises(InputError, match=f"actions have {D - 1} columns; layout {LAYOUT} has {D}"):
        model.predict(changed(states, actions=states.actions[..., 1:]), ["", ""])
    with pytest.raises(InputError, match=r"frames_valid has shape \(2, 1\); it must be \(2, 2\)"):
        changed(states, frames_valid=states.frames_valid[:, 1:])


def test_folders_that_are_refused(make, folders, tmp_path):
    for load in (load_trunk, load_tokenizer, load_clip, StateModel.from_pretrained):
        with pytest.raises(InputError, match="absent"):
            load(tmp_path / "absent")
    with pytest.raises(InputError, match="a causal language or vision-language model"):
        load_trunk(folders / "clip")
    with pytest.raises(InputError, match="nearest: 'hidden_size'"):
        new_llama({"hiden_size": 8})
    make().save_pretrained(tmp_path / "cut")
    weights = tmp_path / "cut" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="holds no state model"):
        StateModel.from_pretrained(tmp_path / "cut")
    make().save_pretrained(tmp_path / "state")
    about = json.loads((tmp_path / "state" / "config.json").read_text())
    del about["statistics"][LAYOUT]
    (tmp_path / "state" / "config.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="holds no state model"):
        StateModel.from_pretrained(tmp_path / "state")
    with pytest.raises(InputError, match="give from_pretrained the codec"):
        make().see(torch.zeros(1, 1, 3, 8, 8))
