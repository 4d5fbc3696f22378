"""The pre-training lesson runs on real volumes and real reports, in CT-RATE's own layout."""

import json
from pathlib import Path

import papermill
import pytest
from forked_kernels import kernels_of

from data_prep.ct_rate import prepare_ct_rate

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def test_pre_training_runs_to_the_end_on_real_files(shared_data, tmp_path):
    prepared = prepare_ct_rate(shared_data / "layouts/ctrate/dataset", tmp_path / "prepared")
    assert prepared.taken == 4
    with kernels_of(ROOT):
        papermill.execute_notebook(
            ROOT / "notebooks" / "03_pretrain.ipynb",
            tmp_path / "out.ipynb",
            parameters={
                "data_dir": str(prepared.folder),
                "output_dir": str(tmp_path / "run"),
                "total_steps": 2,
            },
            progress_bar=False,
            log_output=False,
        )
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["losses"]["mlm"]["final"] > 0
    assert metrics["probe_macro_auroc"] is None  # one held-out patient: undefined, and said so
    assert metrics["retrieval_chance_at_5"] == 1.0
    assert (tmp_path / "run" / "checkpoint" / "model.safetensors").exists()
