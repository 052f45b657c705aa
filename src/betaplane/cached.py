"""cached_property: as functools.cached_property, without a lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class cached_property(Generic[T]):
    """A property that is computed at the first access, and then stored in the instance.

    In Python 3.11 functools.cached_property computes under a lock of the class: a computation that
    waits for a second lock can then wait forever for another thread, and so does a fork that was made
    while a thread computed. Here two threads may compute the same value at the same time.

    Example:
        >>> class Square:
        ...     side = 3
        ...
        ...     @cached_property
        ...     def area(self):
        ...         print("computed")
        ...         return self.side**2
        >>> square = Square()
        >>> square.area, square.area
        computed
        (9, 9)
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        self.function = function
        self.name = function.__name__
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> cached_property[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            return self
        value = self.function(instance)
        # an attribute of the instance precedes this descriptor, which has no __set__
        vars(instance)[self.name] = value
        return value
