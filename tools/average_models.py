"""Average the weights of models of one configuration.

    python tools/average_models.py one.safetensors two.safetensors mean.safetensors

Runs that continue from the same weights often have a better mean than any of them alone (Wortsman
et al., "Model soups", 2022).
"""

import argparse
from pathlib import Path

import torch
from tool_main import run

from vsr.errors import ModelError
from vsr.system.files import check_writable
from vsr.zoo.model_file import load_generator, read_config, save_generator


def main() -> None:
    """Write the mean of the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", help="model files to average")
    parser.add_argument("mean", type=Path, help="the model file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing model file")
    chosen = parser.parse_args()
    check_writable(chosen.mean, chosen.overwrite)
    configs = [read_config(model) for model in chosen.models]
    for model, config in zip(chosen.models, configs, strict=True):
        if config != configs[0]:
            raise ModelError(f"{model}: has another configuration than {chosen.models[0]}")
    states = [load_generator(model).state_dict() for model in chosen.models]
    mean = {key: torch.stack([state[key] for state in states]).mean(dim=0) for key in states[0]}
    save_generator(chosen.mean, mean, configs[0])


if __name__ == "__main__":
    run(main)
