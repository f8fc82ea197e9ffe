"""The templates: how each kind of question is worded. A word with `<` is a placeholder, replaced whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from examples.avqa.concert import answers, facts, order
from examples.avqa.concert.order import Found, OrderKind
from examples.avqa.concert.scene import Scene


@dataclass(frozen=True)
class Template:
    """One kind of question.

    Attributes:
        kind: MUSIC-AVQA's type, such as ("Audio", "Counting").
        text: the wording with its placeholders.
        topic: what it is about, for tables finer than the nine types; `{0}` stands for the first value.
        find: all (template values, answer) of this kind in a scene.
        order: what it shares with the order-blind oracle; None where the order of onsets does not matter.
        weight: how often it is asked beside the other templates of its type.
    """

    kind: tuple[str, str]
    text: str
    topic: str
    find: Callable[[Scene], Found]
    order: OrderKind | None = None
    weight: float = 1.0


def _ordered(kind: tuple[str, str], text: str, topic: str, order: OrderKind, weight: float = 1.0) -> Template:
    return Template(kind, text, topic, order.find, order, weight)


def _heard_kinds(scene: Scene) -> int:
    return len(facts.kinds(facts.heard(scene)))


def _seen(scene: Scene) -> int:
    return len(facts.seen(scene))


def _seen_kinds(scene: Scene) -> int:
    return len(facts.kinds(facts.seen(scene)))


def _sounding(scene: Scene) -> int:
    return len(answers.sounding(scene))


def _sounding_kinds(scene: Scene) -> int:
    return len(facts.kinds(answers.sounding(scene)))


def _silent(scene: Scene) -> int:
    return _seen(scene) - _sounding(scene)


A_COUNT, A_COMP = ("Audio", "Counting"), ("Audio", "Comparative")
V_COUNT, V_LOC = ("Visual", "Counting"), ("Visual", "Location")
AV_EXIST, AV_COUNT = ("Audio-Visual", "Existential"), ("Audio-Visual", "Counting")
AV_LOC, AV_COMP = ("Audio-Visual", "Location"), ("Audio-Visual", "Comparative")
AV_TEMP = ("Audio-Visual", "Temporal")

HEARING = (
    Template(A_COUNT, "How many different instruments can be heard?", "count heard", answers.count(_heard_kinds)),
    Template(A_COUNT, "Can a <Object> be heard?", "heard", answers.exists(facts.heard)),
    Template(A_COUNT, "Can both <Object> and <Object> be heard?", "both heard", answers.both_exist(facts.heard)),
    Template(
        A_COMP, "Does the <Object> sound louder than the <Object>?", "louder", answers.compare_names(answers.louder)
    ),
    Template(
        A_COMP,
        "Does the <Object> play faster notes than the <Object>?",
        "faster",
        answers.compare_names(answers.faster),
    ),
    Template(
        A_COMP, "Does the <Object> play for longer than the <Object>?", "longer", answers.compare_names(answers.longer)
    ),
)
SEEING = (
    Template(V_COUNT, "How many instruments does the picture show?", "count seen", answers.count(_seen)),
    Template(
        V_COUNT, "How many kinds of instrument does the picture show?", "count seen kinds", answers.count(_seen_kinds)
    ),
    Template(
        V_COUNT, "How many <Object> does the picture show?", "count seen of a kind", answers.count_each(facts.seen)
    ),
    Template(V_COUNT, "Does the picture show a <Object>?", "seen", answers.exists(facts.seen)),
    Template(V_COUNT, "Does the picture show both <Object> and <Object>?", "both seen", answers.both_exist(facts.seen)),
    Template(V_LOC, "Where does the concert take place?", "place", answers.place),
    Template(V_LOC, "Which single instrument is in the picture?", "single instrument", answers.alone),
    Template(V_LOC, "Which instrument is the <LRer> one?", "outermost", answers.outermost),
    Template(V_LOC, "Which instrument stands directly to the <LR> of the <Object>?", "beside", answers.beside),
)
HEARING_AND_SEEING = (
    Template(AV_EXIST, "Does a voice speak over the music?", "voice-over", answers.voiceover),
    Template(
        AV_EXIST, "Does the <Object> in the picture play from beginning to end?", "always playing", answers.always
    ),
    Template(AV_EXIST, "Is the <Object> that can be heard also in the picture?", "source seen", answers.source_seen),
    Template(
        AV_EXIST, "Are all instruments that can be heard in the picture?", "all sources seen", answers.all_sources_seen
    ),
    Template(AV_EXIST, "Does the <Object> in the picture ever sound?", "ever sounds", answers.ever_sounds),
    Template(
        AV_COUNT, "How many instruments in the picture can be heard?", "count sounding", answers.count_told(_sounding)
    ),
    Template(AV_COUNT, "How many instruments in the picture stay silent?", "count silent", answers.count_told(_silent)),
    Template(
        AV_COUNT,
        "How many kinds of instrument in the picture can be heard?",
        "count sounding kinds",
        answers.count(_sounding_kinds),
    ),
    Template(AV_LOC, "Where does the <LL> instrument stand?", "where loudest", answers.loudest),
    Template(
        AV_COMP, "Is the <LR> instrument louder than the <LR> one?", "louder", answers.compare_sides(answers.louder)
    ),
    Template(
        AV_COMP,
        "Does the <LR> <Object> sound louder than the <LR> <Object>?",
        "louder",
        answers.compare_names_and_sides(answers.louder),
    ),
    Template(
        AV_COMP,
        "Does the <LR> instrument play faster notes than the <LR> one?",
        "faster",
        answers.compare_sides(answers.faster),
    ),
    Template(
        AV_COMP,
        "Does the <LR> <Object> play faster notes than the <LR> <Object>?",
        "faster",
        answers.compare_names_and_sides(answers.faster),
    ),
    Template(
        AV_COMP,
        "Does the <LR> instrument play for longer than the <LR> one?",
        "longer",
        answers.compare_sides(answers.longer),
    ),
)
ORDER = (
    _ordered(AV_LOC, "Which instrument plays while the <Object> plays?", "same time", order.SAME_TIME),
    _ordered(AV_LOC, "Does the <LR> instrument start <FL>?", "{1} from a side", order.FROM_SIDE),
    _ordered(
        AV_LOC, "Which instrument is directly to the <LR> of the <FL> one to start?", "beside {1}", order.BESIDE, 0.5
    ),
    # The clearest test of timing, so that it is asked most.
    _ordered(AV_TEMP, "Which instrument is the <FL> to come in?", "{0} instrument", order.COMES_IN, 4.0),
    _ordered(AV_TEMP, "Which instrument is the second to come in?", "second instrument", order.SECOND, 0.5),
    _ordered(AV_TEMP, "Where is the instrument that starts <FL>?", "where {0}", order.WHERE_STARTS),
    _ordered(AV_TEMP, "Which starts first, the <Object> or the <Object>?", "first of two", order.OF_TWO),
    _ordered(AV_TEMP, "Which instrument comes in directly <BA> the <Object>?", "{0}", order.BEFORE_AFTER),
)
TEMPLATES = (*HEARING, *SEEING, *HEARING_AND_SEEING, *ORDER)
