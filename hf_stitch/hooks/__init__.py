"""Hook points of any transformer: read them, overwrite them, run only what lies before or only what lies behind."""

from hf_stitch.hooks.capture import capture, replaced
from hf_stitch.hooks.generation import generate_from, generation_way, plan_prompt
from hf_stitch.hooks.inputs import dummy_inputs, make_inputs_for
from hf_stitch.hooks.points import HookPoint, resolve, select_features
from hf_stitch.hooks.prefix import apply_prefix_plan, plan_prefix
from hf_stitch.hooks.suffix import apply_suffix_plan, input_length, run_suffix
from hf_stitch.hooks.suffix_plan import plan_suffix
from hf_stitch.hooks.survey import COMBOS, MakeInputs, probe
from hf_stitch.hooks.tree import module_tree
from hf_stitch.hooks.vacant import Absent, never_again

__all__ = [
    "COMBOS",
    "Absent",
    "HookPoint",
    "MakeInputs",
    "apply_prefix_plan",
    "apply_suffix_plan",
    "capture",
    "dummy_inputs",
    "generate_from",
    "generation_way",
    "input_length",
    "make_inputs_for",
    "module_tree",
    "never_again",
    "plan_prefix",
    "plan_prompt",
    "plan_suffix",
    "probe",
    "replaced",
    "resolve",
    "run_suffix",
    "select_features",
]
