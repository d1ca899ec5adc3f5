import numpy as np
import pytest
import torch

from vgen.errors import InputError
from vgen.state.frame_encoder import LatentVision
from vgen.state.language_model import new_llama
from vgen.state.model import StateConfig, StateModel, States
from vgen.state.predict import futures, inverse_dynamics, policy
from vgen.trajectory.convert import resample, to_delta
from vgen.trajectory.statistics import Statistics
from vgen.trajectory.trajectory import Trajectory

LLAMA = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
LLAMA |= {"num_attention_heads": 2, "num_key_value_heads": 2}
LAYOUT, K, RATE = "position4", 3, 10.0
FRAMES = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)


def recorded(rate=RATE, rows=12, began=5.0):
    time = np.arange(rows) / rate
    values = np.stack([np.sin(time), np.cos(2 * time), time**2, time > 0.3], 1)
    return Trajectory(values, began + time, None, LAYOUT, "absolute")


def made(codec, head):
    torch.manual_seed(0)
    config = StateConfig({LAYOUT: 4}, 2, 4, K, head, 16, 4, {LAYOUT: RATE})
    statistics = {LAYOUT: Statistics.fit([to_delta(recorded())])}
    return StateModel(config, *new_llama(LLAMA), LatentVision(4, 2, codec), statistics).eval()


@pytest.fixture
def model(codec):
    return made(codec, "regression")


def asked(model, monkeypatch):
    """The states that the model is asked with from now on."""
    seen, ask = [], model._question
    monkeypatch.setattr(model, "_question", lambda states, *rest: (seen.append(states), ask(states, *rest))[1])
    return seen


def test_a_policy_goes_on_from_the_present(model, monkeypatch):
    seen, past = asked(model, monkeypatch), recorded()
    future, text = policy(model, LAYOUT, FRAMES, past, "open it")
    assert (future.form, len(future), isinstance(text, str)) == ("absolute", K + 1, True)
    assert np.allclose(future.values[0], past.values[-1])
    assert np.allclose(future.times, past.times[-1] + np.arange(K + 1) / RATE)
    states = seen[0]
    assert states.frame_times.tolist() == [-1, 0] and states.action_times.tolist() == [-3, -2, -1, 0]
    pixels = torch.from_numpy(FRAMES[-2:] / 127.5 - 1).float().permute(0, 3, 1, 2)
    assert torch.allclose(states.features, model.see(pixels[None]), atol=1e-5)
    assert np.allclose(states.actions[0], model.statistics[LAYOUT].normalise(to_delta(past))[-4:], atol=1e-5)
    raw = model.draw(states, ["open it"], 1)[0][0].numpy()
    steps = model.statistics[LAYOUT].restore(raw, future.times[1:])
    assert np.allclose(to_delta(future).values[:, :3], steps.values[:, :3], atol=1e-5)


def test_a_past_at_another_rate_is_the_same_past(model, monkeypatch):
    seen, fine = asked(model, monkeypatch), recorded(rate=40.0, rows=60)
    policy(model, LAYOUT, FRAMES, fine)
    last = fine.times[-1] - np.arange(4, -1, -1) / RATE
    expected = model.statistics[LAYOUT].normalise(to_delta(resample(fine, last)))
    assert np.allclose(seen[0].actions[0], expected, atol=1e-5)


def test_little_may_be_known(model, monkeypatch):
    seen = asked(model, monkeypatch)
    future, _ = policy(model, LAYOUT, FRAMES[:1], count=5)
    assert (future.form, len(future)) == ("delta", 5)
    assert np.allclose(future.times, np.arange(1, 6) / RATE)
    assert seen[0].frame_times.tolist() == [0] and seen[0].actions.shape == (1, 0, 4)
    future, _ = policy(model, LAYOUT, FRAMES[:1], recorded().rows(0, 1))
    assert (future.form, len(future), seen[1].actions.shape[1]) == ("absolute", K + 1, 0)


def test_futures_are_drawn_apart_from_one_present(codec):
    model = made(codec, "flow")
    drawn, again = (
        futures(model, LAYOUT, FRAMES, recorded(), "open it", 3, torch.Generator().manual_seed(seed)) for seed in (0, 0)
    )
    assert all(np.array_equal(one.values, other.values) for one, other in zip(drawn, again, strict=True))
    assert [(future.form, len(future)) for future in drawn] == [("absolute", K + 1)] * 3
    assert all(np.allclose(future.values[0], recorded().values[-1]) for future in drawn)
    assert not np.allclose(drawn[0].values, drawn[1].values)
    one = policy(model, LAYOUT, FRAMES, recorded(), "open it", generator=torch.Generator().manual_seed(5))[0]
    same = futures(model, LAYOUT, FRAMES, recorded(), "open it", 1, torch.Generator().manual_seed(5))[0]
    assert np.allclose(one.values, same.values, atol=1e-5)


def test_a_video_is_explained_part_by_part(model, monkeypatch):
    seen = asked(model, monkeypatch)
    steps = inverse_dynamics(model, LAYOUT, FRAMES)
    assert (steps.form, len(steps)) == ("delta", 7)
    assert [states.frame_times.tolist() for states in seen] == [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1]]
    assert torch.equal(seen[0].features[:, -1], seen[1].features[:, 0])
    start = recorded().rows(3, 4)
    path = inverse_dynamics(model, LAYOUT, FRAMES, start)
    assert np.allclose(path.values[0], start.values[0]) and len(path) == 8
    assert np.allclose(path.values[-1, :3], start.values[0, :3] + steps.values[:, :3].sum(0), atol=1e-5)


def test_what_explains_a_video_is_the_mean_of_several_answers(codec):
    model = made(codec, "flow")
    seen = torch.from_numpy(FRAMES[:4] / 127.5 - 1).float().permute(0, 3, 1, 2)
    nothing = torch.zeros(1, 0, model.config.layouts[LAYOUT]), torch.arange(0), torch.ones(1, 0, dtype=torch.bool)
    states = States(model.see(seen[None]), torch.arange(4), torch.ones(1, 4, dtype=torch.bool), *nothing, LAYOUT)
    drawn = model.draw(states, [""], 8, torch.Generator().manual_seed(5), 3)
    found = inverse_dynamics(model, LAYOUT, FRAMES[:4], generator=torch.Generator().manual_seed(5))
    mean = model.statistics[LAYOUT].restore(drawn.mean(0)[0].numpy(), found.times)
    assert np.allclose(found.values, mean.values, atol=1e-4) and drawn.std(0).min() > 0


def test_what_is_cut_off_a_prompt_is_told(model, caplog):
    policy(model, LAYOUT, FRAMES, text="spin it")
    futures(model, LAYOUT, FRAMES, text="shut it", samples=1)
    inverse_dynamics(model, LAYOUT, FRAMES, text="push it")
    line = 'the prompt has 7 tokens and the state model reads 4: what follows is cut off and has no effect: "it"'
    assert [record.getMessage() for record in caplog.records] == [line] * 3
    with pytest.raises(InputError, match=r"must be text in UTF-8"):
        policy(model, LAYOUT, FRAMES, text="\ud800")


def test_what_is_refused(model):
    with pytest.raises(InputError, match="nearest: 'position4'"):
        policy(model, "position5", FRAMES)
    with pytest.raises(InputError, match=r"the past is position4 \(delta\)"):
        policy(model, LAYOUT, FRAMES, to_delta(recorded()))
    with pytest.raises(InputError, match="T of 2 or more"):
        inverse_dynamics(model, LAYOUT, FRAMES[:1])
    with pytest.raises(InputError, match="must be uint8"):
        policy(model, LAYOUT, FRAMES.astype(np.float32))
