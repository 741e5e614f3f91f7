# Copyright (c) mmhkt authors. All rights reserved.
from typing import Dict, List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmhkt.registry import MODELS
from mmhkt.structures import FlowDataSample
from mmhkt.utils import load_strictly
from .torchvision_raft import build_raft, check_weights, read_weights
from .warm_start import in_cells

NO_PADDING = (0, 0, 0, 0)


@MODELS.register_module()
class RAFT(BaseModel):
    """RAFT of torchvision as a network of OpenMMLab.

    From `RAFT: Recurrent All-Pairs Field Transforms for Optical Flow
    <https://arxiv.org/abs/2003.12039>`_. The network itself is torchvision's,
    under ``raft``: without this prefix a checkpoint's weights are those of
    torchvision's model of the same size.

    What its losses are computed from is what ``raft`` returns, the flows of
    all updates as one tensor (N, B, 2, H, W), so that the predictions of
    another RAFT can stand in their place.

    Args:
        size (str | dict): ``'large'`` (5,257,536 parameters), ``'small'``
            (990,162), or the settings of another size, see
            :func:`mmhkt.models.flow.build_raft`. Defaults to ``'large'``.
        weights (str, optional): What training starts from: a name among
            torchvision's weights of that size, such as ``'C_T_V2'``
            (downloaded), or a file. Defaults to None: random.
        iters_train (int): Updates that a loss is computed of. In mode
            ``'tensor'`` it is as many, so that this shows what training does.
            Defaults to 12.
        iters_test (int): Updates of a prediction. Defaults to 32.
        criterion (dict, optional): Config of the loss. Defaults to None,
            :class:`SequenceLoss` as it is.
        norm_eval (bool): Whether batch norms, of which the large size has
            15, stay in eval mode, as they do in all stages of RAFT's training
            but the first. Defaults to False.
        data_preprocessor (dict, optional): Config of it. Defaults to None,
            :class:`FlowDataPreprocessor` as it is.
        init_cfg (dict, optional): Initialization config. Defaults to None:
            torchvision's initialization.

    Raises:
        ValueError: If the size or the weights are unknown, or a number of
            updates is below 1.
    """

    def __init__(self,
                 size: Union[str, dict] = 'large',
                 weights: Optional[str] = None,
                 iters_train: int = 12,
                 iters_test: int = 32,
                 criterion: Optional[dict] = None,
                 norm_eval: bool = False,
                 data_preprocessor: Optional[dict] = None,
                 init_cfg: Optional[Union[dict, List[dict]]] = None):
        if data_preprocessor is None or isinstance(data_preprocessor, dict):
            data_preprocessor = {
                'type': 'mmhkt.FlowDataPreprocessor',
                **(data_preprocessor or {})
            }
        super().__init__(data_preprocessor, init_cfg)
        for name, iters in (('train', iters_train), ('test', iters_test)):
            if not isinstance(iters, int) or iters < 1:
                raise ValueError(f'iters_{name} must be a whole number from '
                                 f'1 on, but got {iters!r}.')
        if weights is not None:
            check_weights(weights, size)
        self.size = size
        self.weights = weights
        self.iters_train = iters_train
        self.iters_test = iters_test
        self.norm_eval = norm_eval
        self.raft = build_raft(size)
        self.criterion = MODELS.build({
            'type': 'mmhkt.SequenceLoss',
            **(criterion or {})
        })

    def init_weights(self) -> None:
        """Initialise, and load :attr:`weights`; not before, so that what is
        built to be tested needs neither file nor network."""
        super().init_weights()
        if self.weights is not None:
            load_strictly(self.raft, read_weights(self.weights, self.size),
                          f'weights="{self.weights}" of RAFT')

    def train(self, mode: bool = True) -> 'RAFT':
        """Set the mode; batch norms may stay in eval mode."""
        super().train(mode)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(
        self,
        inputs: Tensor,
        data_samples: Optional[List[FlowDataSample]] = None,
        mode: str = 'tensor'
    ) -> Union[Tensor, Dict[str, Tensor], List[FlowDataSample]]:
        """Run.

        Args:
            inputs (Tensor): Pairs as the data preprocessor makes them,
                (B, 6, H, W).
            data_samples (list[FlowDataSample], optional): Defaults to None.
            mode (str): ``'tensor'``, ``'loss'`` or ``'predict'``. Defaults to
                ``'tensor'``: the flows after each of :attr:`iters_train`
                updates, (N, B, 2, H, W), in pixels, padding included.

        Raises:
            ValueError: If an image is too small for the size of RAFT.
            RuntimeError: If the mode is unknown.
        """
        if mode == 'tensor':
            return self._flows(inputs, self.iters_train)
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise RuntimeError(f'mode "{mode}" is unknown; valid: tensor, loss, '
                           'predict.')

    def _flows(self, inputs: Tensor, updates: int, *start) -> Tensor:
        image1, image2 = inputs.chunk(2, dim=1)
        return self.raft(image1, image2, updates, *start)

    def loss(self, inputs: Tensor,
             data_samples: List[FlowDataSample]) -> Dict[str, Tensor]:
        """The loss, and as ``epe`` the last update's end-point error.

        Padding counts as pixels of unknown flow.

        Args:
            inputs (Tensor): (B, 6, H, W).
            data_samples (list[FlowDataSample]): With ``gt_flow`` and
                ``valid``.
        """
        predictions = self._flows(inputs, self.iters_train)
        flow, valid = targets(data_samples)
        errors = (predictions[-1].detach() - flow).norm(dim=1)[valid]
        return dict(
            loss=self.criterion(predictions, flow, valid),
            epe=errors.sum() / max(1, len(errors)))

    def predict(
        self,
        inputs: Tensor,
        data_samples: Optional[List[FlowDataSample]] = None
    ) -> List[FlowDataSample]:
        """Predict, with :attr:`iters_test` updates.

        Args:
            inputs (Tensor): (B, 6, H, W).
            data_samples (list[FlowDataSample], optional): Those with an
                ``init_flow`` begin from it. Defaults to None: new ones.

        Returns:
            list[FlowDataSample]: The same, with ``pred_flow`` of the size
            that the images had before they were padded.
        """
        if data_samples is None:
            data_samples = [FlowDataSample() for _ in inputs]
        flows = self._flows(inputs, self.iters_test,
                            _start(inputs, data_samples))[-1]
        height, width = inputs.shape[-2:]
        for sample, flow in zip(data_samples, flows):
            left, right, top, bottom = sample.get('padding', NO_PADDING)
            # A view would keep the flows of all updates in memory.
            sample.pred_flow = flow[:, top:height - bottom,
                                    left:width - right].clone()
        return data_samples


def targets(data_samples: List[FlowDataSample]) -> Tuple[Tensor, Tensor]:
    """What is true of a batch, padded as its images are.

    Returns:
        tuple[Tensor, Tensor]: Flow (B, 2, H, W) in pixels, and where it is
        known, bool, (B, H, W).

    Raises:
        ValueError: If a sample has none.
    """
    for sample in data_samples:
        if 'gt_flow' not in sample or 'valid' not in sample:
            raise ValueError(
                f'{sample.get("img_path", "A sample")} has no true flow, and '
                'a loss needs one (gt_flow and valid).')

    def padded(name: str) -> Tensor:
        return torch.stack([
            F.pad(sample.get(name), sample.get('padding', NO_PADDING))
            for sample in data_samples
        ])

    return padded('gt_flow'), padded('valid')


def _start(inputs: Tensor,
           data_samples: List[FlowDataSample]) -> Optional[Tensor]:
    if not any('init_flow' in sample for sample in data_samples):
        return None
    flows = inputs.new_zeros(len(inputs), 2, *inputs.shape[-2:])
    for flow, sample in zip(flows, data_samples):
        if 'init_flow' in sample:
            flow.copy_(
                F.pad(
                    sample.init_flow,
                    sample.get('padding', NO_PADDING),
                    mode='replicate'))
    return in_cells(flows)
