import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from vgen.errors import InputError
from vgen.models import component_folder, fingerprint, folders, read_config, resolve


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    (tmp_path / "package/nano").mkdir(parents=True)
    (tmp_path / "package/nano/model_index.json").touch()
    monkeypatch.setattr(folders, "INSTALLED", tmp_path / "package")
    monkeypatch.chdir(tmp_path)


def test_installed_folders_and_hub_ids(tmp_path):
    assert resolve("nano") == str(tmp_path / "package/nano")
    assert resolve("package/nano") == "package/nano"
    assert resolve(tmp_path / "package/nano") == str(tmp_path / "package/nano")
    assert resolve("Wan-AI/Wan2.1-T2V-1.3B-Diffusers") == "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"


@pytest.mark.parametrize(
    "name, message",
    [
        ("nanno", "'nanno' is no installed model .nano., .*; did you mean nano"),
        ("package", "'package' is no diffusers folder"),
        ("", "model '' is no installed model"),
        ("/nowhere/model", "'/nowhere/model': there is no such folder; the nearest that is there is /"),
        ("a/b/c", "'a/b/c': there is no such folder"),
        ("./my_model", "'./my_model': there is no such folder"),
        ("~/my_model", "'~/my_model': there is no such folder"),
        ("package/nana", "'package/nana': there is no such folder; nearest: package/nano"),
        ("runs/nano_blend", "'runs/nano_blend' is not there: no run has made it yet"),
        ("runs/nano_ego/model", "'runs/nano_ego/model' is not there"),
        ("..", "'..' is no diffusers folder"),
    ],
)
def test_others_are_refused(name, message):
    with pytest.raises(InputError, match=message):
        resolve(name)


def test_a_hub_that_cannot_be_reached_is_said_in_one_line(monkeypatch):
    def lost(*_, **__):
        raise LocalEntryNotFoundError("a paragraph")

    for name in ("hf_hub_download", "snapshot_download"):
        monkeypatch.setattr(folders, name, lost)
    for ask in (read_config, component_folder):
        with pytest.raises(InputError, match=r"'models/wan': cannot get .*: it is no folder here, and the hub"):
            ask("models/wan", "vae")


def test_a_fingerprint_counts_what_lies_beside_the_named_components_where_asked(tmp_path):
    for part in ("vae", "ego"):
        (tmp_path / "model" / part).mkdir(parents=True)
        (tmp_path / "model" / part / "weights").write_text("old")
    (tmp_path / "model/model_index.json").write_text('{"vae": ["diffusers", "AutoencoderKLWan"]}')
    before = [fingerprint("model", beside) for beside in ((), ("ego",), ("ego", "state"))]
    (tmp_path / "model/ego/weights").write_text("new")
    after = [fingerprint("model", beside) for beside in ((), ("ego",))]
    assert before[0] == after[0] and before[1] == before[2] != after[1] and before[0] != before[1]
