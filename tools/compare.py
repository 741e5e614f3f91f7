# Copyright (c) mmhkt authors. All rights reserved.
"""``mmhkt compare``, where OpenMMLab's users expect it."""
import sys

from mmhkt.cli.compare import main

if __name__ == '__main__':
    sys.exit(main())
