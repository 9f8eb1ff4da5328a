"""What `import vsr` offers."""

import subprocess
import sys

import pytest

import vsr


@pytest.mark.parametrize("name", vsr.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(vsr, name) is not None
    assert name in dir(vsr)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'upscale'"):
        _ = vsr.upscale


def test_the_import_loads_no_heavy_module() -> None:
    code = "import sys, vsr; assert not {'torch', 'av', 'cv2', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
