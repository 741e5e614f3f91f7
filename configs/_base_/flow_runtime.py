_base_ = './default_runtime.py'

# flow networks are trained for a number of iterations, and the smallest error
# is the best
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(
        by_epoch=False, interval=5000, save_best='EPE', rule='less'),
    # tools/test.py --show-dir enables it
    visualization=dict(
        _delete_=True, type='mmhkt.FlowVisualizationHook', enable=False))
visualizer = dict(
    _delete_=True,
    type='mmhkt.FlowLocalVisualizer',
    vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(by_epoch=False)
