"""Question-aware Gaussian mixture-of-experts layers for video question answering."""

from ._version import __version__
from .expert import GaussianExpert
from .extent import Extent, clip_extent
from .fusion import QuestionFusion
from .grounding import Spans, best_span, expert_spans, gated_timeline, peak_span, temporal_iop, temporal_iou
from .inputs import check_inputs
from .losses import gaussian_diversity_loss, importance_loss, load_balance_loss, router_z_loss
from .moe import TemporalMoE
from .patches import PatchFusion
from .refiner import ProgressiveRefiner
from .router import QuestionRouter
from .routing import Routing
from .statistics import RoutingStatistics, routing_statistics

__all__ = [
    "Extent",
    "GaussianExpert",
    "PatchFusion",
    "ProgressiveRefiner",
    "QuestionFusion",
    "QuestionRouter",
    "Routing",
    "RoutingStatistics",
    "Spans",
    "TemporalMoE",
    "__version__",
    "best_span",
    "check_inputs",
    "clip_extent",
    "expert_spans",
    "gated_timeline",
    "gaussian_diversity_loss",
    "importance_loss",
    "load_balance_loss",
    "peak_span",
    "router_z_loss",
    "routing_statistics",
    "temporal_iop",
    "temporal_iou",
]
