# Copyright (c) mmhkt authors. All rights reserved.
"""The child as an ONNX file, checked, and what it costs beside its parent."""
import json
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional, Sequence

import numpy as np
import torch
from mmengine.analysis import get_model_complexity_info
from torch import Tensor, nn

from mmhkt.utils.files import replaced
from .flow import RAFT
from .image_format import normalisation_of

# The first with `GridSample`, which RAFT needs.
OPSET = 17
INPUT, OUTPUT = 'images', 'output'


class Deployed(nn.Module):
    """What is deployed of a network: normalised images to scores.

    Args:
        network (nn.Module): Of one of the three tasks.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Args: images (Tensor): As the data preprocessor makes them.

        Returns:
            Tensor: Scores (B, classes); scores of each pixel at the images'
            size (B, classes, H, W); or the flow (B, 2, H, W) in pixels.
        """
        if isinstance(self.network, RAFT):
            return self.network._flows(images, self.network.iters_test)[-1]
        if hasattr(self.network, 'decode_head'):
            size = tuple(images.shape[-2:])
            return self.network.encode_decode(
                images, [dict(img_shape=size, pad_shape=size)])
        return self.network(images)


def export_onnx(network: nn.Module,
                path: Path,
                image: Tensor,
                meta: Optional[Dict[str, Any]] = None) -> Path:
    """Write a network as ONNX, with a batch of any size.

    Args:
        network (nn.Module): In the state that is to be deployed.
        path (Path): The file.
        image (Tensor): One image (1, C, H, W) as the data preprocessor makes
            it; height and width are those that the file is for.
        meta (dict, optional): More to note in the file, by name. The
            normalisation of the data preprocessor is noted.

    Returns:
        Path: The file written.
    """
    import onnx
    network.eval()
    mean, std = normalisation_of(network.data_preprocessor)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as partial, pooled_by_products():
        with warnings.catch_warnings():
            # Shapes that are looked at while tracing; what comes of them is
            # checked with other batches.
            warnings.simplefilter('ignore')
            torch.onnx.export(
                Deployed(network), (image.repeat(2, 1, 1, 1), ),
                str(partial),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={
                    INPUT: {
                        0: 'batch'
                    },
                    OUTPUT: {
                        0: 'batch'
                    }
                },
                opset_version=OPSET,
                dynamo=False)
        model = onnx.load(str(partial))
        onnx.checker.check_model(model)
        noted = dict(mean=mean.tolist(), std=std.tolist(), **(meta or {}))
        onnx.helper.set_model_props(model, {
            k: json.dumps(v)
            for k, v in noted.items()
        })
        onnx.save(model, str(partial))
    return path


@contextmanager
def pooled_by_products() -> Iterator[None]:
    """Adaptive average pooling to any size, which ONNX lacks.

    Height and width are fixed in a file, so that it is a product with one
    matrix from the left and one from the right.
    """
    from torch.onnx import (register_custom_op_symbolic, symbolic_helper,
                            unregister_custom_op_symbolic)
    name = 'aten::adaptive_avg_pool2d'

    def products(g, images, size):
        before = symbolic_helper._get_tensor_sizes(images)[-2:]
        after = symbolic_helper._parse_arg(size, 'is')
        if after == [1, 1]:
            return g.op('GlobalAveragePool', images)
        rows, columns = map(averages, before, after)
        left, right = [
            g.op('Constant', value_t=matrix) for matrix in (rows, columns.T)
        ]
        return g.op('MatMul', g.op('MatMul', left, images), right)

    register_custom_op_symbolic(name, products, OPSET)
    try:
        yield
    finally:
        unregister_custom_op_symbolic(name, OPSET)


def averages(before: int, after: int) -> Tensor:
    """Row i holds the weights of the i-th mean of adaptive pooling."""
    matrix = torch.zeros(after, before)
    for i in range(after):
        begin, end = i * before // after, -(-(i + 1) * before // after)
        matrix[i, begin:end] = 1 / (end - begin)
    return matrix.contiguous()


def largest_difference(network: nn.Module, path: Path,
                       batches: Sequence[Tensor]) -> float:
    """How far a file's outputs lie from its network's, at most.

    Args:
        network (nn.Module): What was exported.
        path (Path): The file.
        batches (Sequence[Tensor]): Images, (B, C, H, W), B may differ.
    """
    run = session(path)
    network.eval()
    worst = 0.
    with torch.no_grad():
        for batch in batches:
            right = Deployed(network)(batch).numpy()
            found = run(batch.numpy())
            if found.shape != right.shape:
                raise ValueError(f'{path} makes {found.shape} of a batch of '
                                 f'{len(batch)}, the network {right.shape}')
            worst = max(worst, float(np.abs(found - right).max()))
    return worst


def session(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """A file as a function, on CPU in as many threads as torch uses."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    made = onnxruntime.InferenceSession(
        str(path), options, providers=['CPUExecutionProvider'])
    return lambda images: made.run([OUTPUT], {INPUT: images})[0]


@torch.no_grad()
def deployed(network: nn.Module, image: Tensor) -> Tensor:
    """One forward pass of what is deployed."""
    return Deployed(network).eval()(image)


def complexity(network: nn.Module, image: Tensor) -> Dict[str, int]:
    """Parameters and multiply-adds for one image."""
    found = get_model_complexity_info(Deployed(network).eval(), inputs=image)
    return dict(parameters=found['params'], flops=found['flops'])


def check_installed() -> None:
    """Raise an error with its repair where ONNX's packages are absent."""
    for name in ('onnx', 'onnxruntime'):
        if find_spec(name) is None:
            raise ValueError(f'ONNX files need the package {name}: pip '
                             'install onnx onnxruntime')
