"""A classifier's scores: what its outputs are before softmax or sigmoid makes them probabilities.

The gradient of a probability vanishes where the classifier is sure; all
methods take the score ("the score for class c, y^c (before the softmax)",
Selvaraju et al. 2017, section 3).
"""

from typing import Any

from keras import layers

from tltool.explanation.flat import Call, Flat
from tltool.models.graph import give_weights

_ACTIVATIONS = ("softmax", "sigmoid")
# They move numbers about and leave them as they are.
_MOVING = (layers.Reshape, layers.Flatten, layers.Identity, layers.Dropout, layers.Concatenate)


def _is_activation(layer: Any) -> bool:
    """Whether a layer or operation is softmax or sigmoid and nothing else."""
    if isinstance(layer, layers.Activation):
        return layer.activation.__name__ in _ACTIVATIONS
    return type(layer).__name__.lower() in _ACTIVATIONS


def score_maker(flat: Flat, output: Any) -> Call | None:
    """The call whose result, but for a softmax or sigmoid at its end, are the scores of `output`.

    None: an output that is put together of several, or is the input.
    """
    call = flat.maker(output)
    while call is not None and (_is_activation(call.layer) or isinstance(call.layer, _MOVING)):
        if len(call.inputs) != 1:
            return None
        call = flat.maker(call.inputs[0])
    return call


def scores_of(flat: Flat, output: Any) -> Any:
    """The scores of an output of the flat graph, as a new branch of it.

    Parameters
    ----------
    flat : Flat
    output : (b, ..., n) KerasTensor
        One of `flat`'s.

    Returns
    -------
    (b, ..., n) KerasTensor; `output` itself where no softmax or sigmoid is at
    its end.
    """
    call = flat.maker(output)
    if call is None:
        return output
    if _is_activation(call.layer):
        return scores_of(flat, call.inputs[0])
    if isinstance(call.layer, _MOVING):
        scores = [scores_of(flat, tensor) for tensor in call.inputs]
        if all(new is old for new, old in zip(scores, call.inputs, strict=True)):
            return output
        return type(call.layer).from_config(call.layer.get_config())(
            scores if len(scores) > 1 else scores[0]
        )
    if getattr(getattr(call.layer, "activation", None), "__name__", None) not in _ACTIVATIONS:
        return output
    # A copy without activation; the model's layer stays as it is.
    plain = type(call.layer).from_config({**call.layer.get_config(), "activation": "linear"})
    before = plain(*call.inputs)
    give_weights(plain, call.layer.get_weights())
    return before
