# Copyright (c) mmhkt authors. All rights reserved.
from typing import Dict, Optional, Sequence, Set, Tuple

from mmengine.dist import master_only
from mmengine.hooks import Hook

from mmhkt.models.export import export_child
from mmhkt.registry import HOOKS
from mmhkt.utils.settings import Count, Name, NotNegative
from .common import hereditary, weights_to_keep

# How many points a curve of the whole run has.
POINTS = 40


@HOOKS.register_module()
class MixtureHook(Hook):
    """The Mixture's life in a run: what was inherited, and what is left.

    - After every ``interval`` iterations the methods' statistics (gate and
      intensity of each site) go to the message hub, and with it to every
      visualiser backend and the JSON log; training accuracies of the child
      on its own feature and on the mixture are logged with the losses. Both
      are kept as curves of 40 points over the run, for comparisons.
    - With ``shares``, in these iterations, it logs too how much of what pulls
      at each site's feature each loss term is, ``hkt.share.hint.<site>``:
      see :func:`mmhkt.models.gradient_shares.gradient_shares`; before
      gradients are bounded or clipped.
    - After each validation it warns where the child alone is far below its
      mixture: a child that leans on its parent, which it will not have.
    - After training the child is exported alone, and its last and its best
      score are logged.

    Args:
        interval (int): In iterations. Defaults to 10.
        warn_gap (float): Gap in points of accuracy above which it warns.
            Defaults to 15.
        export (str, optional): Name of the exported file in the work
            directory; None exports nothing. Defaults to ``'child.pth'``.
        shares (bool): Whether terms' shares of the gradient are measured,
            which takes one more backward pass a loss term in the iterations
            that log. Defaults to False.
    """

    def __init__(self,
                 interval: Count = 10,
                 warn_gap: NotNegative = 15.0,
                 export: Optional[Name] = 'child.pth',
                 shares: bool = False):
        self.interval = interval
        self.warn_gap = warn_gap
        self.export = export
        self.shares = shares

    def before_train_iter(self,
                          runner,
                          batch_idx: int,
                          data_batch=None) -> None:
        """Have the step measured whose statistics are logged."""
        model = hereditary(runner)
        if model is not None and self.shares:
            model.measures_shares = any(self._due(runner))

    def _due(self, runner) -> Tuple[bool, bool]:
        """Whether an iteration is logged, and whether it is kept."""
        window = max(1, runner.max_iters // POINTS)
        return (self.every_n_train_iters(runner, self.interval),
                self.every_n_train_iters(runner, window))

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch=None,
                         outputs: Optional[dict] = None) -> None:
        """Log the statistics, and add a point to the curves."""
        model = hereditary(runner)
        if model is None:
            return
        window = max(1, runner.max_iters // POINTS)
        log, keep = self._due(runner)
        if not (log or keep):
            return
        statistics = {
            f'{method.name}.{name}': float(value)
            for method in model.methods
            for name, value in method.statistics().items()
        }
        statistics.update(model.shares)
        if log:
            for name, value in statistics.items():
                runner.message_hub.update_scalar(f'train/{name}', value)
        self._forget(runner, model.methods, {*statistics, *(outputs or ())})
        if keep:
            self._keep(runner, window, statistics)

    @staticmethod
    def _forget(runner, methods: Sequence, known: Set[str]) -> None:
        """Leave out of the logs what is no longer there, as hints of a child
        that is weaned, of which the hub would keep saying the last value."""
        ours = tuple(f'train/{name}.'
                     for name in ('native', *(m.name for m in methods)))
        scalars = runner.message_hub.log_scalars
        for name in list(scalars):
            if name.startswith(ours) and name[len('train/'):] not in known:
                del scalars[name]

    @staticmethod
    def _keep(runner, window: int, statistics: Dict[str, float]) -> None:
        accuracies = {
            name.removeprefix('train/'): float(history.mean(window))
            for name, history in runner.message_hub.log_scalars.items()
            if name.startswith('train/') and name.endswith('.accuracy')
        }
        curves = runner.message_hub.runtime_info.get('training', {})
        for name, value in {**accuracies, **statistics}.items():
            curves.setdefault(name, []).append([runner.iter + 1, value])
        # There it is saved, and resumed, with the checkpoint.
        runner.message_hub.update_info('training', curves)

    def after_val_epoch(self,
                        runner,
                        metrics: Optional[Dict[str, float]] = None) -> None:
        """Warn of a child that leans on its parent."""
        model = hereditary(runner)
        if model is None:
            return
        scalars = runner.message_hub.log_scalars
        window = max(1, len(runner.train_dataloader))

        def recent(term: str) -> Optional[float]:
            history = scalars.get(f'train/{term}.accuracy')
            return None if history is None else history.mean(
                min(window, len(history.data[0])))

        alone, where = recent('native'), 'on the same training batches'
        if alone is None:
            # Without a native loss only the validation knows the child alone.
            alone, where = (metrics
                            or {}).get('accuracy/top1'), 'in validation'
        for method in model.methods:
            if not method.mixes():  # there is no mixture to lean on
                continue
            mixed = recent(f'{method.name}.inherited')
            if None in (alone, mixed) or mixed - alone <= self.warn_gap:
                continue
            runner.logger.warning(
                f'{type(method).__name__}: accuracy is {mixed:.1f} % with the '
                f"parent's feature mixed in, but {alone:.1f} % {where} for "
                'the child alone, which is what will be deployed. Add a '
                'native loss, wean the child (a schedule of "intensity" down '
                'to 0) or keep gate_gradient off.')

    @master_only
    def after_train(self, runner) -> None:
        """Export the child, and sum up."""
        if hereditary(runner) is None:
            return
        for name, history in runner.message_hub.log_scalars.items():
            if not name.startswith('val/') or name.endswith('time'):
                continue
            values = history.data[0]
            runner.logger.info(
                f'Child alone, {name[4:]}: last {values[-1]:.4f}, highest '
                f'{values.max():.4f}, lowest {values.min():.4f} of '
                f'{len(values)} validations.')
        if self.export is not None:
            path = export_child(
                weights_to_keep(runner),
                runner.cfg,
                f'{runner.work_dir}/{self.export}',
                dataset_meta=getattr(runner.train_dataloader.dataset,
                                     'metainfo', None),
                epoch=runner.epoch,
                iter=runner.iter)
            runner.logger.info(f'The plain child is in {path}')
