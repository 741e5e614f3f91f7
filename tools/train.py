# Copyright (c) mmhkt authors. All rights reserved.
"""``mmhkt train``, where OpenMMLab's users expect it."""
import sys

from mmhkt.cli.train import main

if __name__ == '__main__':
    sys.exit(main())
