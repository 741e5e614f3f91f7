# Copyright (c) mmhkt authors. All rights reserved.
"""``mmhkt flow``, where OpenMMLab's users expect it."""
import sys

from mmhkt.cli.flow import main

if __name__ == '__main__':
    sys.exit(main())
