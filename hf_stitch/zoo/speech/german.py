"""German for the grammar's English sentences, by rules: cases, genders, verbs and the order of the words.

A sentence is read back into its template, so the German follows from the English text alone. Words are written small
and without punctuation, as the recognizer writes English.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from hf_stitch.errors import ZooError

Found = Mapping[str, str]


def _table(text: str) -> dict[str, str]:
    """Pairs "english=german"; underscores stand for blanks."""
    pairs = (pair.split("=") for pair in text.split())
    return {english.replace("_", " "): german.replace("_", " ") for english, german in pairs}


GENDERED = {
    "m": _table("film=film movie=streifen cake=kuchen coffee=kaffee tea=tee flight=flug train=zug beach=strand "
                "garden=garten market=markt ending=schluss actor=schauspieler singer=sänger waiter=kellner "
                "teacher=lehrer guide=reiseleiter"),
    "f": _table("show=show match=partie soup=suppe trip=reise party=feier lesson=stunde speech=rede story=geschichte "
                "team=mannschaft"),
    "n": _table("book=buch song=lied album=album concert=konzert play=stück game=spiel meal=mahl dinner=abendessen "
                "lunch=mittagessen breakfast=frühstück hotel=hotel room=zimmer museum=museum phone=telefon car=auto"),
}  # fmt: skip
NOUNS = {english: (german, gender) for gender, nouns in GENDERED.items() for english, german in nouns.items()}
ADJECTIVES = _table(
    "good=gut great=großartig wonderful=wunderbar lovely=lieblich superb=vorzüglich brilliant=brillant "
    "delightful=entzückend charming=reizend amazing=erstaunlich excellent=ausgezeichnet fantastic=fantastisch "
    "perfect=perfekt pleasant=angenehm clever=klug beautiful=schön nice=nett splendid=prächtig fine=fein "
    "exciting=spannend funny=lustig bad=schlecht awful=furchtbar terrible=schrecklich dull=stumpf boring=langweilig "
    "horrible=grauenhaft dreadful=fürchterlich poor=armselig weak=schwach bland=fad ugly=hässlich nasty=garstig "
    "useless=nutzlos messy=unordentlich stupid=dumm lousy=lausig tedious=mühsam annoying=lästig shabby=schäbig "
    "gloomy=trüb"
)
NEUTRAL = _table("old=alt new=neu long=lang short=kurz big=groß small=klein local=hiesig famous=berühmt early=früh "
                 "quiet=ruhig")  # fmt: skip
VERBS = _table(
    "love=liebte enjoy=genoss like=mochte adore=vergötterte praise=lobte admire=bewunderte hate=hasste "
    "dislike=missbilligte regret=bereute despise=verachtete mock=verspottete resent=verwünschte"
)
INTENSIFIERS = _table("very=sehr really=wirklich truly=wahrhaft so=so quite=recht simply=einfach extremely=äußerst")
SPEAKERS = _table("i=ich we=wir they=sie she=sie he=er my_brother=mein_bruder my_sister=meine_schwester "
                  "our_friends=unsere_freunde nobody=niemand everyone=alle everybody=jeder")  # fmt: skip
MANY = ("we", "they", "our friends", "everyone")
TIMES = _table(
    "today=heute last_night=gestern_abend on_monday=am_montag on_friday=am_freitag after_work=nach_der_arbeit "
    "this_morning=heute_morgen in_the_city=in_der_stadt last_week=letzte_woche in_the_summer=im_sommer "
    "at_home=zu_hause by_the_river=am_fluss with_friends=mit_freunden"
)
REPEATABLE = _table("see=sehen visit=besuchen try=probieren recommend=empfehlen choose=wählen")
NEGATIONS = _table("not=nicht never=nie far_from=bei_weitem_nicht hardly=kaum anything_but=alles_andere_als")
WORDS = _table(
    "better=besser worse=schlechter gladly=gern happily=mit_freude never=nie hardly=kaum later=später "
    "in_the_end=am_ende although=obwohl while=während and=und but=aber"
)
FORMS = {  # of articles, by case and gender; the last letters of adjectives behind them
    "nominative": {"m": ("der", "", "e", "er"), "f": ("die", "e", "e", "e"), "n": ("das", "", "e", "es")},
    "accusative": {"m": ("den", "en", "en", "en"), "f": ("die", "e", "e", "e"), "n": ("das", "", "e", "es")},
    "dative": {"m": ("dem", "em", "en", "en"), "f": ("der", "er", "en", "en"), "n": ("dem", "em", "en", "en")},
}
DEFINITE = {"this": "dies", "that": "jen"}
INDEFINITE = {"our": "unser", "a": "ein", "an": "ein", "no": "kein"}


def _one(words: Mapping[str, object]) -> str:
    return "(?:" + "|".join(sorted(words, key=len, reverse=True)) + ")"


_NOUN, _ADJECTIVE, _SPEAKER = _one(NOUNS), _one(ADJECTIVES), _one(SPEAKERS)
_THING = rf"(?:the|this|that|our) (?:{_one(NEUTRAL)} )?{_NOUN}"
_A_NOUN = rf"an? {_ADJECTIVE} {_NOUN}"
_PAST = _one(
    {f"{verb}d" if verb.endswith("e") else f"{verb}ed" if verb != "regret" else "regretted": 0 for verb in VERBS}
)
_JUDGEMENT = rf"(?:(?:{_one(NEGATIONS)}|{_one(INTENSIFIERS)}) )?{_ADJECTIVE}(?: at all)?"
_TIME = rf"(?: (?P<time>{_one(TIMES)}))?"


def _phrase(english: str, case: str) -> tuple[str, str]:
    """A noun with its article and adjective in a case, and its gender."""
    article, *adjective, noun = english.split()
    german, gender = NOUNS[noun]
    definite, ending, weak, mixed = FORMS[case][gender]
    if article in INDEFINITE:
        first, last = INDEFINITE[article] + ending, mixed
    elif article in DEFINITE:
        first, last = DEFINITE[article] + {"der": "er", "das": "es", "die": "e"}.get(definite, ending), weak
        first = first if (case, gender) != ("dative", "f") else DEFINITE[article] + "er"
    else:
        first, last = definite, weak
    between = [{**ADJECTIVES, **NEUTRAL}[word] + last for word in adjective]
    return " ".join([first, *between, german]), gender


def _of(english: str, case: str = "nominative") -> str:
    return _phrase(english, case)[0]


def _judged(english: str) -> str:
    at_all = english.endswith(" at all")
    words = english.removesuffix(" at all").rsplit(" ", 1)
    front = {**INTENSIFIERS, **NEGATIONS}[words[0]] + " " if len(words) == 2 else ""
    return ("gar " if at_all else "") + front + ADJECTIVES[words[-1]]


def _verb(english: str, who: str) -> str:
    """Past form for a speaker, of any English form."""
    base = next(verb for verb in VERBS if re.fullmatch(rf"{verb}(d|ed|ted)?", english))
    many = {"genoss": "en"}.get(VERBS[base], "n") if who in MANY else ""
    return VERBS[base] + many


def _time(found: Found) -> str:
    return f" {TIMES[found['time']]}" if found.get("time") else ""


def _reaction(f: Found) -> str:
    return f"{SPEAKERS[f['who']]} {_verb(f['verb'], f['who'])}{_time(f)} {_of(f['thing'], 'accusative')}"


def _again(f: Found) -> str:
    would = "würden" if f["who"] in MANY else "würde"
    thing, manner = _of(f["thing"], "accusative"), WORDS[f["manner"]]
    return f"{SPEAKERS[f['who']]} {would} {thing} {manner} noch einmal {REPEATABLE[f['verb']]}"


def _expectation(f: Found) -> str:
    expected = "erwarteten" if f["who"] in MANY else "erwartete"
    return f"{SPEAKERS[f['who']]} {expected} {_of(f['noun'], 'accusative')} aber es war {_judged(f['judgement'])}"


def _hope(f: Found) -> str:
    hoped = "hofften" if f["who"] in MANY else "hoffte"
    end = f"{WORDS[f['link']]} es war {_judged(f['judgement'])}"
    return f"{SPEAKERS[f['who']]} {hoped} auf {_of(f['noun'], 'accusative')} {end}"


def _comparison(f: Found) -> str:
    past = {"expected": "erwartete", "thought": "dachte"}[f["belief"]] + ("n" if f["who"] in MANY else "")
    return f"{_of(f['thing'])} war {WORDS[f['word']]} als {SPEAKERS[f['who']]} {past}"


def _despite(f: Found) -> str:
    verb = _verb(f["verb"], f["who"])
    return (
        f"trotz {_of('the ' + f['bad'], 'dative')} {verb} {SPEAKERS[f['who']]} {_of('the ' + f['noun'], 'accusative')}"
    )


def _seemed(f: Found) -> str:
    thing, gender = _phrase(f["thing"], "nominative")
    it = {"m": "ihn", "f": "sie", "n": "es"}[gender]
    return f"{thing} schien {ADJECTIVES[f['adjective']]} aber {SPEAKERS[f['who']]} {_verb(f['verb'], f['who'])} {it}"


def _exclamation(f: Found) -> str:
    return f"es war{_time(f)} {('k' if f['no'] else '') + _of(f['noun'])}"


_WHO, _VERB = rf"(?P<who>{_SPEAKER})", rf"(?P<verb>{_PAST})"
_LINK = "(?P<link>although|while)"
_WHAT, _JUDGED = rf"(?P<thing>{_THING})", rf"(?P<judgement>{_JUDGEMENT})"
TEMPLATES: dict[str, Callable[[Found], str]] = {
    rf"{_WHAT} was {_JUDGED}{_TIME}": lambda f: f"{_of(f['thing'])} war{_time(f)} {_judged(f['judgement'])}",
    rf"{_WHAT} was (?P<adjective>{_ADJECTIVE}) at first but {_JUDGED} (?P<end>later|in the end)": lambda f: (
        f"{_of(f['thing'])} war zuerst {ADJECTIVES[f['adjective']]} aber {WORDS[f['end']]} {_judged(f['judgement'])}"
    ),
    rf"{_LINK} (?P<first>the {_NOUN}) was (?P<adjective>{_ADJECTIVE}) {_WHAT} was {_JUDGED}": lambda f: (
        f"{WORDS[f['link']]} {_of(f['first'])} {ADJECTIVES[f['adjective']]} war war {_of(f['thing'])} "
        + _judged(f["judgement"])
    ),
    rf"{_WHO} {_VERB} {_WHAT}{_TIME}": _reaction,
    rf"{_WHO} did not (?P<verb>{_one(VERBS)}) {_WHAT}{_TIME}": lambda f: _reaction(f) + " nicht",
    rf"{_WHO} expected (?P<noun>{_A_NOUN}) but it was {_JUDGED}": _expectation,
    rf"{_WHO} hoped for (?P<noun>{_A_NOUN}) (?P<link>and|but) it was {_JUDGED}": _hope,
    rf"what (?P<noun>{_A_NOUN})": lambda f: f"was für {_of(f['noun'])}",
    rf"it was (?P<no>not )?(?P<noun>{_A_NOUN}){_TIME}": _exclamation,
    rf"{_WHO} would (?P<manner>gladly|happily|never|hardly) (?P<verb>{_one(REPEATABLE)}) {_WHAT} again": _again,
    rf"{_WHAT} was (?P<word>better|worse) than {_WHO} (?P<belief>expected|thought)": _comparison,
    rf"(?P<noun>no {_NOUN}) could be (?P<word>better|worse){_TIME}": lambda f: (
        f"{_of(f['noun'])} könnte{_time(f)} {WORDS[f['word']]} sein"
    ),
    rf"despite the (?P<bad>{_ADJECTIVE} {_NOUN}) {_WHO} {_VERB} the (?P<noun>{_NOUN})": _despite,
    rf"{_WHAT} seemed (?P<adjective>{_ADJECTIVE}) but {_WHO} {_VERB} it": _seemed,
}
_COMPILED = [(re.compile(pattern), write) for pattern, write in TEMPLATES.items()]


def german(text: str) -> str:
    """The German of one of the grammar's sentences. ZooError for any other text."""
    for pattern, write in _COMPILED:
        if (found := pattern.fullmatch(text)) is not None:
            return write({name: part or "" for name, part in found.groupdict().items()})
    raise ZooError(f"not a sentence of the grammar: {text!r}")
