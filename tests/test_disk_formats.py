"""Keys of files that users have, literally: who renames an attribute must leave them as they are.

The journal and a job's identity are in `tests/engine/test_resume.py`.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from tests.helpers.films import scenes, write_film
from tests.helpers.planes import planes_of
from vsr.config import load_toml
from vsr.data.prepare import prepare
from vsr.data.store import Header, RejectedStretch, Store, StoreWriter, TeacherRun
from vsr.imaging.colour import ColourSpec, Matrix
from vsr.models import Recurrent, RecurrentConfig, RrdbnetConfig, SrresnetConfig, build_generator
from vsr.training.config import TrainConfig
from vsr.training.discriminator import DiscriminatorTrainer, DiscriminatorTrainingConfig
from vsr.training.trainer import Trainer
from vsr.zoo.card import read_card, write_card
from vsr.zoo.model_file import Origin, add_ranges, load_generator, read_origin, save_generator

SMOKE = Path(__file__).parents[1] / "configs" / "smoke.toml"


def pairs(*layers: str) -> list[str]:
    """The names of layers' tensors."""
    return [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]


# Model files

RECURRENT = RecurrentConfig(
    scale=2, channels=4, blocks=1, memory=4, flow_channels=4, flow_levels=2, steadies=True
)
RECURRENT_JSON = (
    '{"kind":"recurrent","scale":2,"channels":4,"blocks":1,"memory":4,'
    '"flow_channels":4,"flow_levels":2,"steadies":true}'
)
RECURRENT_LAYERS = [
    "flow.layers.0",
    "flow.layers.2",
    "flow.layers.4",
    "flow.finest.0",
    "flow.finest.2",
    "steady.first",
    "steady.second",
    "entry",
    "trunk.0.first",
    "trunk.0.second",
    "exit",
    "head",
]
RECURRENT_TENSORS = pairs(*RECURRENT_LAYERS)


def test_a_model_file_has_the_keys_of_its_format(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    origin = Origin(name="a", licence="MIT", source="somebody")
    save_generator(path, Recurrent(RECURRENT).state_dict(), RECURRENT, origin)
    add_ranges(path, {"entry": (0.0, 1.0)})
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {
            "vsr.generator": RECURRENT_JSON,
            "vsr.origin": '{"name":"a","licence":"MIT","source":"somebody"}',
            "vsr.ranges": '{"entry": [0.0, 1.0]}',
        }
        assert sorted(file.keys()) == sorted(RECURRENT_TENSORS)
    assert load_generator(path).int8_ranges == {"entry": (0.0, 1.0)}
    assert read_origin(path) == origin


def test_still_networks_have_the_tensors_of_their_format() -> None:
    enlarge = ["enlarge.0.conv", "enlarge.1.conv"]
    srresnet = SrresnetConfig(channels=4, blocks=1)
    assert srresnet.model_dump_json() == '{"kind":"srresnet","scale":4,"channels":4,"blocks":1}'
    assert sorted(build_generator(srresnet).state_dict()) == sorted(
        pairs("entry.0", "trunk.0.first", "trunk.0.second", "exit", *enlarge, "head")
        + [f"{layer}.weight" for layer in ("entry.1", "trunk.0.act", "enlarge.0.act")]
        + ["enlarge.1.act.weight"]
    )
    rrdbnet = RrdbnetConfig(channels=4, growth=2, blocks=1)
    assert rrdbnet.model_dump_json() == (
        '{"kind":"rrdbnet","scale":4,"channels":4,"growth":2,"blocks":1}'
    )
    dense = [f"trunk.0.blocks.{block}.layers.{n}" for block in range(3) for n in range(5)]
    assert sorted(build_generator(rrdbnet).state_dict()) == sorted(
        pairs("entry", *dense, "trunk.1", "enlarge.0", "enlarge.1", "refine", "head")
    )


# Cards

CARD_TEXT = """\
name = "mine"
scale = 4
summary = "plain"
parameters = 12
default_detail = 0.25
multiplies_per_pixel = 7
licence = "MIT"
machine = "a CPU"
minutes = 3.5
iterations = 9
recipe = "vsr train"
data = [
    "one",
]
validation = []

[scores.bi]
psnr_y = 30.0
ssim_y = 0.9
tof = 0.2
sharpness = nan
warping_error = nan
flicker = nan
bicubic_psnr_y = 29.0
bicubic_ssim_y = 0.8
bicubic_tof = 0.3
bicubic_sharpness = nan
bicubic_warping_error = nan
bicubic_flicker = nan
frames = 0

[pictures.web]
frames = 3
psnr_y = 30.0
bicubic_psnr_y = 29.0
features = 0.5
sharpness = 0.4
flicker = 0.3
excess_flicker = 0.2
tof = 0.1
cvvdp = 9.0
memory_gain = nan
"""


def test_a_card_has_the_keys_of_its_format(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text(CARD_TEXT)
    card = read_card(path)
    assert card.data == ("one",)
    older = tmp_path / "older.toml"
    older.write_text(CARD_TEXT.replace("default_detail = 0.25\n", ""))
    assert (card.default_detail, read_card(older).default_detail) == (0.25, 0.0)
    write_card(path, card)
    assert path.read_text() == CARD_TEXT


# Data sets

INDEX = (
    '{"kind":"header","version":1,"shortest":7,"val_share":0.1}\n'
    '{"kind":"source","source":"ab","name":"a.mp4","type":"film","split":"train","width":64,'
    '"height":48,"crop":[0,0,48,64],"stored":[48,64],"frame_rate":"25"}\n'
    '{"kind":"clip","source":"ab","shot":0,"piece":0,"split":"train","shard":0,"offset":0,'
    '"size":9,"frames":2,"height":48,"width":64,"matrix":"bt601","full_range":false,'
    '"hashes":["0f"],"low":{"offset":9,"size":4,"height":12,"width":16}}\n'
    '{"kind":"left_out","source":"ab","shot":1,"piece":0,"frames":3,"reason":"short"}\n'
    '{"kind":"end","source":"ab","name":"a.mp4","frames":5,"error":null}\n'
    '{"kind":"teaching","teaching":"cd","teacher":"x4plus","sha256":"0","licence":"MIT",'
    '"scale":4,"back_projections":2,"precision":"bf16","native_crop":128}\n'
    '{"kind":"taught","teaching":"cd","source":"ab","shot":0,"piece":0,"first":0,"frames":2,'
    '"top":0,"left":0,"height":48,"width":64,"shard":0,"offset":0,"size":9}\n'
)


def test_an_index_of_its_format_is_read_and_written(tmp_path: Path) -> None:
    (tmp_path / "index.jsonl").write_text(INDEX)
    store = Store(tmp_path)
    (tmp_path / "again").mkdir()
    assert isinstance(store.lines[0], Header)
    writer = StoreWriter(tmp_path / "again", store.lines[0])
    for line in store.lines[1:]:
        writer.add(line)
    assert (tmp_path / "again" / "index.jsonl").read_text() == INDEX


def keys_by_kind(index: str) -> dict[str, list[str]]:
    return {line["kind"]: sorted(line) for line in map(json.loads, index.splitlines())}


def test_a_new_index_has_the_keys_of_its_format(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", scenes(240, 192, [8, 3]))
    store = prepare([film], tmp_path / "set", Header(shortest=7, val_share=0.1))
    writer = StoreWriter(store.folder, store.header)
    source = next(iter(store.sources.values()))
    planes = planes_of(scenes(32, 32, [2]))
    clip = writer.add_clip(
        planes, ColourSpec(Matrix.BT601), source, shot=9, piece=0, hashes=["0f"], low=planes
    )
    writer.add(RejectedStretch(source="ab", shot=1, piece=0, frames=3, reason="short"))
    writer.add(TeacherRun.model_validate_json(INDEX.splitlines()[5]))
    writer.add_teacher_output(planes, "cd", clip, 0, (0, 0))
    assert keys_by_kind((store.folder / "index.jsonl").read_text()) == keys_by_kind(INDEX)


# Training states

STATE_CONFIG: dict[str, Any] = json.loads("""
{
    "model": {
        "kind": "recurrent", "scale": 2, "channels": 4, "blocks": 1, "memory": 4,
        "flow_channels": 4, "flow_levels": 2, "steadies": true
    },
    "data": {
        "dataset": "dataset", "memory_gb": 8.0, "motion_crop": 12, "stills_share": 0.25,
        "micro_share": 0.05, "static_share": 0.05, "static_noise": 0.0, "spliced_share": 0.03,
        "degradation": {
            "bi": 0.5, "bd": 0.15, "codec": 0.2, "real": 0.15, "web": 0.0, "bd_sigma": null,
            "bd_phase": "middle", "codec_crf": [16, 26], "real_strength": 0.5
        },
        "targets": "original", "taught_by": null, "native_share": 0.0, "agreement": 0.15,
        "sharpening": {"sigma": 8.0, "amount": 0.5, "threshold": 10.0}
    },
    "training": {
        "iterations": 10, "motion_iterations": 2, "batch": 2, "carry_share": 0.4,
        "stages": [{"until": 0.5, "frames": 3, "crop": 8}, {"until": 1.0, "frames": 4, "crop": 12}],
        "learning_rate": 0.001, "warmup_share": 0.03, "gradient_clip": 0.5, "flow_rate": 0.25,
        "clean_weight": 0.0, "warp_weight": 0.0, "ema_decay": 0.999, "start_from": null,
        "teacher": null, "teacher_share": 0.3, "precision": "f32", "compile": false,
        "seed": 0, "workers": 0
    },
    "gan": {
        "perceptual_network": null, "perceptual_layers": ["2_2", "3_4"],
        "perceptual_kind": "cosine", "perceptual_after_activation": true,
        "perceptual_share": 1.0, "perceptual_precision": null,
        "adversary": {
            "discriminator": {
                "sight": "spatio_temporal", "head": "unet", "channels": 4, "levels": 2
            },
            "kind": "relativistic", "learning_rate": 0.0002, "alone": 2, "hold_back": 2.0,
            "r1_weight": 0.1, "r2_weight": 0.0, "penalty_every": 2, "gradient_clip": 1.0
        },
        "weights": {
            "content": 1.0, "means": 1.0, "ping_pong": 0.1, "consistency": 1.7,
            "adversarial": 0.01, "features": 0.01, "perceptual": 0.2, "lpips": 0.0,
            "frequency": 1.0, "clean": 0.0
        },
        "fade_in": 2, "shown": 1, "blend": 1.0, "frequency_window": 0, "watch_every": 100
    },
    "schedule": {
        "validate_every": 4, "validation_frames": 3, "validation_degradation": "bi",
        "save_minutes": 5.0, "keep": 2
    },
    "card": {"summary": "", "licence": "", "data": [], "validation": []}
}
""")
"""Of a training state of vsr 0.1, and of recipes: keys may be added, none may go."""


def assert_holds(now: object, before: object, where: str = "") -> None:
    """Every key and value of `before` is in `now`."""
    if isinstance(before, dict):
        assert isinstance(now, dict), where
        for key, value in before.items():
            assert_holds(now[key], value, f"{where}.{key}")
    else:
        assert now == before, where


def test_the_configuration_in_a_training_state_has_the_keys_of_its_format() -> None:
    config = TrainConfig.model_validate_json(json.dumps(STATE_CONFIG))
    assert_holds(json.loads(config.model_dump_json()), STATE_CONFIG)


def test_a_training_state_has_the_keys_of_its_format(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", scenes(240, 192, [8]))
    prepare([film], tmp_path / "set", Header(shortest=7, val_share=0.1))
    settings = [f"data.dataset={tmp_path / 'set'}", "training.iterations=4"]
    recipe = load_toml(SMOKE, TrainConfig, settings)
    Trainer(recipe, tmp_path / "run", torch.device("cpu")).run()
    state = torch.load(tmp_path / "run" / "state-0000004.pt", weights_only=True)
    keys = "adversary average best carried config generator iteration optimiser rate_factor seconds"
    assert sorted(state) == keys.split()
    tensors = [name for name in RECURRENT_TENSORS if not name.startswith("steady.")]
    assert sorted(state["generator"]) == sorted(state["average"]) == sorted(tensors)
    assert sorted(state["optimiser"]) == ["param_groups", "state"]
    assert len(state["optimiser"]["param_groups"]) == 2  # the motion network and the rest
    assert [len(parts) for parts in state["carried"]] == [2]  # the last frame and the memory
    assert state["adversary"] is None


def test_a_discriminators_state_has_the_keys_of_its_format() -> None:
    config = DiscriminatorTrainingConfig.model_validate(STATE_CONFIG["gan"]["adversary"])
    state = DiscriminatorTrainer(config).state()
    assert sorted(state) == ["held", "optimiser", "weights"]
    normed = [
        f"discriminator.{layer}"
        for layer in ("entry", "down.0", "down.1", "up.0", "up.1", "middle")
    ]
    parts = ("original", "0._u", "0._v")
    assert sorted(state["weights"]) == sorted(
        ["lead", *pairs("discriminator.head"), *(f"{layer}.bias" for layer in normed)]
        + [f"{layer}.parametrizations.weight.{part}" for layer in normed for part in parts]
    )
