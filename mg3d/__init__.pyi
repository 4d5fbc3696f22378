"""What `import mg3d` offers, for type checkers. A test compares it with `__init__.py`."""

from mg3d import attention as attention
from mg3d import config as config
from mg3d import data as data
from mg3d import distributed as distributed
from mg3d import encoders as encoders
from mg3d import evaluation as evaluation
from mg3d import exercises as exercises
from mg3d import experiments as experiments
from mg3d import explain as explain
from mg3d import model as model
from mg3d import modes as modes
from mg3d import objectives as objectives
from mg3d import phantom as phantom
from mg3d import preparation as preparation
from mg3d import pretrained as pretrained
from mg3d import text as text
from mg3d import training as training
from mg3d import viz as viz
from mg3d import volumes as volumes
from mg3d import weights as weights
from mg3d.config import PRESETS as PRESETS
from mg3d.config import LossWeights as LossWeights
from mg3d.config import PretrainConfig as PretrainConfig
from mg3d.data.batch import Batch as Batch
from mg3d.data.dataset import VolumeReportDataset as VolumeReportDataset
from mg3d.data.points import PointDataset as PointDataset
from mg3d.data.volume_dataset import VolumeDataset as VolumeDataset
from mg3d.model import MG3D as MG3D
from mg3d.model import build_model as build_model
from mg3d.pretrained.load import load_pretrained as load_pretrained
from mg3d.pretrained.unetr import to_swin_unetr as to_swin_unetr
from mg3d.text.encoder import load_text_encoder as load_text_encoder

__version__: str
