"""Settings of the data that a step reads."""

from typing import Annotated, ClassVar

from annotated_types import Len
from pydantic import BeforeValidator, Field

from compress.config.settings import Names, Settings, one_or_more


class DataConfig(Settings):
    """Where the texts and labels are."""

    command: ClassVar[str] = "data"
    data: Annotated[str, Names.DATA] = Field(
        description="hub id, folder with train, validation and test files, or one file, such as CSV, JSONL or Parquet"
    )
    text: Annotated[
        list[str],
        Names.COLUMN,
        BeforeValidator(one_or_more, json_schema_input_type=str | Annotated[list[str], Len(0, 2)]),
    ] = Field(default=[], max_length=2, description="column with the text; give it twice for a pair of texts")
    label: Annotated[list[str], Names.COLUMN, BeforeValidator(one_or_more, json_schema_input_type=str | list[str])] = (
        Field(
            default=[],
            description="column with the label; give several that hold 0 and 1, one a label, for many labels a text",
        )
    )
    encoding: Annotated[str | None, Names.OTHER] = Field(
        default=None, description="encoding of text files that are not UTF-8, such as cp1252"
    )
    train: Annotated[str | None, Names.FILE] = Field(default=None, description="file to use as the train split")
    validation: Annotated[str | None, Names.FILE] = Field(
        default=None, description="file to use as the validation split"
    )
    test: Annotated[str | None, Names.FILE] = Field(default=None, description="file to use as the test split")
    split_seed: int = Field(default=0, ge=0, le=2**31 - 1, description="seed of the splits that are made for you")
