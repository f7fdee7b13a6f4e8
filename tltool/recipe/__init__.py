"""The recipe: everything a training run is told, checked before anything heavy is loaded.

A recipe is a YAML file. What it does not say has the default given in
`tltool.recipe.parts`; the run folder holds the fully resolved one.
"""

from tltool.recipe.loading import (
    load_recipe,
    make_recipe,
    override_recipe,
    recipe_names,
    recipe_text,
    stage_assignments,
    upgrade_keys,
)
from tltool.recipe.parts import (
    BACKBONE_NAMES,
    BackboneRecipe,
    HeadRecipe,
    Keep,
    LossRecipe,
    Recipe,
    Sampling,
    TaskRecipe,
)
from tltool.recipe.stages import StageRecipe
