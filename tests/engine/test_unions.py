"""Tagged unions as pydantic writes them: also those that hold themselves."""

from typing import Annotated, Literal, TypeAlias

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from tests.engine.test_grammar import COMPILER, said, walk


class Leaf(BaseModel):
    kind: Literal["leaf"]
    size: int


class Branch(BaseModel):
    kind: Literal["branch"]
    parts: list["Part"] = Field(max_length=2)


Part: TypeAlias = Annotated[Leaf | Branch, Field(discriminator="kind")]
Branch.model_rebuild()


class Tree(BaseModel):
    discriminator: Literal["a name like any other"]
    root: Part


@given(seed=st.integers(0, 2**32))
def test_what_is_said_is_one_of_them(seed: int) -> None:
    grammar = COMPILER.json_schema(Tree.model_json_schema())
    Tree.model_validate_json(said(walk(grammar, seed)))
