"""Questions turned into declarative prompts, which TSPM compares with the frames (its section 3.2; wording ours).

A prompt says what a frame that helps to answer would show, in the words of the question.
"""

from __future__ import annotations

import re

from .annotations import Question, question_text

# MUSIC-AVQA's templates without their marks; {0} and {1} stand for the template's values.
_PROMPTS = {
    "How many musical instruments were heard throughout the video": "all musical instruments that are heard",
    "Is there a <Object> sound": "the sound of a {0}",
    "Are there <Object> and <Object> sound": "the sound of a {0} and the sound of a {1}",
    "Is the <Object> louder than the <Object>": "the {0} and the {1} sound, one louder than the other",
    "Is the <Object> more rhythmic than the <Object>": "the {0} and the {1} play, one more rhythmically",
    "Is the <Object> playing longer than the <Object>": "the {0} and the {1} play, one for longer",
    "How many types of musical instruments appeared in the entire video": "all types of musical instruments in view",
    "How many <Object> are in the entire video": "every {0} in view",
    "Is there a <Object> in the entire video": "a {0} is in view",
    "Are there <Object> and <Object> instruments in the video": "a {0} and a {1} are in view",
    "Where is the performance": "the place of the performance",
    "What is the instrument on the <LR> of <Object>": "the instrument on the {0} of the {1}",
    "What kind of musical instrument is it": "the musical instrument in view",
    "What kind of instrument is the <LRer> instrument": "the {0} instrument in view",
    "Is the <Object> in the video always playing": "the {0} plays in the video",
    "Is there a voiceover": "a voice speaks over the music",
    "Is this sound from the instrument in the video": "the instrument in view makes the sound",
    "How many instruments are sounding in the video": "the instruments in view that sound",
    "How many types of musical instruments sound in the video": "the types of musical instruments that sound",
    "How many instruments in the video did not sound from beginning to end": "instruments in view that stay silent",
    "How many sounding <Object> in the video": "every {0} that sounds",
    "Where is the <LL> instrument": "the {0} instrument and its place",
    "Is the <FL> sound coming from the <LR> instrument": "the {0} sound comes from the {1} instrument",
    "Which is the musical instrument that sounds at the same time as the <Object>": "an instrument and the {0} sound "
    "at the same time",
    "What is the <LR> instrument of the <FL> sounding instrument": "the instrument on the {0} of the one that sounds "
    "{1}",
    "Is the <Object> on the <LR> louder than the <Object> on the <LR>": "the {0} on the {1} and the {2} on the {3} "
    "sound, one louder than the other",
    "Is the <Object> on the <LR> more rhythmic than the <Object> on the <LR>": "the {0} on the {1} and the {2} on the "
    "{3} play, one more rhythmically",
    "Is the instrument on the <LR> louder than the instrument on the <LR>": "the instrument on the {0} and that on "
    "the {1} sound, one louder than the other",
    "Is the instrument on the <LR> more rhythmic than the instrument on the <LR>": "the instrument on the {0} and that "
    "on the {1} play, one more rhythmically",
    "Where is the <FL> sounding instrument": "the instrument that sounds {0}, and its place",
    "Which <Object> makes the sound <FL>": "the {0} that sounds {1}",
    "What is the <TH> instrument that comes in": "the {0} instrument that comes in",
    "Which instrument makes sounds <BA> the <Object>": "an instrument sounds {0} the {1}",
}

# Other questions, such as a user's own or the concerts'; the first that fits.
_RULES = (
    (r"how many (.+)", r"all \1"),
    (r"where (?:is|are) (.+)", r"\1 and the place"),
    (r"where (?:does|do|did) (.+)", r"the place where \1"),
    (r"(?:which|what) (?:is|are) (.+)", r"\1"),
    (r"(?:which|what) (?:kind|type)s? of (\w+) (.+)", r"the \1 that \2"),
    (r"(?:which|what) (starts|comes|plays|sounds) (.+)", r"what \1 \2"),
    (r"(?:which|what) (\w+(?: instruments?)?) (.+)", r"the \1 that \2"),
    (r"(?:is|are) there (.+)", r"\1"),
    (r"(?:is|are|was|were|does|do|did|can|has|have) (.+)", r"\1"),
)


def _pattern(template: str) -> re.Pattern[str]:
    """Each placeholder stands for one value; a text is the template with its values filled in."""
    words = (r"(\S+)" if "<" in word else re.escape(word) for word in template.split(" "))
    return re.compile(" ".join(words), flags=re.IGNORECASE)


# Where several fit a text, the one with the most words of its own is meant.
_PATTERNS = {template: _pattern(template) for template in sorted(_PROMPTS, key=lambda template: template.count("<"))}


def declarative(question: Question) -> str:
    """The prompt of a question: by its template where it is one of MUSIC-AVQA's, else by its text.

    >>> declarative(Question("v", "1", "Audio", "Counting", "Is there a flute sound", "Is there a <Object> sound?",
    ...                      "yes", ""))
    'the sound of a flute'
    """
    template = question_text(question.template)
    if template in _PROMPTS and (filled := _PATTERNS[template].fullmatch(question.text)):
        return _PROMPTS[template].format(*filled.groups())
    return declarative_text(question.text)


def declarative_text(text: str) -> str:
    """The prompt of a question in anyone's words; one that fits no template and no rule stays as it is.

    >>> declarative_text("Is there a flute sound")
    'the sound of a flute'
    >>> declarative_text("Which instrument is the first to come in")
    'the instrument that is the first to come in'
    """
    for template, pattern in _PATTERNS.items():
        if filled := pattern.fullmatch(text):
            return _PROMPTS[template].format(*filled.groups())
    for rule, prompt in _RULES:
        if re.fullmatch(rule, text, flags=re.IGNORECASE):
            return re.sub(rule, prompt, text, flags=re.IGNORECASE)
    return text
