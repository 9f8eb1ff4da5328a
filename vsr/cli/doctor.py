"""`vsr doctor`: the facts that a bug report needs."""

import click

from vsr import __version__
from vsr.cli.streams import print_result
from vsr.errors import VsrError


@click.command("doctor")
def doctor_command() -> None:
    """Print versions and devices, for bug reports.

    \b
    vsr doctor
    """
    import platform

    import av
    import torch

    from vsr.engine.backends import openvino_core, openvino_version
    from vsr.evaluation.vmaf import describe_libvmaf
    from vsr.media.dicom import has_pydicom
    from vsr.media.encode.codecs import available_encoders
    from vsr.media.encode.trial import openable_encoders
    from vsr.media.picture_formats import (
        missing_formats,
        needs_extra,
        readable_formats,
        writable_formats,
    )
    from vsr.system.machine import list_devices
    from vsr.zoo import list_models

    print_result(f"vsr      {__version__}")
    print_result(f"python   {platform.python_version()} on {platform.platform()}")
    print_result(f"torch    {torch.__version__}, {torch.get_num_threads()} threads")
    libraries = ", ".join(
        f"{name[3:]} {'.'.join(map(str, version))}" for name, version in av.library_versions.items()
    )
    openvino = openvino_version()
    computes_on = f" on {', '.join(openvino_core().available_devices)}" if openvino else ""
    print_result(f"openvino {openvino or 'not installed'}{computes_on}")
    print_result(f"onnx     {_describe_onnxruntime()}")
    print_result(f"PyAV     {av.__version__} ({libraries})")
    print_result(f"devices  {', '.join(list_devices())}")
    hardware = openable_encoders()
    for codec, present in available_encoders().items():
        encoders = [*(["cpu"] if present else []), *hardware.get(codec, [])]
        print_result(f"{codec:<8} {', '.join(encoders) or 'no encoder'}")
    print_result(f"pictures read {', '.join(readable_formats())}")
    print_result(f"pictures written {', '.join(writable_formats())}")
    if missing := missing_formats():
        print_result(f"pictures {needs_extra(*missing)}")
    medical = "DICOM" if has_pydicom() else "DICOM needs pip install 'vsr[medical]'"
    print_result(f"medical  {medical}")
    print_result(f"vmaf     {describe_libvmaf()}")
    print_result(f"models   {', '.join(card.name for card in list_models()) or 'none'}")


def _describe_onnxruntime() -> str:
    """Name the version of ONNX Runtime and its providers, or say what the backend lacks."""
    from vsr.engine.backends import installed_providers, onnxruntime_version

    version = onnxruntime_version()
    if version is None:
        return "not installed"
    try:
        return f"{version}, providers {', '.join(installed_providers())}"
    except VsrError as error:  # without onnx, it computes ONNX files alone
        return f"{version}; {error}"
