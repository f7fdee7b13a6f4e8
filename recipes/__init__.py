"""The recipes that are installed with tltool, one YAML file each."""
