"""Find the sentences that report speech, which no frame shows. Word lists decide: a part-of-speech tagger
small enough to ship with the project takes `notes` and `details` for nouns everywhere."""

from __future__ import annotations

import re

_SAYING = [
    "admit",
    "advise",
    "analyse",
    "analyze",
    "announce",
    "apologise",
    "apologize",
    "argue",
    "ask",
    "assert",
    "assure",
    "boast",
    "chat",
    "claim",
    "clarify",
    "comment",
    "complain",
    "confess",
    "converse",
    "criticise",
    "criticize",
    "debate",
    "declare",
    "define",
    "deny",
    "describe",
    "disclose",
    "discuss",
    "elaborate",
    "emphasise",
    "emphasize",
    "encourage",
    "explain",
    "inform",
    "insist",
    "interview",
    "introduce",
    "invite",
    "joke",
    "mention",
    "narrate",
    "persuade",
    "praise",
    "promote",
    "quote",
    "recall",
    "recap",
    "recite",
    "recommend",
    "recount",
    "reiterate",
    "remark",
    "remind",
    "reminisce",
    "reply",
    "say",
    "speak",
    "suggest",
    "summarise",
    "summarize",
    "talk",
    "tell",
    "thank",
    "underline",
    "underscore",
    "urge",
    "vow",
    "warn",
]
"""Verbs that report speech in all their forms."""
_WITH_OBJECT = ("detail", "highlight", "note", "outline", "question", "state", "stress")
"""Verbs that can also be nouns: they count only with an object after them (`details the process`)."""
_OBJECT = (
    r"\s+(?:that|how|why|what|the|this|these|his|her|their|its|some|key|several|an?|\w+['’]s)\b"
)
_A_FEW = r"(?:[\w-]+\s+){0,3}"
_PHRASES = (
    "said",
    "spoke",
    "spoken",
    "told",
    r"address(?:es|ed|ing)?\s+(?!the ball|an envelope)(?:the|his|her|their|viewers|an?)\b",
    r"answer(?:s|ed|ing)?\b(?!\s+(?:the|a|his|her)\s+(?:phone|door|call|telephone))",
    rf"respond(?:s|ed|ing)?\s+to\s+{_A_FEW}(?:question|comment|critic|remark|interview)",
    r"(?:reflect(?:s|ed|ing)?|touch(?:es|ed|ing)?\s+up)\s*on\b",
    r"delv(?:e|es|ed|ing)\s+into\b",
    r"point(?:s|ed|ing)?\s+out\b",
    r"reads?\s+(?:aloud|out)\b",
    r"reveal(?:s|ed|ing)?\s+(?:that|how|why)\b",
    r"report(?:s|ed|ing)?\s+(?:on|that|about)\b",
    r"(?:goes|going|go)\s+over\s+(?:the|his|her|their)\s+(?:rules|details|plan|basics|steps|features|results)\b",
    rf"welcom(?:e|es|ed|ing)\s+{_A_FEW}(?:viewers?|audience|everyone|back|subscribers?|listeners?|us)\b",
    rf"express(?:es|ed|ing)?\s+{_A_FEW}(?:gratitude|thanks|appreciation|concerns?|hopes?|opinions?|thoughts|views?|beliefs?|desire|interest|support|confidence|regret)\b",
    rf"shar(?:e|es|ed|ing)\s+{_A_FEW}(?:thoughts?|experiences?|stor(?:y|ies)|insights?|opinions?|tips?|advice|information|knowledge|views?|perspectives?|details|memories|news|updates?|feelings|journey)\b",
    rf"(?:giv|gav|offer|provid|mak|mad|deliver)(?:e|es|ed|s|ing)?\s+{_A_FEW}(?:advice|tips|instructions|information|insights?|overview|opinions?|reviews?|updates?|context|background|summary|examples|arguments?|points?|case)\b",
)
_NOUNS = (
    r"(?:interview|speech|discussion|conversation|dialogue|monologue|commentar|explanation|announcement|testimon|"
    r"statement|remark|description|introduction)(?:s|es|y|ies|ial|ials)?\b|narrat(?:ion|or|ors)\b|voice[ -]?overs?\b|Q\s?&\s?A\b"
)


def _forms(verb: str) -> str:
    """All forms of a verb, as a pattern: `deny` → deny, denies, denied, denying."""
    if verb.endswith("e"):
        return rf"{verb[:-1]}(?:e|es|ed|ing)\b"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return rf"{verb[:-1]}(?:y|ies|ied|ying)\b"
    return rf"{verb}(?:s|es|ed|ing|{verb[-1]}ed|{verb[-1]}ing)?\b"


_VERBS = "|".join(
    [
        *(rf"{_forms(verb)}(?!-| show\b| section\b)" for verb in _SAYING),
        *(rf"(?<!united )(?<!light ){_forms(verb)}{_OBJECT}" for verb in _WITH_OBJECT),
        *_PHRASES,
    ]
)
_SPEECH = re.compile(rf"\b(?:{_VERBS}|{_NOUNS})", re.I)
_QUOTATION = re.compile(r"[\"“«'‘][^\"“”«»]*[\"”»'’][.!?]?")
_ADVERB = r"(?:(?:\w+ly|then|also|later|still)\s+){0,2}"
_TAIL = re.compile(
    rf"(?:,?\s+and|,?\s+while|,?\s+then|,)\s+{_ADVERB}(?=(?:{_VERBS}))"
    rf"|(?:,?\s+(?:as|while)|,\s+(?:and|but))\s+(?:he|she|it|they|(?:the|an?)\s+\w+(?:\s+\w+)?)\s+{_ADVERB}(?:is\s+|are\s+)?(?=(?:{_VERBS}))",
    re.I,
)
"""The start of a clause that reports speech. The clause has its own subject or that of the clause before
it, so the sentence is still whole without it."""


def tells_speech(text: str) -> bool:
    """Whether a sentence reports speech or is itself speech (a question or a quotation)."""
    quoted = text.endswith("?") or _QUOTATION.fullmatch(text) is not None
    return quoted or _SPEECH.search(text) is not None


def without_speech(text: str) -> str:
    """The sentence without a clause at its end that reports speech; empty if all of it does.

    `Lena slices a tomato while explaining why` → `Lena slices a tomato`.
    """
    if not tells_speech(text):
        return text
    tail = _TAIL.search(text)
    head = text[: tail.start()].rstrip(" ,;") if tail is not None else ""
    return head if len(head.split()) >= 3 and not tells_speech(head) else ""
