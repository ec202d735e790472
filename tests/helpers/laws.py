"""What every stitching layer must keep, whatever its method."""

import json

import torch
from torch import Tensor

from hf_stitch.stitching.layers.layer import StitchingLayer


def restored(layer: StitchingLayer) -> StitchingLayer:
    """The layer after its spec went through JSON and its tensors through a state dict, built on the meta device."""
    spec = json.loads(json.dumps(layer.spec))
    with torch.device("meta"):
        empty = StitchingLayer.from_spec(spec)
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    empty.load_state_dict(layer.state_dict(), assign=True)
    return empty


def keeps_itself(layer: StitchingLayer, x: Tensor) -> None:
    """Restored from spec and tensors, or moved to half precision, a layer gives the same bytes."""
    expected = layer(x)
    again = restored(layer)
    assert again.spec == layer.spec
    assert torch.equal(again(x), expected)
    assert torch.equal(again.to(torch.bfloat16).half()(x), expected)
    assert all(not parameter.requires_grad for parameter in again.parameters())
    json.dumps(layer.diagnostics, allow_nan=False)


def keeps_shapes_and_dtypes(layer: StitchingLayer, x: Tensor) -> None:
    """Any leading shape, the input's dtype, no effect of autocast, one row as in a batch."""
    expected = layer(x)
    assert expected.shape == (*x.shape[:-1], layer.features_out)
    assert torch.equal(layer(x[None, :, None])[0, :, 0], expected)
    assert torch.allclose(layer(x[:1]), expected[:1], rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert layer(x.to(dtype)).dtype == dtype
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x), expected)
    assert layer(x[:0]).shape == (0, layer.features_out)


def is_differentiable(layer: StitchingLayer, x: Tensor) -> None:
    """Gradients reach the input, finite even at fitted rows, and through a landing."""
    moved = x.clone().requires_grad_()
    layer(moved).square().sum().backward()
    assert moved.grad is not None
    assert moved.grad.isfinite().all()
    assert moved.grad.abs().sum() > 0


def holds(layer: StitchingLayer, x: Tensor) -> None:
    keeps_itself(layer, x)
    keeps_shapes_and_dtypes(layer, x)
    is_differentiable(layer, x)
