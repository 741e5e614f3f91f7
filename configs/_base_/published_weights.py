# key names of the CIFAR-10 ResNet weights published with
# https://github.com/akamaster/pytorch_resnet_cifar10 and of the published HKT
# child, for `tools/test.py` and `load_from`
revise_keys = [(r'^module\.linear', 'head.fc'), (r'^module\.', 'backbone.')]
