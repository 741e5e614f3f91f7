# Copyright (c) mmhkt authors. All rights reserved.
"""Makes the data files and fetches the weights that the configs name."""


class PrepareError(ValueError):
    """Data that are absent, incomplete or not what they should be."""


# name -> what it makes, in the folder of data, and in words; the module of the
# same name holds `prepare`
RECIPES = {
    'fashion-mnist': ('fashion_mnist.npz', 'Fashion-MNIST (31 MB)'),
}

__all__ = ['PrepareError', 'RECIPES']
