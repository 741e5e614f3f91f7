# Copyright (c) mmhkt authors. All rights reserved.
from mmhkt.cli import main

if __name__ == '__main__':
    main()
