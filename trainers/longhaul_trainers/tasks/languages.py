"""Strings whose meaning is the state of a finite automaton.

B strings, n symbols.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Final, final

import numpy as np
from numpy.typing import NDArray

from longhaul_trainers.counter import Words, integers

Codes = NDArray[np.int64]
Odds = NDArray[np.float64]


class Language(ABC):
    """Random strings and the answer to each.

    Attributes:
        symbols: what each code looks like.
        answers: how many different answers there are.
    """

    symbols: ClassVar[tuple[str, ...]]
    answers: ClassVar[int]

    def strings(self, words: Words) -> Codes:
        """Codes (B, n) from one word each; every start of a string is a string."""
        return integers(words, len(self.symbols))

    @abstractmethod
    def answer(self, codes: Codes) -> Codes:
        """The answer to every start of each string, (B, n)."""

    @abstractmethod
    def odds(self, length: int) -> list[Odds]:
        """The distribution (answers,) of the answer to strings of 1, 2, ... ``length`` symbols."""


@final
class Parity(Language):
    """Is the number of ones odd?"""

    symbols = ("0", "1")
    answers = 2

    def answer(self, codes: Codes) -> Codes:
        """See `Language.answer`."""
        # Added up for all strings at once, symbol by symbol.
        return np.ascontiguousarray(codes.T).cumsum(axis=0).T & 1

    def odds(self, length: int) -> list[Odds]:
        """Even."""
        return [np.full(2, 0.5)] * length


@final
class EvenPairs(Language):
    """Is the number of neighbours that differ odd? That is, do the first and last symbol differ?"""

    symbols = ("a", "b")
    answers = 2

    def answer(self, codes: Codes) -> Codes:
        """See `Language.answer`."""
        return np.where(codes != codes[:, :1], 1, 0)

    def odds(self, length: int) -> list[Odds]:
        """A single symbol has no pairs; else even."""
        return [np.array([1.0, 0.0]), *[np.full(2, 0.5)] * (length - 1)][:length]


@final
class CycleNavigation(Language):
    """Where on a circle of five places do steps of 0, +1 and -1 end?"""

    symbols = ("0", "+", "-")
    answers = 5

    def answer(self, codes: Codes) -> Codes:
        """See `Language.answer`."""
        steps = np.array([0, 1, -1])[codes]
        return steps.cumsum(axis=1) % self.answers

    def odds(self, length: int) -> list[Odds]:
        """Those of a random walk on the circle, exactly."""
        now = np.eye(self.answers)[0]
        found = []
        for _ in range(length):
            now = (now + np.roll(now, 1) + np.roll(now, -1)) / 3
            found.append(now)
        return found


@final
class ModularArithmetic(Language):
    """What is a sum of products of digits modulo five? ``2 - 3 * 4 + 1`` is 1.

    Digits and operators by turns; a string that ends with an operator has the answer of the
    string before it.
    """

    symbols = ("0", "1", "2", "3", "4", "+", "-", "*")
    answers = 5
    MINUS: ClassVar = 6
    TIMES: ClassVar = 7

    def strings(self, words: Words) -> Codes:
        """See `Language.strings`."""
        codes = integers(words, self.answers)
        codes[:, 1::2] = self.answers + integers(words[:, 1::2], 3)
        return codes

    def answer(self, codes: Codes) -> Codes:
        """See `Language.answer`."""
        found = np.empty_like(codes)
        # What is added up before the last product, and that product with its sign.
        total, product = np.zeros_like(codes[:, 0]), codes[:, 0]
        found[:, 0] = product
        for t in range(1, codes.shape[1]):
            if t % 2:
                found[:, t] = found[:, t - 1]
                continue
            operator, digit = codes[:, t - 1], codes[:, t]
            multiplied = operator == self.TIMES
            total = np.where(multiplied, total, (total + product) % self.answers)
            signed = np.where(operator == self.MINUS, -digit, digit)
            product = np.where(multiplied, product * digit, signed) % self.answers
            found[:, t] = (total + product) % self.answers
        return found

    def odds(self, length: int) -> list[Odds]:
        """Exactly, from the joint distribution of the sum and the last product."""
        m = self.answers
        joint = np.zeros((m, m))
        joint[0] = 1 / m
        found: list[Odds] = []
        for t in range(length):
            if t and not t % 2:
                joint = self._next(joint)
            value = np.zeros(m)
            for total in range(m):
                value += np.roll(joint[total], total)
            found.append(value)
        return found

    def _next(self, joint: Odds) -> Odds:
        """The joint distribution (sum, last product) after one more operator and digit."""
        m = self.answers
        after = np.zeros((m, m))
        for total in range(m):
            for product in range(m):
                share = joint[total, product] / (3 * m)
                for digit in range(m):
                    after[total, product * digit % m] += share
                    after[(total + product) % m, digit] += share
                    after[(total + product) % m, -digit % m] += share
        return after


LANGUAGES: Final[dict[str, Language]] = {
    "cycle_navigation": CycleNavigation(),
    "even_pairs": EvenPairs(),
    "modular_arithmetic": ModularArithmetic(),
    "parity": Parity(),
}
