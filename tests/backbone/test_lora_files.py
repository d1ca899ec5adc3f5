import json
import pickle
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import save_file

from vgen.backbone import lora_files
from vgen.backbone.lora_files import find_lora, read_lora
from vgen.errors import InputError

WEIGHTS = {"transformer.proj_out.lora_A.weight": torch.ones(2, 3)}


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".json"):
            (folder / name).write_text(json.dumps({"lora_alpha": 3}))
        elif name.endswith(".safetensors"):
            save_file(WEIGHTS, folder / name)
        else:
            torch.save(WEIGHTS, folder / name)


@pytest.mark.parametrize(
    ("names", "taken", "configured", "told"),
    [
        (["style.safetensors"], "style.safetensors", False, False),
        (["style.safetensors", "._style.safetensors", "notes.txt"], "style.safetensors", False, False),
        (["style.safetensors", "old.bin"], "style.safetensors", False, False),
        (["style.safetensors", "adapter_config.json"], "style.safetensors", True, False),
        (["adapter_model.safetensors", "adapter_config.json"], "adapter_model.safetensors", True, False),
        (["adapter_model.bin", "adapter_config.json"], "adapter_model.bin", True, False),
        (["a.safetensors", "pytorch_lora_weights.safetensors"], "pytorch_lora_weights.safetensors", False, True),
        (
            ["a.safetensors", "adapter_model.safetensors", "adapter_config.json"],
            "adapter_model.safetensors",
            True,
            True,
        ),
    ],
)
def test_the_file_of_a_folder(tmp_path, caplog, names, taken, configured, told):
    put(tmp_path, *names)
    file = find_lora(tmp_path)
    assert file.weights == tmp_path / taken
    assert file.config == (tmp_path / "adapter_config.json" if configured else None)
    lora = read_lora(tmp_path)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * told
    assert torch.equal(lora.weights["transformer.proj_out.lora_A.weight"], torch.ones(2, 3))
    assert lora.config == ({"lora_alpha": 3} if configured else {})


def test_a_file_of_a_folder_by_its_name(tmp_path):
    put(tmp_path, "a.safetensors", "sub/b.safetensors", "adapter_model.safetensors", "adapter_config.json")
    assert find_lora(tmp_path, "a.safetensors").weights == tmp_path / "a.safetensors"
    assert find_lora(tmp_path / "a.safetensors").config is None  # it is of adapter_model
    assert find_lora(tmp_path, "b.safetensors", "sub").weights == tmp_path / "sub/b.safetensors"
    with pytest.raises(InputError, match=r"has no file c; it has a\.safetensors, adapter"):
        find_lora(tmp_path, "c")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["b.safetensors", "a.safetensors"], r"holds a\.safetensors, b\.safetensors; name one of them"),
        ([f"{number}.safetensors" for number in range(9)], r"3\.safetensors and 5 more; name one"),
        (["a.pt", "b.ckpt"], r"holds a\.pt, b\.ckpt; name one"),
        (["notes.txt"], r"is a folder without a LoRA's file; name a file \*\.safetensors"),
        (["model/pytorch_lora_weights.safetensors"], "without a LoRA's file; nearest: .*model/pytorch_lora_weights"),
    ],
)
def test_a_folder_in_which_none_is_meant(tmp_path, names, words):
    put(tmp_path, *names)
    with pytest.raises(InputError, match=words):
        find_lora(tmp_path)


class Runs:
    """What a pickle may be."""

    def __reduce__(self):
        return (print, ("it ran",))


def write_damaged(file, kind):
    whole = file.with_name("whole" + file.suffix)
    put(whole.parent, whole.name)
    content = whole.read_bytes()
    damaged = {
        "empty": b"",
        "cut": content[:-8],
        "header": content[:20],
        "noise": bytes(range(256)) * 4,
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    }
    file.write_bytes(damaged[kind])


@pytest.mark.parametrize("ending", [".safetensors", ".bin", ".pt", ".pth", ".ckpt"])
@pytest.mark.parametrize("kind", ["empty", "cut", "header", "noise", "pointer"])
def test_a_damaged_file_is_one_line(tmp_path, ending, kind):
    file = tmp_path / f"style{ending}"
    write_damaged(file, kind)
    with pytest.raises(InputError, match=rf"^lora=.*style\{ending} (is|holds) ") as caught:
        read_lora(file)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("ending", [".bin", ".pt", ".pth", ".ckpt"])
@pytest.mark.parametrize("wrap", [lambda held: held, lambda held: {"state_dict": held, "epoch": 3}])
def test_a_pickle_of_tensors_is_read(tmp_path, ending, wrap):
    torch.save(wrap(WEIGHTS), tmp_path / f"style{ending}")
    assert read_lora(tmp_path / f"style{ending}").weights.keys() == WEIGHTS.keys()


@pytest.mark.parametrize("held", [{"a": Runs()}, Runs(), [torch.ones(1)], {"a": 1}, {}])
@pytest.mark.parametrize("by", ["torch", "pickle"])
def test_a_pickle_of_anything_else_is_not_run(tmp_path, capsys, held, by):
    file = tmp_path / "style.bin"
    torch.save(held, file) if by == "torch" else file.write_bytes(pickle.dumps(held))
    with pytest.raises(InputError, match=r"^lora=.*style\.bin (is|has) ") as caught:
        read_lora(file)
    assert "it ran" not in capsys.readouterr().out and "\n" not in str(caught.value)


def test_a_file_without_weights_or_with_a_config_that_is_none(tmp_path):
    save_file({}, tmp_path / "none.safetensors")
    with pytest.raises(InputError, match=r"none\.safetensors has no weights in it"):
        read_lora(tmp_path / "none.safetensors")
    put(tmp_path / "peft", "adapter_model.safetensors")
    for text, words in (("{", "not JSON"), ("[]", "no mapping")):
        (tmp_path / "peft" / "adapter_config.json").write_text(text)
        with pytest.raises(InputError, match=f"adapter_config.json beside it that is {words}"):
            read_lora(tmp_path / "peft")
    save_file(WEIGHTS, tmp_path / "bad.safetensors", {"lora_adapter_metadata": "{"})
    with pytest.raises(InputError, match="metadata of a LoRA that is not JSON"):
        read_lora(tmp_path / "bad.safetensors")


def test_what_is_no_path_and_no_hub_id(tmp_path):
    for lora in ("lost.safetensors", str(tmp_path / "lost" / "a" / "b"), "", "\0", "a" * 5000):
        with pytest.raises(InputError, match="is no file, no folder and no hub id"):
            read_lora(lora)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A repository, whose files are downloaded from a folder."""
    put(tmp_path / "repo", "adapter_model.safetensors", "adapter_config.json", "sub/b.safetensors", "README.bin")
    got = []

    def download(repo, file, **_):
        got.append(file)
        return str(tmp_path / "repo" / file)

    def info(repo, **_):
        files = [file for file in (tmp_path / "repo").rglob("*") if file.is_file()]
        return SimpleNamespace(
            siblings=[SimpleNamespace(rfilename=file.relative_to(tmp_path / "repo").as_posix()) for file in files]
        )

    monkeypatch.setattr(lora_files, "model_info", info)
    monkeypatch.setattr(lora_files, "hf_hub_download", download)
    return got


def test_of_a_hub_id_only_what_is_needed_is_downloaded(hub):
    assert read_lora("someone/style").config == {"lora_alpha": 3}
    assert hub == ["adapter_model.safetensors", "adapter_config.json"]
    assert read_lora("someone/style", "b.safetensors", "sub").config == {} and hub[2:] == ["sub/b.safetensors"]
    with pytest.raises(InputError, match=r"lora=someone/style has no file c; it has README\.bin, adapter"):
        read_lora("someone/style", "c")


def test_a_hub_that_cannot_be_reached(hub, tmp_path, monkeypatch):
    def lost(*_, **__):
        raise Exception("no\nroute")  # what an HTTP client raises is no OSError

    def absent(*_, **__):
        raise LocalEntryNotFoundError("not there")

    monkeypatch.setattr(lora_files, "model_info", lost)
    monkeypatch.setattr(lora_files, "snapshot_download", absent)
    with pytest.raises(InputError, match=r"lora=someone/style is no file or folder here, and the hub .*no route\)$"):
        read_lora("someone/style")
    monkeypatch.setattr(lora_files, "snapshot_download", lambda *_, **__: str(tmp_path / "repo"))
    assert read_lora("someone/style").config == {"lora_alpha": 3}  # as it was downloaded earlier


def test_offline_a_hub_id_that_was_never_downloaded_is_one_line():
    with pytest.raises(InputError, match="lora=someone/never is no file or folder here") as caught:
        read_lora("someone/never")
    assert "\n" not in str(caught.value) and issubclass(RepositoryNotFoundError, OSError)
