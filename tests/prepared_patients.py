"""Fixtures: a prepared folder of a dozen small patients, and settings that train on it in a second.

A plugin of tests/conftest.py. What is heavy is imported when a test asks for it.
"""

import pytest

SHAPE = (32, 32, 32)
SPLITS = ["train"] * 9 + ["val"] * 4
SPACING_MM = (10.0, 11.0, 12.0)


def noise(patient, number, plan):
    import numpy as np

    return np.random.default_rng([patient, number]).integers(0, 256, SHAPE)


def write(folder, splits, volumes_per_patient=1, *, voxels=noise):
    import numpy as np

    from mg3d.data.labels import CT_RATE_FINDINGS
    from mg3d.data.manifest import write_manifest
    from mg3d.data.prepared import write_array
    from mg3d.phantom.patient import draw_patient
    from mg3d.phantom.report import write_report

    folder.mkdir(exist_ok=True)
    rows = []
    for patient, split in enumerate(splits):
        plan = draw_patient(0, patient)
        report = write_report(plan)
        for number in range(1, volumes_per_patient + 1):
            name = f"{split}_{patient}_a_{number}"
            # Axes h, w, d of the array are z, y, x of the world.
            affine = np.zeros((4, 4))
            affine[[2, 1, 0, 3], [0, 1, 2, 3]] = [*SPACING_MM, 1]
            write_array(
                folder / f"{name}.safetensors",
                "volume",
                voxels(patient, number, plan).astype(np.uint8),
                {"affine": affine.tolist()},
            )
            rows.append(
                {
                    "volume_id": name,
                    "patient_id": f"{split}_{patient}",
                    "scan_id": f"{split}_{patient}_a",
                    "reconstruction": number,
                    "split": split,
                    "volume": f"{name}.safetensors",
                    "masks": "",
                    "findings": report.findings,
                    "impression": report.impression,
                    **dict(zip(CT_RATE_FINDINGS, map(int, plan.labels()), strict=True)),
                }
            )
    write_manifest(folder, rows)
    return folder


def small_config():
    from mg3d.config import PRESETS, change

    return change(
        PRESETS["tiny"],
        volume_shape=SHAPE,
        encoder_settings={"channels": (4, 8, 8, 8)},
        dim=32,
        batch_size=4,
        warmup_steps=2,
        total_steps=6,
        validate_every=3,
        save_every=2,
    )


@pytest.fixture(scope="session")
def write_patients():
    """Write a prepared folder with one patient per entry of `splits`.

    `voxels(patient, number, plan)` draws a volume, 0 to 255.
    """
    return write


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    return write(tmp_path_factory.mktemp("prepared"), SPLITS)


@pytest.fixture(scope="session")
def text_encoder():
    from mg3d.text.encoder import CachedTextEncoder, load_text_encoder

    return CachedTextEncoder(load_text_encoder("embedded"))


@pytest.fixture
def config():
    return small_config()
