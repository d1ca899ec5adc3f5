"""Cases: a command, its inputs in a folder, and one or two of them damaged. All follows from a seed and a number."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from fuzz_suite.damage import damage
from fuzz_suite.seeds import INFER, ROLLOUT, Command, Seeds
from fuzz_suite.traps import TRAPS, Bait

MADE = {
    "infer": ("out/video.mp4", "out/contact_sheet.png", "out/run.json"),
    "rollout": (
        "out/trajectory.mp4",
        "out/contact_sheet.png",
        "out/trajectory.npz",
        "out/trajectory.json",
        "out/run.json",
    ),
}
SECOND = 0.2  # chance of a second damage
ODD_NAMES = (
    "a b",
    "ü😀",
    "-x",
    "a%05d",
    "a\nb",
    "a:b=c",
    "a@1",
    "é" * 100,
    "$(touch marker)",
    "a'b\"c",
    "[ab]*",
    "\u202egnp",
    "a\\b",
    " ",
)


@dataclass(frozen=True)
class Setup:
    """Inputs in place, before they are damaged.

    Attributes:
        command: its name.
        options: its command line.
        targets: the files of which one or two are damaged.
        made: what is there when it has ended well, from the folder on.
        works: what may be there when it was refused, beside `in`: caches and the folders of training.
    """

    command: str
    options: tuple[str, ...]
    targets: list[Path]
    made: tuple[str, ...] = ()
    works: tuple[str, ...] = ()


@dataclass(frozen=True)
class FuzzCase:
    """A command that is ready to be run in its folder; `how` says what was damaged, `refused` that it must be."""

    number: int
    kind: str
    how: str
    setup: Setup
    refused: bool = False


def make_case(seed: int, number: int, seeds: Seeds, folder: Path, run: Command, bait: Bait) -> FuzzCase:
    """A case in a new folder; the same from the same seed and number."""
    chance = Random(f"{seed} {number}")
    (folder / "in").mkdir(parents=True)
    if chance.random() < TRAP_SHARE:
        trap = chance.choice(TRAPS)
        command, options = trap.make(folder, seeds, bait)
        made = MADE.get(command, ()) if "--out" in options else ()
        works = WORKS if command == "train" else ()
        return FuzzCase(number, "trap", trap.name, Setup(command, tuple(options), [], made, works), trap.refused)
    kind = chance.choices(list(KINDS), [weight for weight, _ in KINDS.values()])[0]
    setup = KINDS[kind][1](chance, seeds, folder, run)
    how = _damaged(setup.targets, chance, seeds, folder)
    if len(setup.targets) == 1 and chance.random() < 0.08:
        setup = _renamed(setup, chance, folder)
        how += f", named {setup.targets[0].name!r}"
    return FuzzCase(number, kind, how, setup)


def _damaged(targets: Sequence[Path], chance: Random, seeds: Seeds, folder: Path) -> str:
    """Damages one of them, some times twice or another one, too; says what was done."""
    others, told, damaged = seeds.small(), [], set()
    for _ in range(1 + (chance.random() < SECOND)):
        target = chance.choice(targets)
        if target.is_file():  # the first may have taken it away
            told.append(f"{damage(target, chance, others, target not in damaged)} {target.relative_to(folder)}")
            damaged.add(target)
    return ", ".join(told)


def _renamed(setup: Setup, chance: Random, folder: Path) -> Setup:
    """The same with an odd name of its target, in its options, too."""
    target = setup.targets[0]
    odd = target.with_name(chance.choice(ODD_NAMES) + target.suffix)
    if target.exists() or target.is_symlink():
        target.rename(odd)
    before, after = (str(path.relative_to(folder)) for path in (target, odd))
    return replace(setup, options=tuple(option.replace(before, after) for option in setup.options), targets=[odd])


WORKS = ("cache", "run", "model")
TRAP_SHARE = 0.1
Maker = Callable[[Random, Seeds, Path, Command], Setup]


def _copied(source: Path, folder: Path) -> Path:
    return Path(shutil.copy2(source, folder / "in" / source.name))


def _infer(options: Sequence[str], *targets: Path) -> Setup:
    return Setup("infer", (*options, *INFER), list(targets), MADE["infer"])


def _rollout(options: Sequence[str], *targets: Path) -> Setup:
    return Setup("rollout", (*options, *ROLLOUT), list(targets), MADE["rollout"])


def _train(recipe: str, chance: Random, seeds: Seeds, targets: list[Path], folder: Path, dry: float = 0.3) -> Setup:
    (folder / "model").symlink_to(seeds.folder / "model")
    plan = ("--dry-run",) if chance.random() < dry else ()
    return Setup("train", (str(seeds.folder / "recipes" / f"{recipe}.yaml"), *plan), targets, (), WORKS)


def image(chance: Random, seeds: Seeds, folder: Path, run: Command) -> Setup:
    """An image as a patch, a mask, a start or a goal."""
    file = _copied(chance.choice(seeds.files("images")), folder)
    name = f"in/{file.name}"
    start, hand = (str(seeds.folder / each) for each in ("spec/first.png", "hands/hand.npz"))
    use = chance.randrange(5)
    if use < 2:
        return _infer(
            ("--patch", chance.choice([f"{name}@0", f"{name}@1.5:box=0,0,0.5,1", f"{name}@-1:fit=contain"])), file
        )
    if use == 2:
        return _infer(("--patch", f"{start}@0:mask={name}"), file)
    if use == 3:
        return _rollout(("--start", name, "--trajectory", hand), file)
    return _rollout(("--start", start, "--trajectory", hand, "--goal", f"{name}@4"), file)


def video(chance: Random, seeds: Seeds, folder: Path, run: Command) -> Setup:
    """A video as a patch, a mask, a start, what is to be explained or a goal."""
    file = _copied(chance.choice(seeds.files("videos")), folder)
    name, hand = f"in/{file.name}", str(seeds.folder / "hands" / "hand.npz")
    use = chance.randrange(6)
    if use < 2:
        return _infer(
            ("--patch", f"{name}@0:" + chance.choice(["as=clip:range=0-4", "range=2-6", "fit=stretch"])), file
        )
    if use == 2:
        return _infer(("--patch", f"{seeds.folder}/videos/h264.mp4@0:range=0-4:mask={name}"), file)
    if use == 3:
        return _rollout(("--start", name + chance.choice(["", "@3", "@11"]), "--trajectory", hand), file)
    if use == 4:
        return Setup(
            "rollout",
            ("--mode", "inverse", "--video", name, "--layout", "position4", "--out", "out"),
            [file],
            MADE["rollout"],
        )
    return _rollout(
        ("--start", f"{seeds.folder}/spec/first.png", "--trajectory", hand, "--goal", f"{name}@2:range=0-2"), file
    )


def spec(chance: Random, seeds: Seeds, folder: Path, run: Command) -> Setup:
    """A canvas in YAML."""
    files = {path.name: _copied(path, folder) for path in seeds.files("spec")}
    options = ("--spec", "in/spec.yaml", "--steps", "1", "--guidance", "1", "--out", "out")
    return Setup("infer", options, [files["spec.yaml"]], MADE["infer"])


def record(chance: Random, seeds: Seeds, folder: Path, run: Command) -> Setup:
    """The run.json of a run that is made again."""
    command = chance.choice(["infer", "rollout"])
    shutil.copytree(seeds.folder / "runs" / command / "in", folder / "in", dirs_exist_ok=True)
    shutil.copytree(seeds.folder / "runs" / command / "out", folder / "in" / "made")
    file = folder / "in" / "made" / "run.json"
    file.write_text(file.read_text().replace('"../in/', '"../'))
    return Setup(command, ("--from", "in/made/run.json", "--out", "out"), [file], MADE[command])


def hand(chance: Random, seeds: Seeds, folder: Path, run: Command) -> Setup:
    """A trajectory that is edited, or drives a rollout."""
    file = _copied(chance.choice([*seeds.files("hands"), *(seeds.folder / "data" / "data").rglob("*.parquet")]), folder)
    name = f"in/{file.name}"
    parquet = ("--episode", "1", "--layout", "position4") if file.suffix == ".parquet" else ()
    if chance.random() < 0.5:
        edit = chance.choice(["mirror", "scale=1.5", "stop@0.1", "redirect=0.1,0.6,0.2@0.1", "shift=0.1,0"])
        options = ("--trajectory", name, "--edit", edit, *parquet, "--out", f"out{file.suffix}")
        return Setup("edit_trajectory", options, [file], (f"out{file.suffix}",))
    mode = chance.choice([(), ("--mode", "policy")])
    return _rollout((*mode, "--start", f"{seeds.folder}/spec/first.png", "--trajectory", name, *parquet), file)


def dataset(chance: Random, seeds: Seeds, folder: Path, run: Command) -> Setup:
    """A LeRobot data set that a rollout starts from, or that is trained on."""
    shutil.copytree(seeds.folder / "data", folder / "in" / "data")
    targets = sorted(path for path in (folder / "in" / "data").rglob("*") if path.is_file())
    if chance.random() < 0.4:
        return _rollout(("--start", "in/data:episode=1:frame=4"), *targets)
    recipe = chance.choice(["dataset", "whole", "state", "ego", "codec"])
    return _train(recipe, chance, seeds, targets, folder, 0.0 if recipe == "state" else 0.3)


def footage(chance: Random, seeds: Seeds, folder: Path, run: Command) -> Setup:
    """A folder of videos that is trained on, one of them damaged."""
    shutil.copytree(seeds.folder / "footage" / "txt", folder / "in" / "footage")
    target = folder / "in" / "footage" / "0.mp4"
    source = chance.choice(seeds.files("videos"))
    target.unlink()
    target = target.with_suffix(source.suffix)
    shutil.copy2(source, target)
    return _train("footage", chance, seeds, [target], folder)


def captions(chance: Random, seeds: Seeds, folder: Path, run: Command) -> Setup:
    """Captions of footage, in each of their forms."""
    form = chance.choice(["txt", "csv", "jsonl"])
    shutil.copytree(seeds.folder / "footage" / form, folder / "in" / "footage")
    return _train("footage", chance, seeds, sorted((folder / "in" / "footage").glob(f"*.{form}")), folder)


def recipe(chance: Random, seeds: Seeds, folder: Path, run: Command) -> Setup:
    """A recipe, which is planned: to train by one that is legal may take any time."""
    name = chance.choice(["footage", "dataset", "whole", "ego", "codec"])
    (folder / "in" / "data").symlink_to(seeds.folder / "data")
    (folder / "in" / "footage").symlink_to(seeds.folder / "footage" / "txt")
    (folder / "model").symlink_to(seeds.folder / "model")
    file = _copied(seeds.folder / "recipes" / f"{name}.yaml", folder)
    return Setup("train", (f"in/{file.name}", "--dry-run"), [file], (), WORKS)


def lora(chance: Random, seeds: Seeds, folder: Path, run: Command) -> Setup:
    """A LoRA, in one file of each naming or as the folder of a run."""
    runs = seeds.folder / "runs" / "train"
    if chance.random() < 0.3:
        shutil.copytree(runs / "run" / "model", folder / "in" / "lora")
        files = sorted((folder / "in" / "lora").iterdir())
        return _infer(("--patch", f"{seeds.folder}/spec/first.png@0", "--lora", "in/lora"), *files)
    file = _copied(chance.choice(sorted(runs.glob("*.safetensors"))), folder)
    return _infer(("--patch", f"{seeds.folder}/spec/first.png@0", "--lora", f"in/{file.name}"), file)


def _linked_model(seeds: Seeds, folder: Path) -> list[Path]:
    """A model's folder whose files are links, so that one can be damaged; the files."""
    for source in seeds.files("model"):
        link = folder / source.relative_to(seeds.folder / "model")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source)
    return sorted(path for path in folder.rglob("*") if path.is_symlink() and path.suffix in (".json", ".safetensors"))


def model(chance: Random, seeds: Seeds, folder: Path, run: Command) -> Setup:
    """A model's folder."""
    targets = _linked_model(seeds, folder / "in" / "model")
    picture = f"{seeds.folder}/spec/first.png"
    if chance.random() < 0.5:
        targets = [path for path in targets if path.parts[-2] not in ("ego", "state", "trunk")]
        return _infer(("--patch", f"{picture}@0", "--model", "in/model"), *targets)
    if chance.random() < 0.3:
        (folder / "in" / "footage").symlink_to(seeds.folder / "footage" / "txt")
        setup = _train("footage", chance, seeds, targets, folder)
        return replace(setup, options=(*setup.options, "objective.pretrained=in/model"))
    hand = f"{seeds.folder}/hands/hand.npz"
    mode = chance.choice([(), ("--mode", "policy")])
    return _rollout((*mode, "--start", picture, "--trajectory", hand, "--model", "in/model"), *targets)


def blend(chance: Random, seeds: Seeds, folder: Path, run: Command) -> Setup:
    """Two models that are blended."""
    targets = _linked_model(seeds, folder / "in" / "model")
    targets = [path for path in targets if path.parts[-2] in ("vae", "text_encoder")]
    share = ("--share", chance.choice(["vae=0.5", "text_encoder=0.3"]))
    order = ["in/model", str(seeds.folder / "model")]
    chance.shuffle(order)
    return Setup("blend", (*order, *share, "--out", "out"), targets, ("out/README.md", "out/vae/config.json"))


def trained(chance: Random, seeds: Seeds, folder: Path, run: Command) -> Setup:
    """The folder of a run that is exported."""
    shutil.copytree(seeds.folder / "runs" / "train" / "run", folder / "in" / "run")
    names = ("run.json", "log.jsonl", "model/model_index.json", "model/pytorch_lora_weights.safetensors")
    targets = [folder / "in" / "run" / name for name in names]
    if chance.random() < 0.4:
        options = ("in/run", "--lora", chance.choice(["diffusers", "comfyui", "kohya"]), "--out", "out.safetensors")
        return Setup("export", options, targets[2:], ("out.safetensors",))
    report = folder / "in" / "report.txt"
    report.write_text("measured: 30 dB\n")
    options = ("in/run", "--out", "out", "--report", "in/report.txt")
    return Setup("export", options, [*targets, report], ("out/README.md", "out/model_index.json"))


def resumed(chance: Random, seeds: Seeds, folder: Path, run: Command) -> Setup:
    """A run that goes on from a checkpoint, or with caches, of which a file is damaged."""
    runs = seeds.folder / "runs" / "train"
    shutil.copytree(runs / "in" / "footage", folder / "in" / "footage")
    setup = _train("footage", chance, seeds, [], folder, 0.0)
    run("train", setup.options, folder)
    part = chance.choice(["run/checkpoints", "cache", "cache"])
    files = [path for path in sorted((folder / part).rglob("*")) if path.is_file()]
    return Setup("train", (*setup.options, "steps=2"), files, (), WORKS)


def cached(chance: Random, seeds: Seeds, folder: Path, run: Command) -> Setup:
    """Frames that were decoded once."""
    shutil.copytree(seeds.folder / "runs" / "cached" / "cache", folder / "cache")
    return _train("cached", chance, seeds, sorted((folder / "cache").iterdir()), folder)


KINDS: dict[str, tuple[float, Maker]] = {
    "image": (14, image),
    "video": (18, video),
    "spec": (8, spec),
    "record": (6, record),
    "hand": (12, hand),
    "dataset": (14, dataset),
    "footage": (6, footage),
    "captions": (6, captions),
    "recipe": (5, recipe),
    "lora": (8, lora),
    "model": (10, model),
    "blend": (3, blend),
    "trained": (5, trained),
    "resumed": (4, resumed),
    "cached": (3, cached),
}
