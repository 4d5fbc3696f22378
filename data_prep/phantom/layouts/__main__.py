"""Write made-up patients in the layout of a real data set: the command."""

import argparse
from collections.abc import Callable
from pathlib import Path

from data_prep.command import run
from data_prep.phantom.layouts.challenges import write_cc_ccii, write_luna16, write_stoic2021
from data_prep.phantom.layouts.chest import write_covid19_20, write_msd_colon, write_msd_lung
from data_prep.phantom.layouts.ctrg import write_ctrg_chest, write_ctrg_chest_jpg
from data_prep.phantom.layouts.heart import write_acdc, write_acdc_nnunet
from data_prep.phantom.layouts.rad_chestct import write_rad_chestct

LAYOUTS: dict[str, Callable[[Path, int, int], None]] = {
    "acdc": write_acdc,
    "acdc-nnunet": write_acdc_nnunet,
    "cc_ccii": write_cc_ccii,
    "covid19_20": write_covid19_20,
    "ctrg_chest": write_ctrg_chest,
    "ctrg_chest-jpg": write_ctrg_chest_jpg,
    "luna16": write_luna16,
    "msd_colon": write_msd_colon,
    "msd_lung": write_msd_lung,
    "rad_chestct": write_rad_chestct,
    "stoic2021": write_stoic2021,
}


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.phantom.layouts",
        description="Write made-up patients in the official layout of a data set.",
    )
    parser.add_argument("--layout", required=True, choices=LAYOUTS, help="whose")
    parser.add_argument("--output", type=Path, required=True, help="folder for the raw files")
    parser.add_argument("--patients", type=int, default=10, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other patients")
    asked = parser.parse_args(arguments)

    def work() -> None:
        if asked.patients < 1 or asked.seed < 0:
            raise ValueError(
                f"expected 1 patient or more and a seed of 0 or more, got {asked.patients} and "
                f"{asked.seed}"
            )
        if asked.output.is_dir() and any(asked.output.iterdir()):
            raise ValueError(f"{asked.output} holds files already; give an empty folder")
        LAYOUTS[asked.layout](asked.output, asked.patients, asked.seed)

    return run(work)


if __name__ == "__main__":
    raise SystemExit(main())
