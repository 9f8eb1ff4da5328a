"""The image, the compose file and the manifests agree with each other and with the package."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from vsr.cli import cli

ROOT = Path(__file__).parents[1]
MANIFESTS = sorted((ROOT / "deploy").rglob("*.yaml"))
DEVICES = ("cpu", "cuda")
"""Values of the argument DEVICE; the first one is the default."""
INSTRUCTIONS = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER", "WORKDIR"}


def instructions() -> list[tuple[str, str]]:
    """Split the Dockerfile into instructions and their arguments."""
    text = (ROOT / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(name, rest) for name, rest in (line.split(maxsplit=1) for line in joined)]


def stages(device: str) -> dict[str, str]:
    """Return the base of each build stage of the image for a device."""
    bases = [rest.split(" AS ") for name, rest in instructions() if name == "FROM"]
    return {stage: base.replace("${DEVICE}", device) for base, stage in bases}


def services() -> dict[str, Any]:
    content = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert isinstance(content, dict)
    return content


def check_command(words: list[str]) -> None:
    """Fail unless the command and its options exist."""
    command = cli.commands[words[0]]
    known = {name for option in command.params for name in option.opts}
    options = {word for word in words[1:] if word.startswith("--")}
    assert options <= known, f"{words}: {options - known}"


@pytest.mark.parametrize("device", DEVICES)
def test_the_stages_of_the_image_start_from_earlier_ones(device: str) -> None:
    earlier: set[str] = set()
    for stage, base in stages(device).items():
        assert base in earlier or base.startswith("python:"), stage
        earlier.add(stage)


def test_all_instructions_of_the_image_are_known() -> None:
    assert {name for name, _ in instructions()} <= INSTRUCTIONS


def test_the_files_that_the_image_copies_exist_and_reach_the_builder() -> None:
    let_in = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        source for name, rest in instructions() if name == "COPY" for source in rest.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / source).exists() for source in copied)


def test_the_extras_that_the_image_installs_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = {
        extra
        for _, rest in instructions()
        for extras in re.findall(r"/src\[(.*?)\]", rest)
        for extra in extras.split(",")
    }
    assert installed
    assert installed <= project["optional-dependencies"].keys()


def test_the_build_copies_all_that_the_package_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    copied = [word for name, rest in instructions() if name == "COPY" for word in rest.split()[:-1]]
    for needed in (project["readme"], *project["license-files"]):
        assert any(Path(needed).is_relative_to(one) for one in copied), needed


def test_images_do_not_run_as_root() -> None:
    last = (ROOT / "Dockerfile").read_text().split("\nFROM ")[-1]
    assert "\nUSER vsr\n" in last


def test_services_name_the_image_after_the_device_that_it_is_built_for() -> None:
    assert ("ARG", f"DEVICE={DEVICES[0]}") in instructions()
    for service in services().values():
        device = service["build"]["args"]["DEVICE"]
        assert device in DEVICES
        assert service["image"] == f"vsr:{device}"


def test_services_use_declared_volumes_and_services() -> None:
    content = yaml.safe_load((ROOT / "compose.yaml").read_text())
    for service in services().values():
        for volume in service["volumes"]:
            name, folder = re.sub(r"\$\{.*?\}", ".", volume).split(":")[:2]
            assert name == "." or name in content["volumes"]
            assert folder.startswith("/")
        assert set(service.get("depends_on", ())) <= services().keys()


def test_the_command_of_each_service_exists() -> None:
    for service in services().values():
        if "command" in service:
            check_command(service["command"])


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_pods_mount_declared_volumes_and_ask_for_what_they_are_limited_to(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    spec = content.get("spec", {})
    cluster = spec.get("rayClusterSpec", spec)
    if "headGroupSpec" not in cluster:
        return
    assert content["apiVersion"] == "ray.io/v1"
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_node_types_on_aws_include_the_head() -> None:
    content = yaml.safe_load((ROOT / "deploy" / "aws.yaml").read_text())
    assert content["head_node_type"] in content["available_node_types"]
    needed = sum(kind.get("min_workers", 0) for kind in content["available_node_types"].values())
    assert needed <= content["max_workers"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_image_builds_and_prints_its_version() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True).returncode:
        pytest.skip("no docker daemon runs here")
    build = [docker, "build", "--quiet", str(ROOT)]
    image = subprocess.run(build, check=True, capture_output=True, text=True).stdout.strip()
    run = [docker, "run", "--rm", image, "--version"]
    assert "vsr" in subprocess.run(run, check=True, capture_output=True, text=True).stdout
