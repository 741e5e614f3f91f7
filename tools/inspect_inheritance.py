# Copyright (c) mmhkt authors. All rights reserved.
"""``mmhkt inspect``, where OpenMMLab's users expect it."""
import sys

from mmhkt.cli.inspect import main

if __name__ == '__main__':
    sys.exit(main())
