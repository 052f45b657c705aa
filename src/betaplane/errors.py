"""The one error users meet: a sentence with five parts, told before anything is computed or written."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from betaplane.text import printable

__all__ = ["BadInput", "BadKey", "BadType", "expect", "expect_function", "nearest"]


class BadInput(ValueError):
    """Something the user gave cannot be used; says what, which value, what is allowed, where, what to write.

    Args:
        what: what is wrong, as the start of a sentence ("beta2 is out of range").
        value: the value that was given, shown with `repr`; leave it out where there is none.
        allowed: the values that would be accepted ("[0, 1)").
        where: the place it came from (a parameter and its shape, a file, an option).
        instead: what to write instead, as a line that can be pasted.

    Example:
        >>> print(BadInput("beta2 is out of range", value=1.5, allowed="[0, 1)", where="Adam", instead="beta2=0.999"))
        beta2 is out of range: got 1.5, allowed [0, 1), in Adam. Write instead: beta2=0.999
    """

    MISSING = ...  # pickles as itself, so that an error from a worker process says the same

    def __init__(
        self, what: str, *, value: object = MISSING, allowed: str = "", where: str = "", instead: str = ""
    ) -> None:
        self.what, self.value, self.allowed, self.where, self.instead = what, value, allowed, where, instead
        facts = [
            f"got {value!r}" if value is not BadInput.MISSING else "",
            f"allowed {allowed}" if allowed else "",
            f"in {where}" if where else "",
        ]
        told = ", ".join(fact for fact in facts if fact)
        sentence = what + (f": {told}" if told else "") + "."
        super().__init__(printable(sentence + (f" Write instead: {instead}" if instead else "")))

    def __reduce__(self) -> tuple:
        return _rebuild, (type(self), self.what, self.value, self.allowed, self.where, self.instead)


class BadType(BadInput, TypeError):
    """A BadInput that is a TypeError too, since torch raises one for the same mistake."""


class BadKey(BadInput, KeyError):
    """A BadInput that is a KeyError too, since torch raises one for the same mistake."""

    __str__ = BaseException.__str__  # KeyError's own shows the sentence in quotes


def _rebuild(kind: type[BadInput], what: str, value: object, allowed: str, where: str, instead: str) -> BadInput:
    """Unpickle a BadInput, so that a worker process can hand one to its parent."""
    return kind(what, value=value, allowed=allowed, where=where, instead=instead)


def expect(value: object, kinds: type | tuple[type, ...], name: str, instead: str = "") -> None:
    """Raise BadInput unless an argument is of one of the types given.

    Args:
        value: what was passed.
        kinds: the types that are accepted.
        name: the argument's name.
        instead: a line that can be pasted.

    Raises:
        BadInput: it is of another type.

    Example:
        >>> expect(3, str, "reference", 'load("digits")')
        Traceback (most recent call last):
            ...
        betaplane.errors.BadInput: reference is of the wrong type: got 'int', allowed str. Write instead: load("digits")
    """
    if not isinstance(value, kinds):
        allowed = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
        raise BadInput(f"{name} is of the wrong type", value=type(value).__name__, allowed=allowed, instead=instead)


def expect_function(value: object, name: str, instead: str, where: str = "", takes: int | None = None) -> None:
    """Raise BadInput unless an argument can be called, with that many arguments.

    Args:
        value: what was passed.
        name: the argument's name.
        instead: a line that can be pasted.
        where: the function it was passed to.
        takes: positional arguments it is called with; not checked if None, or if Python does not know its signature.

    Raises:
        BadInput: it cannot be called so; a TypeError too, as Python would raise at the call.

    Example:
        >>> expect_function("mse", "loss", "loss=torch.nn.functional.mse_loss")
        Traceback (most recent call last):
            ...
        betaplane.errors.BadType: loss is not callable: got 'mse', allowed a function. Write instead: loss=torch...
    """
    if not callable(value):
        raise BadType(f"{name} is not callable", value=value, allowed="a function", where=where, instead=instead)
    if takes is not None and not _can_take(value, takes):
        what, allowed = f"{name} has the wrong signature", f"a function of {takes} arguments"
        raise BadType(what, value=getattr(value, "__name__", value), allowed=allowed, where=where, instead=instead)


def _can_take(function: Callable[..., object], count: int) -> bool:
    """Whether a function can be called with so many positional arguments; True if that is not known."""
    from inspect import signature  # here, since it takes 10 ms to import and most calls do not need it

    try:
        known = signature(function)
    except (TypeError, ValueError):
        return True
    try:
        known.bind(*range(count))
    except TypeError:
        return False
    return True


def nearest(name: str, known: Iterable[str], usual: str) -> str:
    """The known name that `name` was most likely meant to be, for the `instead` of an error.

    Args:
        name: what was written; capitals, hyphens and underscores do not matter.
        known: the names there are.
        usual: what to answer where none is close.

    Example:
        >>> nearest("lionn", ["adam", "lion"], "adam"), nearest("Adam-Mini", ["adam", "adammini"], "adam")
        ('lion', 'adammini')
        >>> nearest("speed", ["lr", "beta1"], "beta1")
        'beta1'
    """
    from difflib import get_close_matches  # here, so that nobody waits for it who makes no mistake

    plain = {_plain(each): each for each in known}
    close = get_close_matches(_plain(name), plain, n=1)
    return plain[close[0]] if close else usual


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
