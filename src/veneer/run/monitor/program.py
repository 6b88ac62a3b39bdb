"""What a monitor's interpreter is started with: `python -I -S program.py`."""

import sys

sys.path.insert(0, __file__.removesuffix("/veneer/run/monitor/program.py"))

from veneer.run.monitor.main import main

if __name__ == "__main__":
    main()
