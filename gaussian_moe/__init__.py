"""Question-aware Gaussian mixture-of-experts layers for video question answering."""

from ._version import __version__
from .expert import GaussianExpert
from .fusion import QuestionFusion
from .grounding import Spans, best_span, expert_spans, gated_timeline, peak_span, temporal_iop, temporal_iou
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
    "Spans",
    "TemporalMoE",
    "__version__",
    "best_span",
    "check_inputs",
    "expert_spans",
    "gated_timeline",
    "peak_span",
    "temporal_iop",
    "temporal_iou",
]
