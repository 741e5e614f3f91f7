# Copyright (c) mmhkt authors. All rights reserved.
"""By which score a comparison is judged."""
from typing import Optional, Tuple

from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from mmhkt.utils import one_of, type_name
from mmhkt.utils.config import ConfigError

# Evaluator -> the score that its task is judged by, and which way is better.
# The first one that it logs is often another: mmsegmentation's is the
# accuracy of pixels, which is high for a network that sees background only.
JUDGED_BY = {
    'Accuracy': ('accuracy/top1', None),
    'SingleLabelMetric': ('single-label/f1-score', 'greater'),
    'MultiLabelMetric': ('multi-label/f1-score', 'greater'),
    'IoUMetric': ('mIoU', None),
    'EndPointError': ('EPE', 'less'),
    'VolumeDice': ('mDice', None),
}


def metric_of(cfg: Config) -> Tuple[Optional[str], Optional[str]]:
    """What a config is judged by, where ``comparison`` does not say.

    Args:
        cfg (Config): A training config.

    Returns:
        tuple: Metric and rule (None where mmengine knows it): by which the
        config keeps its best checkpoint, else of its task, by its evaluator.
        Twice None if neither tells: the first score that is logged.
    """
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    metric, rule = hook.get('save_best'), hook.get('rule')
    if isinstance(metric, str) and metric != 'auto' and (isinstance(rule, str)
                                                         or _is_known(metric)):
        return metric, rule if isinstance(rule, str) else None
    evaluators = cfg.get('val_evaluator') or ()
    if isinstance(evaluators, dict):
        evaluators = [evaluators]
    for evaluator in evaluators:
        kind = type_name(evaluator)
        if kind not in JUDGED_BY:
            continue
        metric, rule = JUDGED_BY[kind]
        if kind == 'IoUMetric':
            metric = (list(evaluator.get('iou_metrics') or ()) or [metric])[0]
        prefix = evaluator.get('prefix')
        if prefix:
            metric = f'{prefix}/{metric.rpartition("/")[2]}'
        return metric, rule
    return None, None


def higher_is_better(metric: str, rule: Optional[str] = None) -> bool:
    """Whether a metric is better when it is higher, as mmengine's
    ``CheckpointHook`` knows it for ``save_best``.

    Raises:
        ConfigError: If that cannot be told.
    """
    if rule is not None:
        return one_of('The rule', rule, ('greater', 'less')) == 'greater'
    try:
        return CheckpointHook(save_best=metric).rules[0] == 'greater'
    except ValueError:
        raise ConfigError(f'comparison: is a high "{metric}" good? Set rule '
                          "to 'greater' or 'less'") from None


def _is_known(metric: str) -> bool:
    try:
        higher_is_better(metric)
    except ConfigError:
        return False
    return True
