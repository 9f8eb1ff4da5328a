"""Networks of spandrel's own classes with few random weights, and the table of what is read.

`python -m tests.zoo.community_matrix` writes the table into `docs/how-to/community-models.md`.
"""

import tempfile
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from vsr.engine.backends.openvino_community import ConversionError, read_converted
from vsr.errors import ModelError
from vsr.zoo.community import describe_sizes, read_community_model

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "community-models.md"
START, END = "<!-- matrix -->\n", "<!-- end of matrix -->"


class Sample(NamedTuple):
    """A network to build."""

    architecture: str
    class_name: str
    options: dict[str, Any]


_WINDOWS = {"embed_dim": 16, "depths": [2], "num_heads": [2], "mlp_ratio": 2.0, "upscale": 2}
SAMPLES = {
    "ESRGAN": Sample("ESRGAN", "ESRGAN", {"num_filters": 8, "num_blocks": 1, "scale": 4}),
    "RealESRGAN x2 (unshuffle)": Sample(
        "ESRGAN",
        "ESRGAN",
        {"in_nc": 12, "num_filters": 8, "num_blocks": 1, "scale": 4, "shuffle_factor": 2},
    ),
    "RealESRGAN Compact": Sample("Compact", "Compact", {"num_feat": 8, "num_conv": 2}),
    "SPAN": Sample(
        "SPAN", "SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8, "upscale": 3}
    ),
    "SwinIR": Sample(
        "SwinIR",
        "SwinIR",
        {**_WINDOWS, "window_size": 8, "upsampler": "pixelshuffledirect", "img_size": 32},
    ),
    "Swin2SR": Sample(
        "Swin2SR",
        "Swin2SR",
        {**_WINDOWS, "window_size": 8, "upsampler": "pixelshuffledirect", "img_size": 32},
    ),
    "HAT": Sample(
        "HAT",
        "HAT",
        {**_WINDOWS, "window_size": 8, "squeeze_factor": 8, "upsampler": "pixelshuffle"},
    ),
    "DAT": Sample(
        "DAT",
        "DAT",
        {"embed_dim": 32, "depth": [2], "num_heads": [2], "split_size": [8, 16], "upscale": 2},
    ),
    "DRCT": Sample("DRCT", "DRCT", {**_WINDOWS, "window_size": 8, "upsampler": "pixelshuffle"}),
    "OmniSR": Sample("OmniSR", "OmniSR", {"num_feat": 16, "res_num": 1, "up_scale": 2}),
    "RCAN": Sample("RCAN", "RCAN", {"scale": 2, "n_resgroups": 1, "n_resblocks": 1, "n_feats": 16}),
    "PLKSR": Sample("PLKSR", "PLKSR", {"dim": 16, "n_blocks": 1, "upscaling_factor": 3}),
    "RealPLKSR": Sample("PLKSR", "RealPLKSR", {"dim": 16, "n_blocks": 2, "upscaling_factor": 4}),
    "MoSR": Sample("MoSR", "MoSR", {"dim": 16, "n_block": 1, "upscale": 2}),
    "SAFMN": Sample("SAFMN", "SAFMN", {"dim": 16, "n_blocks": 1, "upscaling_factor": 2}),
    "Swift-SRGAN": Sample(
        "SwiftSRGAN", "SwiftSRGAN", {"num_channels": 8, "num_blocks": 1, "upscale_factor": 2}
    ),
    "RealCUGAN": Sample("RealCUGAN", "UpCunet2x", {}),
    "NAFNet (x1)": Sample(
        "NAFNet", "NAFNet", {"width": 8, "enc_blk_nums": [1], "dec_blk_nums": [1]}
    ),
    "Compact, greyscale": Sample(
        "Compact", "Compact", {"num_in_ch": 1, "num_out_ch": 1, "num_feat": 8, "num_conv": 2}
    ),
}
"""By name."""


def build(name: str) -> nn.Module:
    """Build a network, in evaluation mode."""
    sample = SAMPLES[name]
    module = import_module(f"spandrel.architectures.{sample.architecture}")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network: nn.Module = getattr(module, sample.class_name)(**sample.options)
    return network.eval()


def write_weights(name: str, folder: Path) -> Path:
    """Write the weights of a network as a .pth file."""
    path = folder / f"{SAMPLES[name].class_name.lower()}.pth"
    torch.save({"params_ema": build(name).state_dict()}, path)
    return path


def table() -> str:
    """Write a row for each network, by reading it and converting it for OpenVINO."""
    rows = [
        "| architecture | read | scale | sizes without padding | f16 | OpenVINO |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name in SAMPLES:
            try:
                network = read_community_model(write_weights(name, Path(folder)))
            except ModelError as error:
                reason = str(error).split(": ", 1)[1].split(";")[0]
                rows.append(f"| {name} | no: {reason} | | | | |")
                continue
            facts = network.facts
            half = "yes" if facts.supports_half else "no"
            try:
                read_converted(network)
                converts = "yes"
            except ConversionError as error:
                converts = f"no: {error}"
            sizes = describe_sizes(facts.sizes)
            rows.append(f"| {name} | yes | {facts.scale} | {sizes} | {half} | {converts} |")
    return "\n".join(rows) + "\n"


def with_table(page: str, rows: str) -> str:
    """Replace the table in the text of the page."""
    before, rest = page.split(START, 1)
    return f"{before}{START}{rows}{END}{rest.split(END, 1)[1]}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table()), encoding="utf-8")
