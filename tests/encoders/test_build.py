import subprocess
import sys

import pytest

from mg3d.config import settings
from mg3d.encoders import ENCODERS, build_encoder


def test_an_encoder_is_built_from_its_name_and_plain_settings():
    encoder = build_encoder("unet3d", channels=(4, 8, 16))
    assert (encoder.width, encoder.stride) == (16, 8)


def test_settings_read_from_json_do_too():
    assert build_encoder("unet3d", channels=[4, 8]).width == 8


def test_an_unknown_encoder_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="swin3d, unet3d; got 'resnet'"):
        build_encoder("resnet")
    assert sorted(ENCODERS) == ["swin3d", "unet3d"]


def test_the_settings_name_every_encoder():
    assert sorted(ENCODERS) == sorted(settings.ENCODERS)


def test_an_unknown_setting_of_an_encoder_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"of unet3d are channels, .*; got chanels, layers"):
        build_encoder("unet3d", chanels=(4, 8), layers=2)


def test_choosing_an_encoder_does_not_import_monai(repository):
    code = "import sys, mg3d.encoders; sys.exit('monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repository).returncode == 0
