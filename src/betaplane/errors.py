"""The exception raised for all invalid input, before any work is done."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from betaplane.text import printable

__all__ = [
    "BadInput",
    "BadKey",
    "BadType",
    "expect",
    "expect_function",
    "nearest",
    "not_installed",
    "one_of",
    "unknown",
]


class BadInput(ValueError):
    """Raised for input that cannot be used; its text is one sentence that names the value and a
    remedy.

    Args:
        what: what is wrong, as the start of a sentence ("beta2 is out of range").
        value: the value that was given, shown with `repr`; omit it if there is none.
        allowed: the values that are accepted ("[0, 1)").
        where: the source of the value: an argument, a parameter and its shape, a file.
        instead: a line to paste that works.

    Example:
        >>> print(BadInput("beta2 is out of range", value=1.5, allowed="[0, 1)", where="Adam", instead="beta2=0.999"))
        beta2 is out of range: got 1.5; expected [0, 1) (Adam). Try: beta2=0.999
        >>> print(BadInput("There are no parameters"))
        There are no parameters.
    """

    MISSING = ...  # pickles as itself, so that an error from a worker process has the same text

    def __init__(
        self,
        what: str,
        *,
        value: object = MISSING,
        allowed: str = "",
        where: str = "",
        instead: str = "",
    ) -> None:
        self.what = what
        self.value = value
        self.allowed = allowed
        self.where = where
        self.instead = instead
        got = f"got {value!r}" if value is not BadInput.MISSING else ""
        expected = f"expected {allowed}" if allowed else ""
        facts = "; ".join(filter(None, (got, expected)))
        sentence = what + (f": {facts}" if facts else "") + (f" ({where})" if where else "") + "."
        super().__init__(printable(sentence + (f" Try: {instead}" if instead else "")))

    def __reduce__(self) -> tuple:
        parts = self.what, self.value, self.allowed, self.where, self.instead
        return _rebuild, (type(self), *parts), dict(vars(self))  # with notes and attributes


class BadType(BadInput, TypeError):
    """A BadInput that is a TypeError too, since torch raises one for the same mistake."""


class BadKey(BadInput, KeyError):
    """A BadInput that is a KeyError too, since torch raises one for the same mistake."""

    __str__ = BaseException.__str__  # KeyError's own puts the sentence in quotes


def _rebuild(
    cls: type[BadInput], what: str, value: object, allowed: str, where: str, instead: str
) -> BadInput:
    """Unpickle a BadInput that a worker process raised."""
    return cls(what, value=value, allowed=allowed, where=where, instead=instead)


def expect(value: object, types: type | tuple[type, ...], name: str, instead: str = "") -> None:
    """Raise BadInput unless an argument has one of the given types.

    Args:
        value: what was passed.
        types: the accepted types.
        name: the argument's name.
        instead: a line to paste that works.

    Raises:
        BadInput: the value has another type.

    Example:
        >>> expect(3, str, "reference", 'load("digits")')
        Traceback (most recent call last):
            ...
        betaplane.errors.BadInput: reference is of the wrong type: got 'int'; expected str. Try: load("digits")
    """
    if not isinstance(value, types):
        choices = types if isinstance(types, tuple) else (types,)
        allowed = " or ".join(choice.__name__ for choice in choices)
        raise BadInput(
            f"{name} is of the wrong type",
            value=type(value).__name__,
            allowed=allowed,
            instead=instead,
        )


def expect_function(
    value: object, name: str, instead: str, where: str = "", takes: int | None = None
) -> None:
    """Raise BadInput unless an argument is callable with the given number of arguments.

    Args:
        value: what was passed.
        name: the argument's name.
        instead: a line to paste that works.
        where: the function that takes the argument.
        takes: number of positional arguments; not checked if None or if the signature is unknown.

    Raises:
        BadInput: it is not callable that way; also a TypeError, as Python would raise at the call.

    Example:
        >>> expect_function("mse", "loss", "loss=torch.nn.functional.mse_loss")
        Traceback (most recent call last):
            ...
        betaplane.errors.BadType: loss is not callable: got 'mse'; expected a function. Try: loss=torch.nn...
    """
    if not callable(value):
        raise BadType(
            f"{name} is not callable",
            value=value,
            allowed="a function",
            where=where,
            instead=instead,
        )
    if takes is not None and not _can_take(value, takes):
        what, allowed = f"{name} has the wrong signature", f"a function of {takes} arguments"
        raise BadType(
            what,
            value=getattr(value, "__name__", value),
            allowed=allowed,
            where=where,
            instead=instead,
        )


def _can_take(function: Callable[..., object], count: int) -> bool:
    """Whether a function takes this number of positional arguments; True if that is unknown."""
    # imported lazily: it takes 10 ms, and most calls do not need it
    from inspect import signature

    try:
        parameters = signature(function)
    except (TypeError, ValueError):
        return True
    try:
        parameters.bind(*range(count))
    except TypeError:
        return False
    return True


def unknown(
    noun: str,
    name: object,
    known: Iterable[object],
    *,
    where: str = "",
    instead: str = "{}",
    close: str = "",
    kind: type[BadInput] = BadInput,
) -> BadInput:
    """The BadInput for a name that does not exist, with the nearest name that does.

    All errors of unknown names are made here, so that they read the same.

    Args:
        noun: what the name should have been ("rule", "problem", "axis").
        name: the name that was given.
        known: the names that exist.
        where: the source of the name.
        instead: a line to paste, with {} in place of the nearest name.
        close: the nearest name, if it is not the one that `nearest` finds.
        kind: the class of the error.

    Example:
        >>> print(unknown("rule", "adm", ["sgd", "adam"], instead="--rule {}"))
        Unknown rule 'adm'. Did you mean 'adam'? Choose one of: sgd, adam. Try: --rule adam
        >>> print(unknown("rule", "zzz", ["sgd", "adam"], instead="--rule {}"))
        Unknown rule 'zzz'. Choose one of: sgd, adam.
    """
    names = list(known)
    texts = [choice for choice in names if isinstance(choice, str)]
    if isinstance(name, str):
        close = close or nearest(name, texts, "")
    guess = f"Did you mean {close!r}? " if close else ""
    text = f"Unknown {noun} {name!r}. {guess}Choose one of: {', '.join(map(str, names))}"
    return kind(text, where=where, instead=instead.format(close) if close else "")


def not_installed(package: str, extra: str, where: str) -> BadInput:
    """The BadInput for a package that is not installed, with the command that installs it.

    Args:
        package: its name in Python.
        extra: the extra of betaplane that contains it.
        where: the function that needs it.

    Example:
        >>> print(not_installed("optuna", "optuna", "import_sweep"))
        optuna is not installed (import_sweep). Try: pip install 'betaplane[optuna]'
    """
    command = f"pip install 'betaplane[{extra}]'"
    return BadInput(f"{package} is not installed", where=where, instead=command)


def one_of(allowed: Collection[object], where: str = "", **options: object) -> None:
    """Raise BadInput for the first option that is not one of `allowed`.

    Args:
        allowed: the valid values.
        where: the source of the options.
        options: name=value.

    Example:
        >>> one_of(("shuffle", "cyclic"), "digits", order="cyclical")
        Traceback (most recent call last):
            ...
        betaplane.errors.BadInput: Unknown order 'cyclical'. Did you mean 'cyclic'? Choose ...
    """
    for name, value in options.items():
        if value not in allowed:
            raise unknown(name, value, allowed, where=where, instead=f'{name}="{{}}"')


def nearest(name: str, known: Iterable[str], default: str) -> str:
    """The known name closest to `name`.

    Args:
        name: the name that was given; case, hyphens and underscores are ignored.
        known: the names that exist.
        default: the name to return if none is close.

    Example:
        >>> nearest("lionn", ["adam", "lion"], "adam"), nearest("Adam-Mini", ["adam", "adammini"], "adam")
        ('lion', 'adammini')
        >>> nearest("Adma", ["adamax", "adam"], "sgd")  # swapped letters come first
        'adam'
        >>> nearest("speed", ["lr", "beta1"], "beta1")
        'beta1'
    """
    from difflib import get_close_matches  # imported lazily: only needed on the error path

    by_spelling = {_normalize(candidate): candidate for candidate in known}
    close = get_close_matches(_normalize(name), by_spelling, n=3)
    swapped = [match for match in close if sorted(match) == sorted(_normalize(name))]
    return by_spelling[(swapped + close)[0]] if close else default


def _normalize(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
