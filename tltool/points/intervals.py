"""How many animals a new image holds, given what was detected and how validation went.

The model: in validation and in the new image alike, animals found, animals
missed and false detections come independently, as Poisson numbers whose
means stand to each other as ``tp : fn : fp``. How many there are of all of
them may differ as it likes between images. So the method assumes that the new
image resembles the validation images: the same classifier, parameters and
resolution, and about as many false detections for each animal. It does not
hold for a scene whose empty ground deceives the classifier more often;
validation images with blocks of their own then tell by how much rates vary
(`tltool.points.block_bootstrap`).

With a gamma prior of shape a on each of the three means, the joint posterior
of the shares is Dirichlet(tp + a, fp + a, fn + a). Hence precision is
Beta(tp + a, fp + a) and recall Beta(tp + a, fn + a), but not independently:
the found animals are in both, and taking them as independent makes intervals
too wide. Of n detections in the new image, then,

- the true ones are beta-binomial: Binomial(n, p), p ~ Beta(tp + a, fp + a);
- the missed ones are beta-negative-binomial: the Poisson mean of all detections
  is Gamma(n + 1/2) a posteriori, and a share s ~ Beta(tp + fp + 2a, fn + a) of
  detections among detections and misses makes NegativeBinomial(n + 1/2, s);
- p and s are independent (the Dirichlet's neutrality), and so are both
  numbers given n: the posterior of the count is their convolution, exact, with
  nothing drawn at random.

a = 1/2 is Jeffreys' prior of a Poisson mean.

Counts are whole numbers, so no interval holds 95 % exactly. The plain
equal-tailed one holds at least that, and much more for small counts. Here an
end counts as half inside its tail (mid-p), which holds 95 % on average. Where
one number alone has more than 97 % (next to no error in validation, few
detections), the interval is that number and covers more: nothing shorter
exists.

Simulated over draws of validation and new image, intervals of 95 % cover the
truth in 93 to 97 % of cases for precision and recall from 0.5 to 0.9, 30 or
more validation animals and means of 5 to 150 new ones. Where instead the new
image's number is fixed, and only its detections vary, they cover 95 to 97 %
for a precision of 0.9 (97.0 % for a number as small as 5), 95 to 98 % for 0.7
and up to 99 % for 0.5: a fixed number varies less than a Poisson one, by
``(1 - p)**2`` of its mean. They are then too long, not too short.

References
----------
J. M. Bernardo and A. F. M. Smith, Bayesian Theory, Wiley, 1994, section 3.2
and appendix A: beta-binomial, negative-binomial-beta, Dirichlet.
H. O. Lancaster, "Significance tests in discrete distributions", Journal of the
American Statistical Association 56(294), 1961, pp. 223-234: mid-p.
R. J. Connor and J. E. Mosimann, "Concepts of independence for proportions with
a generalization of the Dirichlet distribution", Journal of the American
Statistical Association 64(325), 1969, pp. 194-206: neutrality.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve
from scipy.special import betaln, gammaln

from tltool.errors import DataError
from tltool.run.detection_parameters import Validation

# Jeffreys' prior of a Poisson mean is a gamma of this shape.
_PRIOR = 0.5

# Mass that may be missing at the far end of a distribution, and numbers that it may hold.
_LOST, _LONGEST = 1e-6, 1 << 24

METHOD = (
    "beta-binomial for false and beta-negative-binomial for missed detections, mid-p;"
    " assumes that the image resembles the validation images"
)


@dataclass(frozen=True)
class CountInterval:
    """A count and how far it can be trusted.

    Attributes
    ----------
    detections : int
    estimate : float
        Corrected for bias: ``detections * (tp + fn) / (tp + fp)``, which is
        detections times precision over recall.
    lower, upper : int
        Ends of the interval, both inside.
    level : float
        Probability that it holds the true number.
    method : str
        What it is, with what it assumes.
    """

    detections: int
    estimate: float
    lower: int
    upper: int
    level: float
    method: str


@dataclass(frozen=True)
class CountDistribution:
    """Probabilities of whole numbers.

    Attributes
    ----------
    first : int
        The number that ``mass[0]`` belongs to.
    mass : (n,) float64 array
        What it lacks to 1 lies beyond its end.
    """

    first: int
    mass: np.ndarray

    def interval(self, level: float) -> tuple[int, int]:
        """Smallest and largest number of the mid-p interval."""
        middle = np.cumsum(self.mass) - self.mass / 2
        tail = (1 - level) / 2
        lower = int(np.searchsorted(middle, tail))
        upper = int(np.searchsorted(middle, 1 - tail, side="right")) - 1
        return self.first + min(lower, max(upper, 0)), self.first + max(lower, upper)


def _trimmed(first: int, mass: np.ndarray) -> CountDistribution:
    """Without ends that have next to no mass."""
    total = np.cumsum(mass)
    start = int(np.searchsorted(total, _LOST / 100))
    stop = int(np.searchsorted(total, total[-1] - _LOST / 100)) + 1
    return CountDistribution(first + start, mass[start:stop])


def count_distribution(detections: int, validation: Validation) -> CountDistribution:
    """Posterior of the true number in a new image.

    Parameters
    ----------
    detections : int
        In the new image, or in several together.
    validation : Validation
        How the detections of this class agreed with the truth.

    Raises
    ------
    DataError
        Where the number of detections is negative.
    """
    if detections < 0:
        raise DataError(f"`detections`: expected a number from 0 on, received {detections}")
    a, b, c = (number + _PRIOR for number in (validation.tp, validation.fp, validation.fn))
    # Beta-binomial: the right ones of so many detections.
    k = np.arange(detections + 1)
    ways = gammaln(detections + 1) - gammaln(k + 1) - gammaln(detections - k + 1)
    true = _trimmed(0, np.exp(ways + betaln(k + a, detections - k + b) - betaln(a, b)))
    # Beta-negative-binomial: the misses beside detections of so large a gamma's shape.
    shape, length, mass = detections + 0.5, 256, np.zeros(1)
    while mass.sum() <= 1 - _LOST and length < _LONGEST:
        length *= 4
        k = np.arange(length)
        ways = gammaln(k + shape) - gammaln(k + 1) - gammaln(shape)
        mass = np.exp(ways + betaln(shape + a + b, k + c) - betaln(a + b, c))
    missed = _trimmed(0, mass)
    mass = np.maximum(fftconvolve(true.mass, missed.mass), 0)
    return CountDistribution(true.first + missed.first, mass)


def count_interval(
    detections: int, validation: Validation | None, level: float = 0.95
) -> CountInterval | None:
    """The true number in a new image, from its detections and the validation's.

    Parameters
    ----------
    detections : int
        Detections of one class, in one image or in several together: intervals of
        images do not add up, since all share the validation's uncertainty.
    validation : Validation or None
        How the detections of this class agreed with the truth.
    level : float
        Probability that the interval holds the true number, 0..1.

    Returns
    -------
    CountInterval or None
        None, which means unknown, where no true point of the class was found
        in validation: nothing then tells how many are missed.

    Raises
    ------
    DataError
        Where a number is out of range.

    Notes
    -----
    Method and assumptions: `tltool.points.intervals`.
    """
    if not 0 < level < 1:
        raise DataError(f"`level`: expected a probability between 0 and 1, received {level:g}")
    if validation is None or not validation.tp:
        return None
    lower, upper = count_distribution(detections, validation).interval(level)
    estimate = corrected_count(detections, validation)
    return CountInterval(detections, estimate, lower, upper, level, METHOD)


def corrected_count(detections: int, validation: Validation) -> float:
    """Detections times precision over recall: the true points for each detection."""
    return detections * (validation.tp + validation.fn) / (validation.tp + validation.fp)
