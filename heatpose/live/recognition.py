"""From pictures to records: people are found, their heatmaps pushed into a stream, and what happened is written.

The path of a picture is that of ``heatpose heatmaps`` and ``heatpose watch``, with the same tracker, the same stream
and the same records, so that both ways give the same events for the same film.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpose.datasets.boxes import DECODER, Person, PersonTracker
from heatpose.live.camera import Camera, Film, Picture
from heatpose.live.watching import Frame

__all__ = ["Scene", "find_people", "person_frames"]

logger = logging.getLogger(__name__)


class Scene(NamedTuple):
    """A picture and the people in it."""

    time: float
    pixels: NDArray
    people: list[Person]
    has_several: bool = False

    def name(self, person: Person) -> str | None:
        """Return by what a person is told apart from others: the number, or None for a single one."""
        return str(person.number) if self.has_several else None


def find_people(source: Film | Camera, tracker: PersonTracker) -> Iterator[Scene | None]:
    """Yield each picture with its people, and None while a camera gives none; warn at the end if nobody was found."""
    picture: Picture | None
    n_pictures, any_people = 0, False
    try:
        for picture in source:
            people = [] if picture is None else tracker(picture.pixels, picture.time)
            n_pictures, any_people = n_pictures + (picture is not None), any_people or bool(people)
            yield None if picture is None else Scene(*picture, people, tracker.has_several)
    finally:  # also where a camera is left
        if n_pictures and not any_people:
            logger.warning("Found no person in any of %d pictures", n_pictures)


def person_frames(
    scenes: Iterable[Scene | None], *, decoder: str | None = None, on_scene: Callable[[Scene], Any] | None = None
) -> Iterator[Frame | None]:
    """Yield one frame for each person of each picture, as :func:`heatpose.live.watching.watch_frames` takes them.

    A picture without people is a frame without samples, by which a stream learns that time passes.

    Parameters
    ----------
    scenes : iterable of Scene or None
        See :func:`find_people`.
    decoder : str, optional
        :attr:`heatpose.PoseStream.decoder`: frames hold the keypoints by which people are followed where they are
        decoded alike, so that it is done once.
    on_scene : callable, optional
        Called with each scene before its frames, for a page or a recording.
    """
    for scene in scenes:
        if scene is None:
            yield None
            continue
        if on_scene is not None:
            on_scene(scene)
        for person in scene.people:
            keypoints = person.decoded[None] if decoder == DECODER else None
            yield Frame(None, scene.time, person.heatmaps[None], scene.name(person), keypoints)
        if not scene.people:
            yield Frame(None, scene.time, np.empty((0, 17, 0, 0), dtype=np.float32))
