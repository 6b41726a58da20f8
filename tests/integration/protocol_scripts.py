#!/usr/bin/env python3
"""Runs the byte scripts of tests/integration/protocol against the built server (MILLRACE), and against a real
nats-server where NATS_SERVER names one."""
import os
import subprocess
import sys

here = os.path.dirname(os.path.abspath(__file__))
argv = [sys.executable, os.path.join(here, "protocol", "run.py")]
if os.environ.get("MILLRACE"):
    argv += ["--server", os.path.abspath(os.environ["MILLRACE"])]
sys.exit(subprocess.call(argv + sys.argv[1:]))
