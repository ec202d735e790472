"""Models are loaded one at a time: transformers changes itself meanwhile, for all threads of a process."""

from __future__ import annotations

import threading

one_at_a_time = threading.RLock()
"""Held while a model is built or loaded.

`from_pretrained` exchanges `tie_weights`, torch's functions of initialisation and the default dtype, and puts back what
it found: of two threads that load at once one finds what the other exchanged, and leaves it so.
"""
