"""The machines of a cluster: what they compute with, and what users may ask of them."""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from vsr.errors import ConfigError, VsrError
from vsr.system.files import write_failure
from vsr.system.machine import computes_int8, memory_bytes, pick_device

CLUSTER_DEVICES = ("auto", "cpu", "cuda", "all")
"""Devices of workers; "cuda" and "all" are all GPUs of the cluster."""
VERSIONS = ("vsr", "torch", "av", "openvino")
"""Packages whose versions must be the same on all machines."""
_CONNECT_SECONDS = 5.0
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""First bytes of a client of gRPC, which Ray uses: RFC 9113, 3.4, with a frame of no settings."""
_SETTINGS = b"\x04"
"""Type of the first frame that a server of gRPC sends."""


@dataclass(frozen=True)
class Machine:
    """What a machine computes with, as far as the samples depend on it."""

    host: str
    versions: Mapping[str, str]
    device: str
    """Type of the device."""
    arithmetic: str
    """Model of the GPU, or instruction set of the processor."""
    memory: int
    """Bytes of the device's memory."""


def this_machine(device: str) -> Machine:
    """Describe this machine."""
    chosen = pick_device(device)
    if chosen.type == "cuda":
        arithmetic = torch.cuda.get_device_name(chosen)
    else:
        vnni = ", VNNI" if computes_int8() else ""
        arithmetic = f"{torch.backends.cpu.get_cpu_capability()}{vnni}"
    return Machine(
        host=socket.gethostname(),
        versions={name: _version(name) for name in VERSIONS},
        device=chosen.type,
        arithmetic=arithmetic,
        memory=memory_bytes(chosen),
    )


def check_address(address: str) -> None:
    """Raise `VsrError` unless a server listens at "HOST:PORT"; Ray itself waits for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise VsrError(f"--cluster {address}: name auto, or HOST:PORT such as first:6379")
    try:
        with socket.create_connection((host, int(port)), _CONNECT_SECONDS) as connection:
            is_other = not _may_be_ray(connection)
    except (OSError, OverflowError) as error:
        raise VsrError(
            f"--cluster {address}: can't be reached ({error}); is it the address that `ray start "
            "--head` printed?"
        ) from error
    if is_other:
        raise VsrError(
            f"--cluster {address}: another program than Ray listens there; use the address that "
            "`ray start --head` printed"
        )


def _may_be_ray(connection: socket.socket) -> bool:
    """Whether a server answers as one of gRPC does, or not in time. It isn't asked with TLS."""
    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return True
    connection.sendall(_GREETING)
    try:
        return connection.recv(9, socket.MSG_WAITALL)[3:4] == _SETTINGS
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def check_device(device: str) -> None:
    """Raise `ConfigError` for a device that isn't chosen by name on the machines of a cluster."""
    if device not in CLUSTER_DEVICES:
        raise ConfigError(
            f"--device {device}: with --cluster, use {', '.join(CLUSTER_DEVICES[:-1])} or "
            f"{CLUSTER_DEVICES[-1]}"
        )


def check_versions(machines: Sequence[Machine], own: Machine) -> None:
    """Raise `VsrError` unless all machines have the versions of this one."""
    for machine in machines:
        for name in VERSIONS:
            found, wanted = machine.versions[name], own.versions[name]
            if found != wanted:
                raise VsrError(
                    f"--cluster: {machine.host} has {name} {found}, this machine {wanted}; install "
                    "the same version on all machines"
                )


def unlike_machines(machines: Sequence[Machine]) -> str | None:
    """Return a line about machines whose samples may differ; None if they compute alike."""
    kinds = {(machine.device, machine.arithmetic): machine.host for machine in machines}
    if len(kinds) == 1:
        return None
    listed = ", ".join(f"{host}: {arithmetic}" for (_, arithmetic), host in kinds.items())
    return f"unlike machines ({listed})"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise `OutputError`, with the name of this machine, where a file can't be written."""
    try:
        yield
    except OSError as error:
        raise write_failure(Path(f"{socket.gethostname()}:{path}"), error) from error


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
