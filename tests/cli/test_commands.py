"""What holds for every command: exit codes, the streams, and messages without secrets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest_types import Run

import healthstore.errors
from healthstore.cli.exits import EXITS, Exit
from healthstore.errors import HealthstoreError
