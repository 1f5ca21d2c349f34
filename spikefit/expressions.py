"""Which units? A small language over the columns of the unit table, read by a parser of its own.

    g1c02, g1c05                                   ids, with commas between
    g1*                                            ids by pattern: * any text, ? any one character
    quality == 'good' and firing_rate > 0.5        a condition on the columns
    location in ('CA1', 'CA3') and not id like 'g2*'

Names are columns of the unit table, or `id`, `n_spikes`, `rate_hz` (also `firing_rate`) and `row`; a name with other
characters stands in backquotes. Values are numbers, texts in quotes, `true` and `false`. Operators, from the loosest:
`or`, `and`, `not`, then `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `not in`, `like`, `not like`, then `+ -`, `* /` and a
leading minus. Nothing is ever evaluated as Python.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import UsageError, did_you_mean
from spikefit.spikes import SpikeTrains

MAX_LENGTH = 10_000
# Deeper nesting than a person writes; it keeps the parser within Python's stack.
MAX_DEPTH = 50

_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![A-Za-z_0-9]))"
    r"|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|`(?P<quoted>[^`]+)`"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<sign>==|!=|<>|<=|>=|&&|\|\||[-+*/<>=!()\[\],&|])"
    r")"
)
_SAME = {"=": "==", "<>": "!=", "&&": "and", "&": "and", "||": "or", "|": "or", "!": "not"}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_WORDS = {"and", "or", "not", "in", "like", "true", "false"}

Value = NDArray[Any]


@dataclass(frozen=True)
class _Token:
    kind: str  # number, text, name, sign, end
    text: str
    place: int


def select_units(expression: str, trains: SpikeTrains) -> NDArray[np.bool_]:
    """Which units an expression chooses, shape (n_units,).

    Args:
        expression: ids or patterns with commas between, or a condition.
        trains: the recording whose units are chosen from.

    Raises:
        UsageError: if it cannot be understood; the message shows where, and the nearest name that exists.
    """
    if len(expression) > MAX_LENGTH:
        raise UsageError(
            f"the --units expression is longer than {MAX_LENGTH} characters.", hint="give patterns such as 'g1*'"
        )
    columns = unit_table(trains)
    listed = _as_list(expression, trains.unit_ids, columns)
    if listed is not None:
        return listed
    return _Parser(expression, columns, trains.n_units, trains.unit_ids).parse()


def unit_table(trains: SpikeTrains) -> dict[str, Value]:
    """Everything an expression may name, as columns of length n_units."""
    return {
        **dict(trains.unit_columns),
        "firing_rate": trains.unit_columns.get("firing_rate", trains.rate_hz),
        "rate_hz": trains.rate_hz,
        "n_spikes": trains.n_spikes_per_unit,
        "row": np.arange(trains.n_units),
        "id": np.array(trains.unit_ids, dtype=object),
    }


def _as_list(expression: str, unit_ids: tuple[str, ...], columns: Mapping[str, Value]) -> NDArray[np.bool_] | None:
    """Ids and patterns with commas between; None where the expression is something else."""
    text = expression.strip()
    if text in unit_ids:
        return np.array([unit_id == text for unit_id in unit_ids], dtype=bool)
    parts = [part.strip() for part in text.split(",")]
    parts = [part for part in parts if part]
    if not parts:
        raise UsageError("the --units expression is empty.", hint="leave --units out to use all units")
    chosen = np.zeros(len(unit_ids), dtype=bool)
    for part in parts:
        hits = _matches(part, unit_ids)
        if not hits.any():
            # A part that is no id may belong to a condition; one that could only be an id is a slip of the pen.
            if re.search(r"[=<>!()'\"`&|+/]|\s(?:in|like|and|or|not)\s|^not\s", text) or text.split()[0] in columns:
                return None
            what = "match" if re.search(r"[*?\[]", part) else "are called"
            raise UsageError(f"no units {what} {part!r}.", hint=did_you_mean(part, unit_ids))
        chosen |= hits
    return chosen


def _matches(pattern: str, unit_ids: tuple[str, ...]) -> NDArray[np.bool_]:
    if pattern in unit_ids:
        return np.array([unit_id == pattern for unit_id in unit_ids], dtype=bool)
    matches = re.compile(fnmatch.translate(pattern)).match
    return np.array([matches(unit_id) is not None for unit_id in unit_ids], dtype=bool)


class _Parser:
    """Recursive descent; every method reads one kind of phrase and returns its value for all units."""

    def __init__(self, text: str, columns: Mapping[str, Value], n_units: int, unit_ids: tuple[str, ...]) -> None:
        self.text = text
        self.columns = columns
        self.n_units = n_units
        self.unit_ids = unit_ids
        self.tokens = self._split()
        self.at = 0
        self.depth = 0

    def parse(self) -> NDArray[np.bool_]:
        value = self._either()
        token = self._peek()
        if token.kind != "end":
            raise self._fault("this was not expected here", token)
        return self._truth(value, self.tokens[0])

    # -- words --------------------------------------------------------------------------------------------------

    def _split(self) -> list[_Token]:
        tokens, place = [], 0
        while self.text[place:].strip():
            match = _TOKEN.match(self.text, place)
            if match is None:
                place += len(self.text[place:]) - len(self.text[place:].lstrip())
                raise self._fault("this cannot be read", _Token("sign", self.text[place], place))
            kind = str(match.lastgroup)
            text = match[kind]
            start = match.start(kind)
            if kind == "sign" or (kind == "name" and text.lower() in _WORDS):
                text = _SAME.get(text, text.lower())
                kind = "sign"
            tokens.append(_Token("name" if kind == "quoted" else kind, text, start))
            place = match.end()
        return [*tokens, _Token("end", "", len(self.text))]

    def _peek(self, ahead: int = 0) -> _Token:
        return self.tokens[min(self.at + ahead, len(self.tokens) - 1)]

    def _next(self) -> _Token:
        token = self._peek()
        self.at += 1
        return token

    def _took(self, *signs: str) -> bool:
        if [self._peek(k).text for k in range(len(signs))] == list(signs) and self._peek().kind == "sign":
            self.at += len(signs)
            return True
        return False

    def _fault(self, what: str, token: _Token) -> UsageError:
        shown = f"{self.text[:200]}\n{' ' * min(token.place, 200)}^" if token.place < 200 else self.text[:200]
        return UsageError(
            f"--units: {what}{f' ({token.text!r})' if token.text else ' (the end)'}:\n{shown}",
            hint="write ids with commas between, or a condition such as \"quality == 'good' and rate_hz > 0.5\"",
        )

    # -- phrases ------------------------------------------------------------------------------------------------

    def _either(self) -> Value:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._fault(f"nested more than {MAX_DEPTH} deep", self._peek())
        value = self._both()
        while self._took("or"):
            token = self._peek()
            value = self._truth(value, token) | self._truth(self._both(), token)
        self.depth -= 1
        return value

    def _both(self) -> Value:
        value = self._negated()
        while self._took("and"):
            token = self._peek()
            value = self._truth(value, token) & self._truth(self._negated(), token)
        return value

    def _negated(self) -> Value:
        negations = 0
        while self._took("not"):
            negations += 1
        value = self._comparison()
        if not negations:
            return value
        truth = self._truth(value, self._peek())
        return ~truth if negations % 2 else truth

    def _comparison(self) -> Value:
        left = self._sum()
        result: NDArray[np.bool_] | None = None
        while True:
            token = self._peek()
            negate = token.text == "not" and token.kind == "sign"
            sign = self._peek(1).text if negate else token.text
            if token.kind != "sign" or (sign not in _COMPARE and sign not in ("in", "like")):
                return left if result is None else result
            if negate and sign not in ("in", "like"):
                return left if result is None else result
            self.at += 1 + negate
            if sign == "in":
                step = self._in_list(left)
            elif sign == "like":
                step = self._like(left)
            else:
                right = self._sum()
                step = self._compare(sign, left, right, token)
                left = right
            step = ~step if negate else step
            # a < b < c means both, as on paper.
            result = step if result is None else result & step

    def _sum(self) -> Value:
        value = self._product()
        while self._peek().text in ("+", "-") and self._peek().kind == "sign":
            token = self._next()
            right = self._product()
            value = self._number(value, token) + (1 if token.text == "+" else -1) * self._number(right, token)
        return value

    def _product(self) -> Value:
        value = self._atom()
        while self._peek().text in ("*", "/") and self._peek().kind == "sign":
            token = self._next()
            left, right = self._number(value, token), self._number(self._atom(), token)
            with np.errstate(all="ignore"):
                value = left * right if token.text == "*" else left / right
        return value

    def _atom(self) -> Value:
        token = self._next()
        if token.kind == "number":
            return np.full(self.n_units, float(token.text))
        if token.kind == "text":
            return np.full(self.n_units, _unquoted(token.text), dtype=object)
        if token.kind == "name":
            return self._column(token)
        if token.text in ("true", "false"):
            return np.full(self.n_units, token.text == "true")
        if token.text == "-":
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise self._fault(f"nested more than {MAX_DEPTH} deep", token)
            value = -self._number(self._atom(), token)
            self.depth -= 1
            return value
        if token.text == "(":
            value = self._either()
            if not self._took(")"):
                raise self._fault("a closing bracket is missing before this", self._peek())
            return value
        raise self._fault("a name or a value was expected here", token)

    def _column(self, token: _Token) -> Value:
        found = self.columns.get(token.text)
        if found is None:
            hint = did_you_mean(token.text, self.columns)
            if token.text in self.unit_ids:
                hint = f"for the unit itself, write id == '{token.text}'"
            raise UsageError(f"--units: there is no unit column {token.text!r}.", hint=hint)
        if found.ndim != 1:
            raise UsageError(
                f"--units: the column {token.text!r} holds more than one value per unit.", hint="choose another"
            )
        return found

    def _list(self) -> list[Value]:
        opening = self._next()
        closing = {"(": ")", "[": "]"}.get(opening.text)
        if closing is None:
            raise self._fault("a list such as ('a', 'b') was expected here", opening)
        values: list[Value] = []
        while not self._took(closing):
            values.append(self._sum())
            if not self._took(",") and self._peek().text != closing:
                raise self._fault("a comma or the end of the list was expected here", self._peek())
        return values

    def _in_list(self, left: Value) -> NDArray[np.bool_]:
        token = self._peek()
        chosen = np.zeros(self.n_units, dtype=bool)
        for value in self._list():
            chosen |= self._compare("==", left, value, token)
        return chosen

    def _like(self, left: Value) -> NDArray[np.bool_]:
        token = self._next()
        if token.kind != "text":
            raise self._fault("a pattern in quotes was expected here, such as 'g1*'", token)
        return _matches(_unquoted(token.text), tuple(str(value) for value in left))

    # -- values -------------------------------------------------------------------------------------------------

    def _compare(self, sign: str, left: Value, right: Value, token: _Token) -> NDArray[np.bool_]:
        if _is_text(left) != _is_text(right):
            left, right = self._number(left, token), self._number(right, token)
        elif _is_text(left):
            left, right = left.astype(str), right.astype(str)
        with np.errstate(invalid="ignore"):
            return np.asarray(_COMPARE[sign](left, right), dtype=bool)

    def _number(self, value: Value, token: _Token) -> NDArray[np.float64]:
        try:
            return value.astype(np.float64)
        except ValueError as fault:
            example = next(text for text in map(str, value) if not _parses(text))
            raise self._fault(f"the text {example!r} is compared with a number, or reckoned with", token) from fault

    def _truth(self, value: Value, token: _Token) -> NDArray[np.bool_]:
        if value.dtype == bool:
            return value
        if _is_text(value) or not np.isin(value, (0, 1)).all():
            raise self._fault("this is a value, expected a condition that is true or false", token)
        return value.astype(bool)


def _is_text(value: Value) -> bool:
    return value.dtype.kind in "OUS"


def _parses(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])
