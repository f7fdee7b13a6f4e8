"""`tltool recipes`."""

import click


@click.command(short_help="List the installed recipes, or show one.")
@click.argument("name", required=False)
def recipes(name: str | None) -> None:
    """List the installed recipes, or show the one called NAME."""
    from tltool.recipe import recipe_names, recipe_text

    if name is not None:
        click.echo(recipe_text(name), nl=False)
        return
    for each in recipe_names():
        click.echo(f"{each:24} {recipe_text(each).splitlines()[0].lstrip('# ')}")
