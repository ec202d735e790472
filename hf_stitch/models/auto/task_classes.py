"""What transformers' `AutoModelFor...` classes load: a stitched model, if it answers what their tasks ask."""

from __future__ import annotations

from typing import Any, ClassVar

from hf_stitch.errors import ArtifactError
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.tasks import Answer, answer_of, continues, tasks_of


class TaskClass(StitchedModel):
    """Loads a `StitchedModel` or `StitchedForGeneration`; never made itself."""

    answers: ClassVar[tuple[Answer, ...]] = ("labels", "text", "frames", "vector")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As `StitchedModel.from_pretrained`.

        Raises:
            ArtifactError: the model answers something else than the task's pipeline would read.
        """
        # Not `cls`: the model must be of the class that its own configuration asks for.
        found = StitchedModel.from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        cls.check((found[0] if isinstance(found, tuple) else found).config)
        return found

    @classmethod
    def _from_config(cls, config: Any, **kwargs: Any) -> Any:
        cls.check(config)
        return StitchedModel._from_config(config, **kwargs)

    @classmethod
    def check(cls, config: Any) -> None:
        if answer_of(config) not in cls.answers:
            ends = config.ends["prefix"].get("class"), config.ends["suffix"].get("class")
            raise ArtifactError(
                f"a stitched model of {ends[0]} and {ends[1]} does not answer what AutoModel{cls.__name__} is for; "
                f"load it by StitchedModel or AutoModel, its pipeline tasks are {' and '.join(tasks_of(config))}"
            )


class ForClassification(TaskClass):
    """Of sounds, pictures or sequences."""

    answers = ("labels",)


class ForSpeechRecognition(TaskClass):
    """`ForCTC` and `ForSpeechSeq2Seq`: speech recognition tries both, and reads from the model's class what it is."""

    answers = ("text", "frames")


class ForCausalLM(TaskClass):
    """What is generated has to continue the source's own tokens."""

    answers = ("text",)

    @classmethod
    def check(cls, config: Any) -> None:
        super().check(config)
        if not continues(config):
            raise ArtifactError(
                "AutoModelForCausalLM and the task text-generation need a source that reads text in the target's own "
                f"tokens; this stitched model does not: its pipeline tasks are {' and '.join(tasks_of(config))}"
            )
