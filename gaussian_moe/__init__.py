"""Question-aware Gaussian mixture-of-experts layers for video question answering."""

from ._version import __version__
from .expert import GaussianExpert
from .fusion import QuestionFusion
from .inputs import check_inputs
from .moe import TemporalMoE
from .patches import PatchFusion
from .refiner import ProgressiveRefiner
from .router import QuestionRouter
from .routing import Routing

__all__ = [
    "GaussianExpert",
    "PatchFusion",
    "ProgressiveRefiner",
    "QuestionFusion",
    "QuestionRouter",
    "Routing",
    "TemporalMoE",
    "__version__",
    "check_inputs",
]
