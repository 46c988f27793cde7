"""Networks on pixels: heatmaps, undecoded, into a dense or a convolutional network.

These are the networks that people try first, built as they are commonly built, as baselines: they are trained on the
same folds as the other candidates. They learn the performer's position in the heatmap along with the pose. On another
person, cropped alike, a dense network scores .972 on 14 gestures where heatpose scores .993; on heatmaps of another
estimator, narrower or blurred, .953 to .968; and with the person's box a tenth off, .144
(``python -m benchmarks.pixels DATA``, seed 0, the real data of docs/networks.md).

Mini-batches are read when they are needed: heatmaps are an array, or :class:`heatpose.HeatmapRows`, which
reads files. PyTorch is imported when the convolutional network is trained or predicts.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.neural_network import MLPClassifier
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.validation import check_is_fitted

from heatpose.data.folder import HeatmapRows
from heatpose.data.packages import import_extra
from heatpose.data.reading import count_workers
from heatpose.model.checks import check_heatmaps, check_labels
from heatpose.model.estimators import as_table
from heatpose.model.openset import OpenSetMixin, apply_temperature, correct_probabilities
from heatpose.pose.decoding import decode_heatmaps
from heatpose.pose.geometry import has_body, mask_uncertain
from heatpose.pose.skeleton import COCO_17

__all__ = ["HeatmapPixels", "PixelCNN", "PixelDense"]

_TRAINED = ["network_", "weights_"]  # a loaded network has its weights alone until it predicts
_CHUNK = 256  # samples read together: 53 MB of heatmaps of 17 x 64 x 48 in float32


class HeatmapPixels(TransformerMixin, BaseEstimator):
    """Pass heatmaps through: the first step of a pipeline that works from pixels."""

    def fit(self, X: Any, y: object = None) -> HeatmapPixels:
        """Check the heatmaps' shape; there is nothing to learn."""
        self.transform(X)
        return self

    def transform(self, X: Any) -> np.ndarray | HeatmapRows:
        """Return heatmaps (N, 17, H, W) of an array, a tensor or an estimator's output; HeatmapRows stay lazy."""
        if isinstance(X, HeatmapRows):
            return X
        return check_heatmaps(X, COCO_17)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.requires_fit = False
        return tags


@dataclass(eq=False, repr=False)
class _PixelNetwork(OpenSetMixin, ClassifierMixin, BaseEstimator):
    """Base of the networks: mini-batches in, probabilities out."""

    _: KW_ONLY
    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 1e-3
    temperature: float = 1.0
    threshold: float = 0.5
    random_state: int | np.random.RandomState | None = None

    def fit(self, X: Any, y: ArrayLike) -> _PixelNetwork:
        """Train.

        Parameters
        ----------
        X : array_like of shape (N, K, H, W), or HeatmapRows
            Heatmaps; HeatmapRows are read a few batches at a time.
        y : array_like of shape (N,)
            Class names.
        """
        for name in (*_TRAINED, "signature_"):  # a fit that fails or is interrupted leaves no network of other classes
            self.__dict__.pop(name, None)
        heatmaps = HeatmapPixels().transform(X)
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} of at least 1, got {getattr(self, name)}.")
        self.classes_, codes = check_labels(y, len(heatmaps))
        self.heatmap_shape_ = heatmaps.shape[1:]
        self.correction_ = None
        self._train(heatmaps, codes, np.random.default_rng(check_random_state(self.random_state).randint(2**31)))
        return self

    def predict_proba_and_known(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of each class (N, C), and 1 for being known (N,): networks do not abstain."""
        check_is_fitted(self, _TRAINED, all_or_any=any)
        heatmaps = HeatmapPixels().transform(X)
        if heatmaps.shape[1:] != self.heatmap_shape_:
            raise ValueError(
                f"Expected heatmaps of shape (n, {', '.join(map(str, self.heatmap_shape_))}), which the network was "
                f"trained on, got {heatmaps.shape}."
            )
        probabilities = np.empty((len(heatmaps), len(self.classes_)))
        for rows in _chunks(heatmaps):
            probabilities[rows] = self._predict(_float32(heatmaps[rows]))
        probabilities, known = apply_temperature(probabilities, self.temperature), np.ones(len(heatmaps))
        if self.correction_ is not None:
            xy = self.visible_keypoints(heatmaps)
            body = has_body(xy)
            correction = self.correction_(as_table(xy[body]))
            probabilities[body], known[body] = correct_probabilities(probabilities[body], known[body], correction)
        return probabilities, known

    def visible_keypoints(self, X: Any) -> np.ndarray:
        """Return the decoded positions of keypoints, (N, 17, 2), NaN where one is missing."""
        heatmaps = HeatmapPixels().transform(X)
        decoded = [decode_heatmaps(_float32(heatmaps[rows])) for rows in _chunks(heatmaps)]
        return mask_uncertain(np.concatenate(decoded), 0)

    def _shuffled(self, heatmaps: Any, codes: np.ndarray, rng: np.random.Generator) -> Iterator[tuple]:
        """Yield all samples once, in random order: heatmaps (n, K, H, W) and class numbers, in whole batches."""
        order = rng.permutation(len(codes))
        step = max(1, _CHUNK // self.batch_size) * self.batch_size
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            yield _float32(heatmaps[rows]), codes[rows]

    @abstractmethod
    def _train(self, heatmaps: Any, codes: np.ndarray, rng: np.random.Generator) -> None:
        """Train on heatmaps (N, K, H, W), an array or HeatmapRows, and class numbers (N,)."""

    @abstractmethod
    def _predict(self, heatmaps: np.ndarray) -> np.ndarray:
        """Return probabilities (n, C) of heatmaps (n, K, H, W)."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.non_deterministic = self.random_state is None
        return tags


@dataclass(eq=False, repr=False)
class PixelDense(_PixelNetwork):
    """A dense network on flattened heatmaps: 52,224 numbers for 17 x 64 x 48.

    Parameters
    ----------
    layers : int, default 1
        Number of hidden layers.
    neurons : int, default 64
        ReLU units in each.
    epochs : int, default 10
        Passes over the training samples.
    batch_size : int, default 32
        Samples of each step of Adam.
    learning_rate : float, default 1e-3
        Learning rate of Adam.
    temperature, threshold : float
        As for :class:`heatpose.PoseClassifier`.
    random_state : int, RandomState or None
        Seed of the initial weights and the order of samples.

    Attributes
    ----------
    classes_ : ndarray of str
        Class names, sorted.
    heatmap_shape_ : (int, int, int)
        (K, H, W) of the heatmaps it was trained on; it takes no others.
    network_ : MLPClassifier
        The fitted network.
    """

    layers: int = 1
    neurons: int = 64

    def _train(self, heatmaps: Any, codes: np.ndarray, rng: np.random.Generator) -> None:
        network = MLPClassifier(
            (self.neurons,) * self.layers,
            batch_size=self.batch_size,
            learning_rate_init=self.learning_rate,
            shuffle=False,  # the batches are shuffled
            random_state=int(rng.integers(2**31)),
        )
        classes = np.arange(len(self.classes_))
        with warnings.catch_warnings():  # the last batch can be smaller
            warnings.filterwarnings("ignore", "Got `batch_size` less than 1 or larger than sample size")
            for _ in range(self.epochs):
                for some, their_codes in self._shuffled(heatmaps, codes, rng):
                    network.partial_fit(some.reshape(len(some), -1), their_codes, classes=classes)
        del network._optimizer  # twice as large as the network, and only needed in training
        self.network_ = network

    def _predict(self, heatmaps: np.ndarray) -> np.ndarray:
        return self.network_.predict_proba(heatmaps.reshape(len(heatmaps), -1))


@dataclass(eq=False, repr=False)
class PixelCNN(_PixelNetwork):
    """A convolutional network on heatmaps as an image of 17 channels, in PyTorch.

    Each layer is a 3 x 3 convolution, ReLU and a 2 x 2 maximum; then come a dense layer, dropout and the classes.

    Parameters
    ----------
    layers : int, default 2
        Number of convolutions.
    channels : int, default 16
        Channels of the first convolution; each further one has twice as many.
    neurons : int, default 64
        Units of the dense layer.
    dropout : float, default 0.5
        Share of the units left out in a step.
    epochs, batch_size, learning_rate, temperature, threshold, random_state
        As for :class:`PixelDense`.
    device : str, default "cpu"
        Device of PyTorch, such as ``"cuda"``.
    n_jobs : int or None, default 1
        PyTorch's threads, as for :class:`heatpose.HeatmapDecoder`; training already runs candidates in parallel.

    Attributes
    ----------
    classes_ : ndarray of str
        Class names, sorted.
    heatmap_shape_ : (int, int, int)
        (K, H, W) of the heatmaps it was trained on; it takes no others.
    weights_ : dict of str to ndarray
        The network's weights, named as in PyTorch, which a saved model needs to predict but not to load.
    """

    layers: int = 2
    channels: int = 16
    neurons: int = 64
    _: KW_ONLY
    dropout: float = 0.5
    device: str = "cpu"
    n_jobs: int | None = 1

    def _train(self, heatmaps: Any, codes: np.ndarray, rng: np.random.Generator) -> None:
        torch = _torch()
        with _Threads(torch, self.n_jobs), torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**31)))
            network = self._build(torch).train()
            optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
            for _ in range(self.epochs):
                for some, their_codes in self._shuffled(heatmaps, codes, rng):
                    pixels = torch.from_numpy(some).split(self.batch_size)
                    targets = torch.from_numpy(their_codes).split(self.batch_size)
                    for batch, target in zip(pixels, targets, strict=True):
                        optimizer.zero_grad()
                        logits = network(batch.to(self.device))
                        torch.nn.functional.cross_entropy(logits, target.to(self.device)).backward()
                        optimizer.step()
            self.weights_ = {name: weight.cpu().numpy() for name, weight in network.state_dict().items()}
        self.network_ = network.eval()

    def _predict(self, heatmaps: np.ndarray) -> np.ndarray:
        torch = _torch()
        if not hasattr(self, "network_"):
            network = self._build(torch).eval()
            network.load_state_dict({name: torch.tensor(w) for name, w in self.weights_.items()})
            self.network_ = network  # with its weights, since other threads predict by it from now on
        with _Threads(torch, self.n_jobs), torch.inference_mode():
            logits = self.network_(torch.from_numpy(heatmaps).to(self.device))
            return torch.softmax(logits.double(), dim=1).cpu().numpy()

    def _build(self, torch: Any) -> Any:
        """Build the network with new weights."""
        nn = torch.nn
        n_keypoints, n_rows, n_columns = self.heatmap_shape_
        channels = [n_keypoints, *(self.channels * 2**layer for layer in range(self.layers))]
        if min(n_rows, n_columns) < 2**self.layers:
            raise ValueError(
                f"Expected heatmaps of at least {2**self.layers} x {2**self.layers} cells for {self.layers} layers, "
                f"got {n_rows} x {n_columns}."
            )
        convolutions = [
            part
            for before, after in pairwise(channels)
            for part in (nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        ]
        n_left = channels[-1] * (n_rows >> self.layers) * (n_columns >> self.layers)
        return nn.Sequential(
            *convolutions,
            nn.Flatten(),
            nn.Linear(n_left, self.neurons),
            nn.ReLU(),
            nn.Dropout(self.dropout),
            nn.Linear(self.neurons, len(self.classes_)),
        ).to(self.device)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "network_"}


class _Threads:
    """Context with a number of threads of PyTorch."""

    def __init__(self, torch: Any, n_jobs: int | None):
        self.torch, self.count = torch, count_workers(n_jobs)

    def __enter__(self) -> None:
        self.before = self.torch.get_num_threads()
        self.torch.set_num_threads(self.count)

    def __exit__(self, *error: object) -> None:
        self.torch.set_num_threads(self.before)


def _torch() -> Any:
    return import_extra("torch", "cnn", "pixel-cnn needs PyTorch")


def _chunks(heatmaps: Any) -> list[np.ndarray]:
    """Return the positions of samples that are read together."""
    return [np.arange(start, min(start + _CHUNK, len(heatmaps))) for start in range(0, len(heatmaps), _CHUNK)]


def _float32(heatmaps: np.ndarray) -> np.ndarray:
    heatmaps = np.ascontiguousarray(heatmaps, dtype=np.float32)
    assert_all_finite(heatmaps, input_name="heatmaps")  # NaN would be that of all weights, and every class the first
    return heatmaps
