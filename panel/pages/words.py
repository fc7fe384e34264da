"""Words, figures and addresses, as a reader sees them. The same value always gives the same text, in any locale."""

from __future__ import annotations

import re
from decimal import Decimal
from urllib.parse import urlsplit

from panel.records import PricePlan, strip_unprintable

DASH = "—"
PERIODS = {"once": "paid once", "month": "per month", "year": "per year"}
_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£"}
_NUMBERS = ("No", "One", "Two", "Three", "Four")
_BEATS = {"dx-bet": "DX bet", "second-order-effect": "second-order effect"}
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_PLAIN_URL = re.compile(r"""https?://[^\s<>"'`\\^{|}]+""", re.IGNORECASE)


def safe_url(source: str) -> str | None:
    """`source` where it is a plain http or https address; else None, and it is shown as text."""
    if strip_unprintable(source) != source or not _PLAIN_URL.fullmatch(source):
        return None
    try:
        host = urlsplit(source)
        # An address with a user name can dress one host up as another.
        return source if host.hostname and "@" not in host.netloc else None
    except ValueError:
        return None


def money(plan: PricePlan) -> str:
    """For example "$9.50", "CHF" prices as "12 CHF", and 0 as "Free"; every digit on record is shown."""
    if plan.price == 0:
        return "Free"
    amount = Decimal(repr(plan.price)).normalize()
    exponent = amount.as_tuple().exponent
    places = max(0, -exponent) if isinstance(exponent, int) else 0
    figure = f"{amount:,.{2 if places == 1 else places}f}"
    symbol = _SYMBOLS.get(plan.currency)
    return f"{symbol}{figure}" if symbol else f"{figure} {plan.currency}"


def count(number: int, one: str, many: str) -> str:
    """For example "Four reviewers", at the start of a sentence."""
    words = _NUMBERS[number] if number < len(_NUMBERS) else str(number)
    return f"{words} {one if number == 1 else many}"


def date(created: str) -> tuple[str, str | None]:
    """`created` for people, and for machines where it starts like an ISO date."""
    found = re.match(r"(\d{4})-(\d\d)-(\d\d)(?!\d)", created, re.ASCII)
    if not found or not 1 <= int(found[2]) <= 12 or not 1 <= int(found[3]) <= 31:
        return created, None
    return f"{int(found[3])} {_MONTHS[int(found[2]) - 1]} {found[1]}", found[0]


def label(beat: str) -> str:
    """The name of a beat in words."""
    return _BEATS.get(beat) or beat.replace("-", " ")
