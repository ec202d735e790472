"""The stitched model: prefix of the source, stitching layer, suffix of the target, in one forward.

`StitchedForGeneration` is what it is made as where the target generates; transformers tells the two by their class.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel
from transformers.utils import ModelOutput

from hf_stitch.errors import ArtifactError, HookError
from hf_stitch.hooks.generation import generation_way
from hf_stitch.hooks.given_inputs import FixedInputs
from hf_stitch.hooks.padded_suffix import finished, generated
from hf_stitch.hooks.padding import Padding, captured
from hf_stitch.hooks.padding_probe import padding_of, padding_of_suffix
from hf_stitch.hooks.placeholders import disable_checkpointing
from hf_stitch.hooks.points import HookPoint
from hf_stitch.hooks.position_limit import within_positions
from hf_stitch.hooks.trace import MakeInputs
from hf_stitch.loading.finite_weights import check_weights
from hf_stitch.loading.one_at_a_time import one_at_a_time
from hf_stitch.loading.safetensors_only import WHERE, weight_files
from hf_stitch.models.compose import composed
from hf_stitch.models.configuration_stitched import StitchedConfig, check_config
from hf_stitch.models.damage import changed_since, check_complete, told_as_damage
from hf_stitch.models.direct_use import DirectUse
from hf_stitch.models.empty_half import HALVES, ROLES, empty_half, restore_buffers
from hf_stitch.models.files_digest import seal
from hf_stitch.models.freezing import freeze, is_frozen
from hf_stitch.models.hub.map_only import MAP_ONLY, RemoteHalf, check_unchanged, load_half, map_weights
from hf_stitch.models.hub.publishing import push_model
from hf_stitch.models.hub.shim import write_shim
from hf_stitch.models.labels import silent
from hf_stitch.models.routing import MAIN, as_states, asked_of_source, for_target, right_padded, route, split
from hf_stitch.models.step_by_step import generated_in_steps
from hf_stitch.models.tasks import answer_of, continues, generates, in_steps
from hf_stitch.models.weights_digest import changed_file, write_digests
from hf_stitch.recipe.side import Role
from hf_stitch.stitching.layers.layer import StitchingLayer
from hf_stitch.stitching.layers.module import ModuleLayer
from hf_stitch.stitching.lengths.length_rule import LengthRule
from hf_stitch.stitching.lengths.position_plan import Plan
from hf_stitch.stitching.trust.gauge import Trust, TrustGauge

TO_HUB = ("repo_id", "private", "revision", "commit_message", "commit_description", "create_pr")
"""Arguments of `save_pretrained` that are for the Hub alone."""


class StitchedModel(DirectUse, PreTrainedModel):
    """First half of one pretrained model, a learned map, second half of another.

    The source runs up to its hook point and no further, the target from its hook point on; the layers of either
    that are not run are neither built nor saved. The output is the target's own output type.
    """

    config_class = StitchedConfig
    base_model_prefix = ""
    supports_gradient_checkpointing = True  # of the halves that do
    # Of the halves; without it transformers refuses an explicit attn_implementation="sdpa" for the whole.
    _supports_sdpa = True
    accepts_loss_kwargs = False  # the target's loss is a mean over the batch that it sees

    def __new__(cls, config: StitchedConfig | None = None, *args: Any, **kwargs: Any) -> StitchedModel:
        # transformers asks the class, not the model, whether it can generate.
        if cls is StitchedModel and config is not None and generates(config):
            return super().__new__(StitchedForGeneration)
        return super().__new__(cls)

    def __init__(
        self,
        config: StitchedConfig,
        prefix: PreTrainedModel | None = None,
        layer: nn.Module | None = None,
        suffix: PreTrainedModel | None = None,
        rule: LengthRule | None = None,
        structures: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(config)
        check_config(config)
        built = structures or {}
        self.prefix = prefix if prefix is not None else _empty(config, "prefix", built.get("source"))
        self.suffix = suffix if suffix is not None else _empty(config, "suffix", built.get("target"))
        self.layer = _layer(layer, config)
        self.rule = rule if rule is not None else LengthRule.from_spec(config.sequence)
        self.trust = TrustGauge.from_spec(config.trust) if config.trust else None
        self.source_point = HookPoint.from_dict(config.ends["prefix"]["point"])
        self.target_point = HookPoint.from_dict(config.ends["suffix"]["point"])
        head = config.ends["prefix"].get("ctc_head")
        self.ctc_point = HookPoint.from_dict(head) if head else None
        fixed = config.ends["prefix"].get("inputs", {}).get("fixed")
        self.fixed_inputs = FixedInputs.from_dict(fixed) if fixed else None
        self._padding = {name: _saved_padding(config.ends[name]) for name in HALVES}
        self.main_input_name = self.prefix.main_input_name
        if (vector := config.ends["suffix"].get("vector")) is not None:
            # Of the target's own vectors in the fit: what those of other data are measured from.
            self.register_buffer("mean_vector", torch.zeros(int(vector["width"])))
        if "cache" in config.ends["suffix"]:
            # Of the target in the fit: beside what it says to that at all positions the model is measured.
            self.register_buffer("mean_activation", torch.zeros(self.target_point.width))
        for part in filter(None, (self.layer, self.rule, self.trust)):  # else post_init would draw new weights for them
            for module in part.modules():
                module._is_hf_initialized = True  # type: ignore[assignment]
        self.post_init()
        self.trainable("none")

    @classmethod
    def compose(
        cls,
        source: Any,
        source_hook: str,
        target: Any,
        target_hook: str,
        layer: Any = "identity",
        *,
        source_processor: Any = None,
        target_processor: Any = None,
        sequence: Mapping[str, Any] | None = None,
        make_inputs: Mapping[Role, MakeInputs] | None = None,
    ) -> StitchedModel:
        """A stitched model of two models and a map that is there; nothing is fitted.

        Args:
            source, target: models, which are copied and not changed, or their names or folders: of transformers or of
                classes of your own, with PEFT's adapters, of sentence-transformers, any module; as for `stitch`.
            source_hook, target_hook: dotted names of their hook points.
            layer: `identity`, any module that maps timesteps (b, t, m) to (b, t, m'), or a fitted map (`model.layer` of
                another stitched model). It is not copied: a module is trained where it is, and as much of it as before.
            source_processor, target_processor: tokenizer, feature extractor or image processor; absent: those of where
                the models came from, if there are any.
            sequence: as in a recipe, with `ratio` (target timesteps a source timestep) or `constant`, which a fit would
                learn; absent: as many timesteps as the source has.
            make_inputs: as for `fit`.

        Raises:
            HookError: a hook point that is none. RecipeError: a layer of other widths, or a length rule that has to be
                learned.
        """
        processors = source_processor, target_processor
        ends = source, source_hook, target, target_hook
        model: StitchedModel = composed(cls, *ends, layer, processors, sequence, make_inputs or {})
        return model

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing is drawn at random: every weight comes from a fit or a checkpoint."""

    def trainable(self, part: str) -> StitchedModel:
        """Choose what a trainer may change: `none` (the default), `layer`, or `all`. Returns the model itself.

        With less than `all` both halves stay in evaluation mode, see `train`.
        """
        allowed = {"none": (), "layer": (self.layer, self.rule), "all": (self,)}
        if part not in allowed:
            raise ArtifactError(f"trainable({part!r}): expected one of {', '.join(allowed)}")
        self.requires_grad_(False)
        for module in allowed[part]:
            module.requires_grad_(True)
        return self.train(self.training)

    def train(self, mode: bool = True) -> StitchedModel:
        """Training mode of what is trained; a half of which nothing is stays as it was fitted, without dropout."""
        super().train(mode)
        for half in (self.prefix, self.suffix):
            if mode and is_frozen(half):
                freeze(half)
        return self

    def padding(self, half: str) -> Padding:
        """What the prefix or the suffix needs so that samples of unequal length answer together as alone."""
        known = self._padding[half]
        if known is None:  # models of before, which were saved without it
            end = self.config.ends[half]
            if half == "prefix":
                known = padding_of(self.prefix, [self.source_point, *([self.ctc_point] if self.ctc_point else [])])
            else:
                known = padding_of_suffix(self.suffix, end["plan"], "generation" in end)
            self._padding[half], end["padding"] = known, known.to_dict()
        return known

    def activations(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Run the prefix.

        Returns:
            frames (b, t, m), mask (b, t) bool, and the greedy CTC path (b, t) int64 where the length rule needs it.
        """
        points = [self.source_point] + ([self.ctc_point] if self.ctc_point else [])
        if self.fixed_inputs is not None:
            inputs = self.fixed_inputs.beside(inputs, self.prefix.dtype)
        dtype = next((p.dtype for p in self.prefix.parameters() if p.is_floating_point()), torch.float32)
        # Feature extractors give float32 whatever the model's dtype is.
        given = {k: v.to(dtype) if _is_float(v) else v for k, v in inputs.items()}
        constants = self.config.ends["prefix"]["plan"].get("constants", {})
        found, mask = captured(self.prefix, points, {**constants, **given}, self.padding("prefix"))
        frames = found[0]
        path = found[1].argmax(-1) if self.ctc_point else None
        # `where`, not a product: padded timesteps may hold NaN, which would spread through cumulative sums.
        return torch.where(mask.unsqueeze(-1), frames, 0), mask, path

    def plan(
        self, mask: Tensor, path: Tensor | None, spans: Tensor | None, lengths: Any, frames: Tensor | None = None
    ) -> Plan:
        """Target positions of a batch; see `LengthRule.plan`."""
        return self.rule.plan(mask, path, spans, lengths, frames)

    def crossing(self, inputs: dict[str, Any]) -> tuple[Tensor, Tensor, Plan]:
        """Run the prefix on prepared inputs: frames (b, t, m), mask (b, t), and where they go in the target."""
        given = {key: value for key, value in inputs.items() if key not in ("target_spans", "target_lengths")}
        frames, mask, path = self.activations(given)
        return frames, mask, self.plan(mask, path, inputs.get("target_spans"), inputs.get("target_lengths"), frames)

    def stitch(self, frames: Tensor, mask: Tensor, plan: Plan) -> Tensor:
        """Map source activations (b, t, m) into target activations (b, t', m')."""
        mapped = self.layer(self.rule.rows(frames, plan))
        return self.rule.assemble(mapped, frames, mask, plan)

    def with_trust(self, gauge: TrustGauge) -> StitchedModel:
        """Take in a calibrated trust gauge, which is then saved with the model. Returns the model itself."""
        self.trust, self.config.trust = gauge.to(self.device), gauge.spec
        return self

    def trusted(self, frames: Tensor, plan: Plan) -> Trust:
        """How far source activations (b, t, m) lie from what the model was fitted on.

        Raises:
            ArtifactError: the model was fitted without a trust gauge.
        """
        if self.trust is None:
            raise ArtifactError("this model has no trust gauge: fit it again with the recipe's `trust: distance`")
        return self.trust(self.layer, self.rule.rows(frames, plan), plan.used)

    def finish(self, values: Tensor, mask: Tensor, **kwargs: Any) -> ModelOutput:
        """Run the suffix on target activations (b, t', m') with their mask (b, t').

        Of more positions than the target takes the rest is left out, which is told: see `hooks.position_limit`.
        """
        suffix, plan = self.suffix, self.config.ends["suffix"]["plan"]
        given = {key: value for key, value in kwargs.items() if key != "labels" or value is None}
        run = partial(finished, suffix, plan, self.padding("suffix"), **kwargs)
        return within_positions(suffix, plan, values, mask, run, given)

    def written(self, values: Tensor, mask: Tensor, **kwargs: Any) -> Any:
        """What the target generates from activations (b, t', m') with their mask (b, t'); see `generate_from`."""
        plan = self.config.ends["suffix"]["plan"]
        return generated(self.suffix, plan, self.padding("suffix"), values, mask, **kwargs)

    def forward(
        self,
        input_values: Tensor | None = None,
        input_features: Tensor | None = None,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        inputs: Tensor | None = None,
        attention_mask: Tensor | None = None,
        target_spans: Tensor | None = None,
        target_lengths: Tensor | Sequence[int] | None = None,
        labels: Tensor | None = None,
        encoder_outputs: Any = None,
        encoder_attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        target_inputs: Mapping[str, Any] | None = None,
        return_trust: bool = False,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> ModelOutput:
        """Source input in, target output out.

        Args:
            input_values, input_features, input_ids, pixel_values, inputs: the source's own main input.
            attention_mask: (b, length) as the source takes it.
            target_spans: (b, t', 2) from the saved processor, for the length rule `spans`.
            target_lengths: (b,) true target lengths, only for `target_length: oracle`.
            labels: passed to the target, which then returns its loss.
            encoder_outputs: (b, s, m) states of the target's own encoder, or an output that holds them, for a hook
                point inside its decoder; encoder_attention_mask: (b, s) their mask.
            decoder_input_ids, decoder_attention_mask: (b, u) what the target's decoder reads, for a hook point inside
                its encoder; `labels` do instead where the target makes them from labels.
            target_inputs: further inputs of the target by its own names, such as CLIP's `pixel_values` where the
                source takes pictures too; where it does not, they may be given directly.
            return_trust: say how far each input lies from what the model was fitted on.
            kwargs: further inputs of the source by its own names, such as `token_type_ids` or `bbox`; of the target
                those that the source does not take.

        Returns:
            The target's output (a ModelOutput with `logits`, and `loss` where labels were given); with `return_trust`
            also `trust` (b,), the share of calibration samples that lie at least as far out, and `trust_parts`, such a
            share for each ingredient (see `TrustGauge`).

        Raises:
            ActivationError: an input that the length rule needs is missing, or one that neither half takes.
            HookError: an input that the target needs beside its activations is missing.
            ArtifactError: `return_trust` of a model that was fitted with `trust: none`.
        """
        main = (input_values, input_features, input_ids, pixel_values, inputs)
        known = inspect.signature(StitchedModel.forward).parameters if kwargs else ()
        of_source, of_target = route(self.prefix, self.suffix, kwargs, known)
        source, others = split(self.prefix, self.config.ends["suffix"]["plan"], dict(zip(MAIN, main)))
        further = {
            "labels": labels,
            "encoder_outputs": as_states(encoder_outputs),
            "attention_mask": encoder_attention_mask,
            "decoder_input_ids": decoder_input_ids,
            "decoder_attention_mask": decoder_attention_mask,
        }
        extra = for_target(self.suffix, further | others | of_target | dict(target_inputs or {}))
        source |= of_source
        if attention_mask is not None:
            source["attention_mask"] = attention_mask
        frames, mask, path = self.activations(source)
        plan = self.plan(mask, path, target_spans, target_lengths, frames)
        values = self.stitch(frames, mask, plan)
        trust = self.trusted(frames, plan) if return_trust else None  # refused before the suffix runs
        output = self.finish(values, plan.mask, **extra)
        if answer_of(self.config) == "frames":
            output.logits = silent(output.logits, plan.mask, self.config.target.pad_token_id)
        if trust is not None:
            output["trust"], output["trust_parts"] = trust.score, trust.parts
        return output.to_tuple() if return_dict is False else output

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """Compute activations again in the backward pass, in each half that can; `trainable` decides what is trained.

        Raises:
            ArtifactError: neither half can.
        """
        able = [half for half in (self.prefix, self.suffix) if getattr(half, "supports_gradient_checkpointing", False)]
        if not able:
            names = " nor ".join(type(half).__name__ for half in (self.prefix, self.suffix))
            raise ArtifactError(f"neither {names} supports gradient checkpointing; train without it")
        for half in able:
            # Later versions of transformers have renamed it.
            newest = getattr(half, "activation_checkpointing_enable", half.gradient_checkpointing_enable)
            newest(gradient_checkpointing_kwargs)
            disable_checkpointing(half)
        self.train(self.training)

    def gradient_checkpointing_disable(self) -> None:
        """Keep activations for the backward pass again, in both halves."""
        for half in (self.prefix, self.suffix):
            getattr(half, "activation_checkpointing_disable", half.gradient_checkpointing_disable)()
        self.train(self.training)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: a target that generates makes this a `StitchedForGeneration`.

        Raises:
            HookError: always, saying why the target does not generate from its hook point.
        """
        generation_way(self.suffix, self.target_point)
        raise HookError("this stitched model was saved without generation settings; fit it again")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: Any, *args: Any, source: Any = None, target: Any = None, **kwargs: Any
    ) -> Any:
        """Load a stitched model; its weights are bit-identical to those that were saved.

        Args:
            source, target: models by which the halves are built, where no configuration says how (plain modules); their
                own weights do not matter.
            kwargs: as in transformers; `layer`: of a model that was composed with a module of the user's own code, a
                module of the same build, a copy of which gets the saved weights.

        Raises:
            ArtifactError: a truncated checkpoint, one of another format, one whose weights are missing or no numbers;
                a half of which nobody knows how it is built, or whose class was not imported.
        """
        structures = {role: one for role, one in (("source", source), ("target", target)) if one is not None}
        if structures:
            kwargs["structures"] = structures
        where = str(pretrained_model_name_or_path)
        if Path(where).is_dir() and not (Path(where) / "config.json").is_file():
            raise ArtifactError(
                f"{where} holds no config.json: expected a folder written by `hf-stitch fit` or save_pretrained"
            )
        wants_info = kwargs.pop("output_loading_info", False)
        if (layer := kwargs.pop("layer", None)) is not None:
            args = (None, copy.deepcopy(layer))  # by place: the configuration has an entry of that name
        if not kwargs.setdefault("use_safetensors", True):
            raise ArtifactError(f"{where}: use_safetensors=False: pickles are never loaded; leave it out")
        given = {key: value for key, value in kwargs.items() if key in (*WHERE, "config", "variant")}
        changed = changed_file(where, weight_files(where, **given), **given)
        with told_as_damage(cls, where, kwargs, changed), one_at_a_time:
            model, info = super().from_pretrained(where, *args, output_loading_info=True, **kwargs)
        check_complete(info, where)
        if changed is not None:
            raise changed_since(where, changed)
        if model.config.save == MAP_ONLY:
            model.complete(kwargs.get("dtype", kwargs.get("torch_dtype")))
        model._restore(structures)
        check_weights(model, where, "copy or fit it again, or load it in float32")
        model.trainable("none")  # loading makes parameters anew
        return (model, info) if wants_info else model

    @classmethod
    def from_state(
        cls, config: StitchedConfig, state: dict[str, Tensor], structures: Mapping[str, Any] | None = None
    ) -> tuple[StitchedModel, dict[str, Any]]:
        """A model as it is loaded from files, of what these hold; with transformers' account of the loading.

        Args:
            structures: by which halves are built, see `from_pretrained`.
        """
        more = {"structures": structures} if structures else {}
        found = super().from_pretrained(
            None, config=config, state_dict=state, output_loading_info=True, dtype="auto", **more
        )
        found[0]._restore(structures or {})
        return found[0], found[1]

    def _restore(self, structures: Mapping[str, Any]) -> None:
        """Buffers that are not saved, of halves that were built by a structure."""
        for half, role in ROLES.items():
            if role in structures:
                restore_buffers(getattr(self, half), structures[role])

    def complete(self, dtype: Any = None) -> StitchedModel:
        """Load the two halves of a model of the thin form from their own checkpoints; returns the model itself."""
        wanted = getattr(torch, dtype) if isinstance(dtype, str) and dtype != "auto" else dtype
        place = next((one.device for one in (*self.layer.parameters(), *self.layer.buffers())), self.device)
        for name in HALVES:
            half = load_half(self.config, name, None if wanted == "auto" else wanted)
            setattr(self, name, half.to(place))
        self.main_input_name = self.prefix.main_input_name
        return self

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """Write weights and config: all that runs, or with `config.save == "map"` the map alone.

        Of a model that was fitted without `out` also what lies beside it: processors, recipe, report, page and card.

        Args:
            kwargs: as in transformers; with `push_to_hub=True` what is pushed is what `push_to_hub` pushes.

        Raises:
            ArtifactError: the thin form of halves that are no longer those of their checkpoints.
        """
        # By transformers' own way the paths in the configuration would go out with it.
        push = {key: kwargs.pop(key) for key in TO_HUB if key in kwargs} if kwargs.pop("push_to_hub", False) else None
        if self.config.save == MAP_ONLY:
            check_unchanged(self.config, self.prefix, self.suffix)
            kwargs["state_dict"] = map_weights(kwargs.get("state_dict") or self.state_dict())
        super().save_pretrained(save_directory, **kwargs)
        if kwargs.get("is_main_process", True):
            write_shim(Path(save_directory))
            write_digests(Path(save_directory), kwargs.get("variant"))
            if self.companions is not None:
                self.companions.save(Path(save_directory))
            seal(Path(save_directory), processors=self.companions is not None)
            if self.companions is not None:
                self.companions.write_pages(Path(save_directory))
            if push is not None:
                more = {key: kwargs[key] for key in ("token", "max_shard_size") if key in kwargs}
                self.push_to_hub(push.pop("repo_id", Path(save_directory).name), **push, **more)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Upload the model with what makes it usable: see `hf_stitch.models.hub.publishing.push_model`."""
        return push_model(self, repo_id, **kwargs)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoModel") -> None:
        """Nothing to do: the shim stands for the code, which is never copied."""


class StitchedForGeneration(StitchedModel):
    """What `StitchedModel` makes and loads where the target generates from its hook point.

    The target is an encoder-decoder hooked inside its encoder, which then runs once, or a causal language model: hooked
    at its token embedding, where the stitched activations are the prompt (padded on the left, whatever side they came
    on), or in the middle, where both halves run for each token. `generation_config` is the target's own.
    """

    output_modalities = ("text",)

    @classmethod
    def can_generate(cls) -> bool:
        return True

    @property
    def generation_config(self) -> GenerationConfig:
        return self.suffix.generation_config

    @generation_config.setter
    def generation_config(self, settings: GenerationConfig) -> None:
        if "suffix" in self._modules:  # transformers sets one before the halves are there
            self.suffix.generation_config = settings

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """As `StitchedModel.save_pretrained`, with the generation settings as they are now."""
        self.config.ends["suffix"]["generation"] = self.generation_config.to_diff_dict()
        super().save_pretrained(save_directory, **kwargs)

    def prompt(self, given: dict[str, Any]) -> Tensor | None:
        """The source's tokens (b, t) where the generated ones continue them in the same vocabulary, else None."""
        return given.get("input_ids") if continues(self.config) else None

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        attention_mask: Tensor | None = None,
        target_spans: Tensor | None = None,
        target_lengths: Tensor | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Source input in, the text that the target generates out.

        Args:
            inputs: the source's main input, which may also be given by its own name.
            attention_mask, target_spans, target_lengths: as in `forward`.
            kwargs: further inputs of the source by its own names; all others are for the target's own `generate`:
                `num_beams`, `max_new_tokens`, `generation_config`, ...; without them its own generation settings hold.

        Returns:
            As the target's `generate`: tokens (b, t'). Of a causal model only the new ones, unless the source reads
            text in the target's own vocabulary: then they follow the source's tokens, as in transformers.

        Raises:
            HookError: the target does not generate from its hook point.
        """
        named = [*MAIN, *asked_of_source(self.prefix, self.generation_config, kwargs)]
        given = {name: kwargs.pop(name) for name in named if name in kwargs}
        if inputs is not None:
            given[self.main_input_name] = inputs
        if in_steps(self.config):
            given |= {} if attention_mask is None else {"attention_mask": attention_mask}
            return generated_in_steps(self, given, kwargs)
        prompt = self.prompt(given)
        if "input_ids" in given:
            along = [k for k, v in given.items() if isinstance(v, Tensor) and v.shape[:2] == given["input_ids"].shape]
            moved = {key: right_padded(given[key], attention_mask) for key in along}
            attention_mask = moved["input_ids"][1]
            given |= {key: value for key, (value, _) in moved.items()}
        if attention_mask is not None:
            given["attention_mask"] = attention_mask
        frames, mask, path = self.activations(given)
        plan = self.plan(mask, path, target_spans, target_lengths, frames)
        values = self.stitch(frames, mask, plan)
        found = self.written(values, plan.mask, **kwargs)
        return found if prompt is None else _after(prompt, found)


def padding_notes(model: StitchedModel, side: str) -> list[str]:
    """What a user of a stitched model should know of batches of unequal length, which its source gets padded on a side.

    Whatever is told here, samples answer together as alone: padded batches are run in parts.
    """
    padded = {"prefix": side, "suffix": model.rule.state.padding_side}
    told = {half: model.padding(half).told(where) for half, where in padded.items()}
    parts = "; padded batches are run in parts, which is slower"
    found = [f"the {half} of the stitched model {words}{parts}" for half, words in told.items() if words]
    return found + random_notes(model)


def random_notes(model: StitchedModel) -> list[str]:
    """What is to be known of a half whose answers are no two alike."""
    halves = {half: model.padding(half) for half in HALVES}
    return [f"the {half} of the stitched model {one.told_of_chance}" for half, one in halves.items() if one.random]


def _layer(given: nn.Module | None, config: StitchedConfig) -> StitchingLayer:
    if given is None:
        return StitchingLayer.from_spec(config.layer)
    return given if isinstance(given, StitchingLayer) else ModuleLayer.given(given, config.layer)


def _empty(config: StitchedConfig, half: str, structure: Any) -> Any:
    """An empty half; of the thin form a mere place for it."""
    return RemoteHalf() if config.save == MAP_ONLY else empty_half(config, half, structure)


def _saved_padding(end: Mapping[str, Any]) -> Padding | None:
    return Padding.from_dict(end["padding"]) if "padding" in end else None


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _after(prompt: Tensor, found: Any) -> Any:
    """Generated tokens behind those of the prompt, repeated for several answers to each."""
    tokens = found.sequences if isinstance(found, ModelOutput) else found
    whole = torch.cat([prompt.repeat_interleave(len(tokens) // len(prompt), 0).to(tokens), tokens], 1)
    if not isinstance(found, ModelOutput):
        return whole
    found.sequences = whole
    return found
