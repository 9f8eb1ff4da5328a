"""Networks of other projects: what is read, what is refused, and that no code runs."""

import pickle
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.zoo.community_matrix import END, PAGE, SAMPLES, START, build, table, write_weights
from vsr.engine.backends import openvino_community
from vsr.engine.backends.openvino_community import OpenVinoNetwork
from vsr.errors import ModelError
from vsr.zoo import load
from vsr.zoo.community import known_architectures, read_community_model

spandrel = pytest.importorskip("spandrel")
UPSCALING = [name for name in SAMPLES if name != "Compact, greyscale"]


def message(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def reference(name: str) -> Any:
    """The network as spandrel describes it."""
    weights = dict(build(name).state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return spandrel.MAIN_REGISTRY.load(weights).eval()


@pytest.mark.parametrize("name", UPSCALING)
def test_output_is_that_of_spandrel(name: str, tmp_path: Path) -> None:
    generator = load(write_weights(name, tmp_path))
    theirs = reference(name)
    assert generator.scale == theirs.scale
    low = torch.rand(1, 3, 19, 22)
    before = low.clone()
    with torch.inference_mode():
        ours = generator.step(low, generator.start(low))[0]
    assert torch.equal(low, before)
    assert ours.shape == (1, 3, 19 * generator.scale, 22 * generator.scale)
    assert torch.allclose(ours.clamp(0, 1), theirs(low.clone()), atol=1e-5)


@pytest.mark.slow
def test_page_has_the_table_of_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial of one picture, in this process, takes half as long."""

    def in_this_process(model: Any, pictures: list[torch.Tensor]) -> list[torch.Tensor]:
        return [OpenVinoNetwork(model)(low) for low in pictures]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(openvino_community, "_computed_apart", in_this_process)
    monkeypatch.setattr(openvino_community, "_TRIAL_SIZES", ((19, 33),))
    page = PAGE.read_text(encoding="utf-8")
    assert page.split(START)[1].split(END)[0] == table()


def test_safetensors_of_other_projects_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    weights = build("RealESRGAN Compact").state_dict()
    save_file(weights, path, metadata={"modelspec.license": "CC-BY-4.0"})
    generator = read_community_model(path)
    assert generator.facts.licence == "CC-BY-4.0"
    assert generator.facts.supports_half
    assert tuple(generator.start(torch.rand(1, 3, 4, 4))) == ()


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    weights = build("RealESRGAN Compact").state_dict()
    torch.save({"params": weights, "extra": Attack(proof)}, tmp_path / "new.pth")
    torch.save(
        {"params": weights, "extra": Attack(proof)},
        tmp_path / "old.pth",
        _use_new_zipfile_serialization=False,
    )
    (tmp_path / "bare.ckpt").write_bytes(pickle.dumps(Attack(proof), protocol=2))
    for name in ("new.pth", "old.pth", "bare.ckpt"):
        assert "its code isn't run" in message(tmp_path / name)
        assert not proof.exists()
    torch.load(tmp_path / "new.pth", weights_only=False)  # the attack itself works
    assert proof.exists()


def test_unknown_weights_are_one_line_that_lists_what_is_read(tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "a.pth")
    text = message(tmp_path / "a.pth")
    for name in ("ESRGAN", "RealESRGAN Compact", "SPAN", "DAT", "SwinIR", "ONNX"):
        assert name in text
    assert "GFPGAN" not in known_architectures()


def test_networks_that_do_not_upscale_rgb_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey = write_weights("Compact, greyscale", tmp_path)
    assert "is for greyscale (1 channels to 1)" in message(grey)
    for purpose, said in (("Inpainting", "needs a mask"), ("FaceSR", "restores faces alone")):
        found = SimpleNamespace(purpose=purpose, architecture=SimpleNamespace(name="Name"))
        monkeypatch.setattr(spandrel.MAIN_REGISTRY, "load", lambda weights, found=found: found)
        assert said in message(grey)


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_broken_files_are_one_line(tmp_path: Path) -> None:
    text = tmp_path / "text.pth"
    text.write_text("these are no weights")
    empty = tmp_path / "empty.pth"
    empty.write_bytes(b"")
    archive = tmp_path / "zip.pth"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "text")
    whole = write_weights("SPAN", tmp_path)
    cut = tmp_path / "cut.pth"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    page = tmp_path / "page.pth"
    page.write_text("<!doctype html>")
    script = tmp_path / "script.pt"
    torch.jit.trace(nn.Conv2d(3, 3, 1), torch.rand(1, 3, 2, 2)).save(script)
    tensor = tmp_path / "tensor.pth"
    torch.save(torch.zeros(2), tensor)
    for path in (archive, script, tensor):
        assert message(path).startswith(f"{path}: ")
    for path in (text, empty, cut, page):
        assert message(path) == f"{path}: not a model file of torch, or incomplete; get it again"
    assert "TorchScript" in message(script)


def test_weights_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    weights = build("SPAN").state_dict()
    weights["conv_cat.weight"] = torch.zeros(1)
    torch.save(weights, tmp_path / "a.pth")
    assert "don't fit their architecture" in message(tmp_path / "a.pth")
    weights = build("RealESRGAN Compact").state_dict()
    weights["body.2.bias"] = torch.zeros(7)
    torch.save(weights, tmp_path / "c.pth")
    assert "size mismatch for body.2.bias" in message(tmp_path / "c.pth")
    torch.save({"a": torch.zeros(1).expand(10**9)}, tmp_path / "b.pth")
    assert "more weights than the file holds" in message(tmp_path / "b.pth")


def test_archives_that_unpack_to_much_more_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "a.pth")
    bomb = tmp_path / "b.pth"
    with zipfile.ZipFile(tmp_path / "a.pth") as plain, zipfile.ZipFile(bomb, "w", 8) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert "more weights than the file holds" in message(bomb)


def test_names_of_layers_that_the_file_lacks_are_refused(tmp_path: Path) -> None:
    """ESRGAN takes its count of blocks from the largest index."""
    weights = dict(build("ESRGAN").state_dict())
    weights |= {name.replace("sub.0.", "sub.99999."): weights[name] for name in weights}
    torch.save({"params_ema": weights}, tmp_path / "a.pth")
    assert "names layer 99999, but holds only" in message(tmp_path / "a.pth")


@pytest.mark.parametrize("change", ["to_sparse", "cfloat"])
def test_weights_that_are_no_plain_arrays_are_refused(change: str, tmp_path: Path) -> None:
    weights = {name: getattr(one, change)() for name, one in build("SPAN").state_dict().items()}
    torch.save(weights, tmp_path / "a.pth")
    assert "sparse, quantised or complex" in message(tmp_path / "a.pth")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    weights = build("SPAN").state_dict()
    weights["conv_cat.weight"].view(-1)[0] = float("nan")
    torch.save(weights, tmp_path / "a.pth")
    assert "aren't finite" in message(tmp_path / "a.pth")


def test_detail_needs_a_twin(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no twin"):
        load(write_weights("SPAN", tmp_path), detail=0.5)


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_weights("SPAN", tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "spandrel", None)
    assert "pip install 'vsr[community]'" in message(path)
