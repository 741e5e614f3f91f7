# Copyright (c) mmhkt authors. All rights reserved.
from typing import Optional

from mmhkt.models import Inheritance
from mmhkt.utils.hashing import unwrapped


def hereditary(runner) -> Optional[Inheritance]:
    """What the child of a run inherits by; None of any other run (testing,
    say)."""
    return getattr(runner, 'inheritance', None)


def weights_to_keep(runner) -> dict:
    """The child's weights as a checkpoint of this step would hold them: hooks
    may put others in, as the EMAHook does."""
    checkpoint = dict(
        meta=dict(epoch=runner.epoch, iter=runner.iter),
        state_dict=unwrapped(runner.model).state_dict(),
        message_hub=runner.message_hub.state_dict(),
        optimizer=runner.optim_wrapper.state_dict(),
        param_schedulers=[])
    runner.call_hook('before_save_checkpoint', checkpoint=checkpoint)
    return checkpoint['state_dict']
