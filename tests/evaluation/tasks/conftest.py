"""Stand-ins of the data sets: made-up patients in the official layout, through the importers."""

import pytest

from data_prep.acdc import prepare_acdc
from data_prep.cc_ccii import prepare_cc_ccii
from data_prep.covid19_20 import prepare_covid19_20
from data_prep.ctrg_chest import prepare_ctrg_chest
from data_prep.luna16 import prepare_luna16
from data_prep.msd import prepare_msd
from data_prep.phantom.layouts.__main__ import LAYOUTS
from data_prep.stoic2021 import prepare_stoic2021
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.training.loop import pretrain
from mg3d.volumes.grid import Grid
from mg3d.volumes.intensity import EightBit

COARSE = PrepareSettings(grid=Grid(None, (10.0, 8.0, 8.0)))
SETS = {  # layout -> patients, importer, prepared form
    "luna16": (10, prepare_luna16, PrepareSettings(grid=Grid(None, (5.0, 5.0, 5.0)))),
    "cc_ccii": (
        15,
        prepare_cc_ccii,
        PrepareSettings(grid=Grid((32, 32, 32)), intensity=EightBit()),
    ),
    "stoic2021": (40, prepare_stoic2021, PrepareSettings(grid=Grid((32, 32, 32), (10.0,) * 3))),
    "msd_lung": (5, prepare_msd, COARSE),
    "msd_colon": (5, prepare_msd, COARSE),
    "covid19_20": (5, prepare_covid19_20, COARSE),
    "acdc": (10, prepare_acdc, PrepareSettings(grid=Grid(None, (None, 4.0, 4.0)))),
    "ctrg_chest": (
        12,
        prepare_ctrg_chest,
        PrepareSettings(grid=Grid((32, 32, 32)), intensity=EightBit()),
    ),
}
# Folder inside the layout that is given to the importer.
INSIDE = {"msd_lung": "Task06_Lung", "msd_colon": "Task10_Colon", "covid19_20": "Train"}


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory):
    """Prepared folders by layout, made when they are first asked for."""
    folders = {}

    def make(layout):
        if layout not in folders:
            patients, importer, form = SETS[layout]
            root = tmp_path_factory.mktemp(layout)
            LAYOUTS[layout](root / "raw", patients, 0)
            raw = root / "raw" / INSIDE.get(layout, "")
            done = importer(raw, root / "out", RunOptions(settings=form, workers=0))
            assert not done.refused
            folders[layout] = done.folder
        return folders[layout]

    return make


@pytest.fixture(scope="session")
def weights(prepared, tmp_path_factory):
    """Folder of a pre-training of six steps on the dozen small patients."""
    from prepared_patients import small_config

    folder = tmp_path_factory.mktemp("pretrained")
    pretrain(small_config(), prepared, folder, log=lambda _: None)
    return folder
