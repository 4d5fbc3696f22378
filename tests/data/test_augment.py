import pytest
import torch

from mg3d.config import AugmentationSettings
from mg3d.data.augment import jitter_volume


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def volume():
    return torch.rand(1, 6, 5, 4, generator=seeded(9))


def test_a_jitter_of_nothing_changes_nothing(volume):
    assert not AugmentationSettings().active
    assert torch.equal(jitter_volume(volume, AugmentationSettings(), seeded()), volume)


def test_a_shift_moves_the_voxels_and_repeats_the_edge(volume):
    ramp = torch.arange(6.0).view(1, 6, 1, 1).expand(1, 6, 5, 4) / 10
    seen = {
        tuple(
            (jitter_volume(ramp, AugmentationSettings(jitter_shift=1), seeded(s))[0, :, 0, 0] * 10)
            .round()
            .int()
            .tolist()
        )
        for s in range(20)
    }
    assert seen == {(0, 0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 5)}


def test_contrast_and_brightness_are_one_line_for_all_voxels(volume):
    inner = 0.4 + 0.2 * volume  # nothing is clipped
    changed = jitter_volume(
        inner, AugmentationSettings(jitter_contrast=0.1, jitter_brightness=0.05), seeded(3)
    )
    (slope, offset), *_ = torch.linalg.lstsq(
        torch.stack([inner.flatten(), torch.ones(inner.numel())], 1), changed.flatten()[:, None]
    )
    torch.testing.assert_close(slope * inner + offset, changed)
    assert abs(float(slope) - 1) > 1e-3


def test_noise_has_the_stated_size_and_the_result_stays_in_the_window():
    grey = torch.full((1, 24, 24, 24), 0.5)
    noisy = jitter_volume(grey, AugmentationSettings(jitter_noise=0.02), seeded())
    assert float((noisy - grey).std()) == pytest.approx(0.02, rel=0.03)
    wild = jitter_volume(grey, AugmentationSettings(jitter_noise=2.0), seeded())
    assert float(wild.min()) >= 0 and float(wild.max()) <= 1


def test_the_same_seed_gives_the_same_volume(volume):
    jitter = AugmentationSettings(jitter_shift=1, jitter_contrast=0.1, jitter_noise=0.1)
    assert torch.equal(
        jitter_volume(volume, jitter, seeded(1)), jitter_volume(volume, jitter, seeded(1))
    )
    assert not torch.equal(
        jitter_volume(volume, jitter, seeded(1)), jitter_volume(volume, jitter, seeded(2))
    )


def test_a_negative_jitter_is_refused():
    with pytest.raises(ValueError, match=r"jitter_noise is a number \(at least 0\), got -0\.1"):
        AugmentationSettings(jitter_noise=-0.1)
