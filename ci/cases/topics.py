"""What prompts are about: facts, questions, labels and fields by topic, all made up."""

from __future__ import annotations

from dataclasses import dataclass

from ci.cases.forms import RecordField, code, day, flag, money, note, options, whole, word


@dataclass(frozen=True)
class Topic:
    """One topic.

    Args:
        role: Who answers.
        item: What the material is.
        facts: Sentences of material; some are drawn.
        labels: What an item can be.
        levels: How much of something it is; none of these is a label.
        fields: What can be asked for.
    """

    role: str
    item: str
    facts: tuple[str, ...]
    labels: tuple[str, ...]
    levels: tuple[str, ...]
    fields: tuple[RecordField, ...]


TOPICS = {
    "support_ticket": Topic(
        "a support desk that sorts what customers report",
        "ticket",
        (
            "The customer can't sign in since the last update.",
            "The invoice of March was charged twice.",
            "The app closes by itself when a photo is opened.",
            "The parcel was left at the neighbour's door.",
            "A refund was promised two weeks ago.",
            "The customer has a contract with premium support.",
        ),
        ("billing", "account", "delivery", "crash"),
        ("urgent", "soon", "whenever"),
        (
            code("ticket", "TCK", 5),
            options("queue", ("billing", "account", "delivery", "crash")),
            whole("priority", 1, 9),
            flag("escalate"),
            word("product"),
        ),
    ),
    "calendar": Topic(
        "an assistant that keeps a calendar",
        "meeting",
        (
            "The review moves from Tuesday to Thursday.",
            "Room Kepler is free in the morning only.",
            "Ines joins by video from Lisbon.",
            "The board wants an hour, not half of one.",
            "Nobody works on the first of May.",
            "Lunch is ordered for twelve people.",
        ),
        ("review", "interview", "workshop", "lunch"),
        ("confirmed", "tentative", "cancelled"),
        (
            day("date"),
            whole("minutes", 5, 240),
            options("room", ("kepler", "curie", "noether")),
            flag("video"),
            word("host"),
        ),
    ),
    "invoice": Topic(
        "an accountant who reads invoices",
        "invoice",
        (
            "Forty metres of cable were delivered in February.",
            "The total is net of value added tax.",
            "A discount of five percent holds for ten days.",
            "The supplier is registered in Ghent.",
            "Freight is paid by the buyer.",
            "One box came back damaged.",
        ),
        ("material", "freight", "service", "credit"),
        ("paid", "open", "overdue"),
        (
            code("number", "INV", 4),
            money("total"),
            options("currency", ("EUR", "USD", "GBP")),
            day("due"),
            whole("items", 1, 99),
        ),
    ),
    "code_review": Topic(
        "an engineer who reviews changes to a program",
        "change",
        (
            "The loop reads the file once for each line.",
            "A lock is taken and not released on errors.",
            "The new function has no test.",
            "Names follow the style of the module.",
            "A password stands in a default argument.",
            "The cache is never emptied.",
        ),
        ("defect", "style", "security", "speed"),
        ("blocker", "major", "minor"),
        (
            whole("line", 1, 999),
            options("severity", ("blocker", "major", "minor")),
            word("function"),
            flag("tested"),
            note("remark"),
        ),
    ),
    "translation": Topic(
        "a translator who also names languages",
        "text",
        (
            "Le train part à sept heures.",
            "Das Fenster bleibt heute geschlossen.",
            "La llave está debajo de la piedra.",
            "O mercado abre aos sábados.",
            "Il ponte è chiuso per lavori.",
            "De boot vaart bij hoog water.",
        ),
        ("french", "german", "spanish", "dutch"),
        ("formal", "casual", "poetic"),
        (
            options("language", ("french", "german", "spanish", "dutch")),
            whole("words", 1, 60),
            word("verb"),
            flag("idiom"),
            note("gloss"),
        ),
    ),
    "catalogue": Topic(
        "an editor of a catalogue of products",
        "product",
        (
            "The lamp is made of brass and glass.",
            "It comes with a cable of two metres.",
            "There are three colours: sand, moss and slate.",
            "The warranty lasts five years.",
            "It fits through a standard door.",
            "Spare parts are sold one by one.",
        ),
        ("lighting", "seating", "storage", "textile"),
        ("available", "backorder", "retired"),
        (
            code("sku", "SKU", 6),
            money("price"),
            options("colour", ("sand", "moss", "slate")),
            whole("stock", 1, 500),
            word("material"),
        ),
    ),
    "weather": Topic(
        "a forecaster who writes short bulletins",
        "report",
        (
            "The wind turned from west to north at noon.",
            "Fog lies in the valley until ten.",
            "The barometer fell by twelve points overnight.",
            "Snow stays above fourteen hundred metres.",
            "A ferry was held back by high waves.",
            "The gauge at the mill shows two metres.",
        ),
        ("storm", "fog", "frost", "drought"),
        ("watch", "warning", "allclear"),
        (
            whole("celsius", 1, 45),
            options("wind", ("north", "east", "south", "west")),
            day("date"),
            flag("warning"),
            word("station"),
        ),
    ),
}
"""Every topic, by its name."""
