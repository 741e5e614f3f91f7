# dataset settings: trained on rendered pairs, tested on others, each in one
# file data/flow/*.npz, see mmhkt.FlowArrays
_base_ = './flow_synthetic.py'

test_dataloader = dict(
    _delete_=True,
    batch_size=1,
    num_workers=0,
    dataset=dict(
        type='mmhkt.FlowArrays',
        data_root='data/flow',
        files='*.npz',
        pipeline=[dict(type='mmhkt.PackFlowInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
)
test_evaluator = dict(by='subset')
